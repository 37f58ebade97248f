//! What each misbehaviour of a server means for the mail, and for the next one.

use crate::smtp_server::{Does, SmtpServer, Step};
use alignd::deliver::{
    Delivery, DeliverySettings, Server, Smtp, SmtpError, Timeouts, TlsMode, Whose,
};
use alignd::report::destination::PlainAddress;
use std::time::Duration;

const MAIL: &[u8] = b"Subject: x\r\n\r\n.dot\r\nbody\r\n";
const QUICK: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    command: Duration::from_millis(300),
    content: Duration::from_millis(300),
};

fn plain(text: &str) -> PlainAddress {
    PlainAddress::parse(text).expect("an address")
}

fn settings(port: u16) -> DeliverySettings {
    DeliverySettings {
        smtp: Server {
            host: "127.0.0.1".to_owned(),
            port,
        },
        tls: TlsMode::None,
        ..DeliverySettings::default()
    }
}

async fn send(smtp: &mut Smtp, to: &str) -> Delivery {
    smtp.send(&plain("bounce+1-0@ours.example"), &plain(to), MAIL)
        .await
}

/// `sent|refused|recipient|server|maybe` and the answer.
fn summary(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Sent { answer } => format!("sent {answer}"),
        Delivery::Refused { answer } => format!("refused {answer}"),
        Delivery::Deferred {
            answer,
            whose,
            maybe_sent,
        } => match (whose, maybe_sent) {
            (_, true) => format!("maybe {answer}"),
            (Whose::Recipient, false) => format!("recipient {answer}"),
            (Whose::Server, false) => format!("server {answer}"),
        },
    }
}

/// Sends to `bad@b.example`, at whose step the server does it, then to `good@b.example`.
async fn check(at: fn(&Step) -> bool, does: Does, expected: &str, next: &str) {
    let once = std::sync::atomic::AtomicBool::new(false);
    let doing = does.clone();
    let server = SmtpServer::start(move |step| {
        let now = at(step) && !once.swap(true, std::sync::atomic::Ordering::SeqCst);
        if now { doing.clone() } else { Does::Well }
    });
    let mut smtp = Smtp::open(&settings(server.port()), "mx.example", QUICK).expect("opens");
    let found = summary(&send(&mut smtp, "bad@b.example").await);
    assert!(found.starts_with(expected), "{does:?}: {found}");
    let found = summary(&send(&mut smtp, "good@b.example").await);
    assert_eq!(found, next, "{does:?}, the next");
    smtp.close().await;
}

#[tokio::test]
async fn each_step() {
    const SENT: &str = "sent 250 2.0.0 taken";
    let greeting = |step: &Step| *step == Step::Greeting;
    let ehlo = |step: &Step| *step == Step::Ehlo;
    let mail = |step: &Step| matches!(step, Step::Mail(_));
    let rcpt = |step: &Step| matches!(step, Step::Rcpt(_));
    let data = |step: &Step| *step == Step::Data;
    let content = |step: &Step| matches!(step, Step::Content(_));
    for (at, does, expected) in [
        (
            greeting as fn(&Step) -> bool,
            Does::Says("554 no"),
            "server 554 no",
        ),
        (greeting, Does::Says("421 busy"), "server 421 busy"),
        (greeting, Does::Says("hello?"), "server "),
        (greeting, Does::Hushes, "server no answer within "),
        (greeting, Does::HangsUp, "server "),
        (ehlo, Does::Says("502 what"), "server 502 what"),
        (ehlo, Does::HangsUp, "server "),
        // Who may not send at all: our settings' trouble, not the recipient's.
        (mail, Does::Says("553 not you"), "server 553 not you"),
        (mail, Does::Says("452 full"), "server 452 full"),
        (mail, Does::HangsUp, "server "),
        (
            rcpt,
            Does::Says("450 4.2.0 greylisted"),
            "recipient 450 4.2.0 greylisted",
        ),
        (
            rcpt,
            Does::Says("550-5.1.1 no\r\n550 5.1.1 such user"),
            "refused 550 5.1.1 no such user",
        ),
        (
            rcpt,
            Does::Says("550 \u{1b}[31mred\u{7}"),
            "refused 550 [31mred",
        ),
        (
            rcpt,
            Does::Says("421 4.3.2 closing"),
            "server 421 4.3.2 closing",
        ),
        (rcpt, Does::Hushes, "server no answer within "),
        (rcpt, Does::HangsUp, "server "),
        (data, Does::Says("451 later"), "recipient 451 later"),
        (data, Does::Says("554 no"), "refused 554 no"),
        (
            data,
            Does::Says("250 what"),
            "server an answer to DATA that is not 354: 250 what",
        ),
        (data, Does::HangsUp, "server "),
        (
            content,
            Does::Says("451 4.7.1 later"),
            "recipient 451 4.7.1 later",
        ),
        (
            content,
            Does::Says("552 5.3.4 too big"),
            "refused 552 5.3.4 too big",
        ),
        (content, Does::Says("421 closing"), "server 421 closing"),
        // The answer is lost: it may have arrived.
        (content, Does::HangsUp, "maybe no answer to the mail"),
        (content, Does::Hushes, "maybe no answer to the mail"),
        (
            content,
            Does::Says("\u{0}\u{1}"),
            "maybe no answer to the mail",
        ),
    ] {
        check(at, does, expected, SENT).await;
    }
}

#[tokio::test]
async fn one_connection_carries_many_mails_as_they_are() {
    let server = SmtpServer::start(|step| match step {
        Step::Rcpt(to) if to.contains("bad@") => Does::Says("550 no"),
        _ => Does::Well,
    });
    let mut smtp = Smtp::open(&settings(server.port()), "mx.example", QUICK).expect("opens");
    for (to, expected) in [
        ("a@b.example", "sent 250 2.0.0 taken"),
        ("bad@b.example", "refused 550 no"),
        ("c@b.example", "sent 250 2.0.0 taken"),
    ] {
        assert_eq!(summary(&send(&mut smtp, to).await), expected);
    }
    let received = server.received();
    assert_eq!((received.len(), server.connections()), (2, 1));
    for mail in &received {
        assert_eq!(mail.content, MAIL, "{mail:?}");
        assert_eq!(mail.from, "<bounce+1-0@ours.example>");
        assert_eq!(mail.to.len(), 1, "one recipient a transaction");
    }
    // 100 mails, then a new connection.
    for _ in 0..100 {
        send(&mut smtp, "d@b.example").await;
    }
    assert_eq!((server.received().len(), server.connections()), (102, 2));
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_nothing() {
    for does in [Does::Says("421 4.4.2 idle for too long"), Does::HangsUp] {
        let mails = std::sync::atomic::AtomicUsize::new(0);
        let server = SmtpServer::start(move |step| match step {
            Step::Mail(_) if mails.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1 => {
                does.clone()
            }
            _ => Does::Well,
        });
        let mut smtp = Smtp::open(&settings(server.port()), "mx.example", QUICK).expect("opens");
        for to in ["a@b.example", "b@b.example"] {
            assert_eq!(summary(&send(&mut smtp, to).await), "sent 250 2.0.0 taken");
        }
        assert_eq!((server.received().len(), server.connections()), (2, 2));
    }
}

#[tokio::test]
async fn no_server_and_no_tls() {
    let gone = SmtpServer::start(|_| Does::Well).port();
    let deaf = SmtpServer::start(|_| Does::Well);
    let garbage = SmtpServer::start(|step| match step {
        Step::StartTls => Does::Says("220 go on\r\nthis is no TLS, whatever you think of it"),
        _ => Does::Well,
    });
    let plain_only = SmtpServer::start(|step| match step {
        Step::Ehlo => Does::Says("250 test"),
        _ => Does::Well,
    });
    for (port, tls, expected) in [
        (gone, TlsMode::None, "server "),
        (
            plain_only.port(),
            TlsMode::Required,
            "server the server offers no STARTTLS",
        ),
        (plain_only.port(), TlsMode::Opportunistic, "sent 250"),
        (garbage.port(), TlsMode::Required, "server "),
        // Broken TLS is no better than none, and no worse.
        (garbage.port(), TlsMode::Opportunistic, "sent 250"),
        (deaf.port(), TlsMode::Implicit, "server "),
    ] {
        let settings = DeliverySettings {
            tls,
            ..settings(port)
        };
        let mut smtp = Smtp::open(&settings, "mx.example", QUICK).expect("opens");
        let found = summary(&send(&mut smtp, "a@b.example").await);
        assert!(found.starts_with(expected), "{tls}: {found}");
    }
}

#[test]
fn settings_that_cannot_work_name_themselves() {
    let home = tempfile::tempdir().expect("a directory");
    let empty = home.path().join("empty");
    std::fs::write(&empty, "nothing").expect("our own directory");
    let base = DeliverySettings::default();
    let user = Some("u".to_owned());
    for (settings, expected) in [
        (
            DeliverySettings {
                username: user.clone(),
                password_file: Some(home.path().join("gone")),
                ..base.clone()
            },
            "delivery.password_file: ",
        ),
        (
            DeliverySettings {
                tls: TlsMode::Required,
                tls_ca: Some(empty.clone()),
                ..base.clone()
            },
            "certificates for delivery.tls: ",
        ),
        // Opportunistic TLS is with anyone.
        (
            DeliverySettings {
                username: user,
                password_file: Some(empty),
                smtp: Server {
                    host: "smtp.example".to_owned(),
                    port: 587,
                },
                ..base
            },
            "delivery.username: ",
        ),
    ] {
        let refused: SmtpError =
            Smtp::open(&settings, "mx.example", QUICK).expect_err("cannot work");
        assert!(refused.to_string().starts_with(expected), "{refused}");
    }
}
