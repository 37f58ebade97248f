//! alignd behind a real Postfix, from the SMTP client to the delivered mail.

#[path = "support/aside.rs"]
mod aside;
#[path = "support/loopback.rs"]
mod loopback;
#[path = "support/mailbox.rs"]
mod mailbox;
#[path = "support/other_milter.rs"]
mod other_milter;
#[path = "support/postfix.rs"]
mod postfix;
#[path = "support/smtp.rs"]
mod smtp;
#[path = "support/wait.rs"]
mod wait;

use other_milter::{Habit, OtherMilter};
use postfix::{Jail, Postfix, Setup};
use smtp::Client;

const CLIENT: Client = Client {
    address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 25)),
    name: "mx.sender.example",
    helo: "mx.sender.example",
};

#[test]
fn without_a_milter_mail_arrives_as_it_was_sent() {
    for jail in [Jail::Open, Jail::AsDebian] {
        let postfix = Postfix::start(&Setup {
            milters: "",
            jail,
            main_cf: "",
        });
        let mut session = postfix.session(&CLIENT);
        let message = b"From: <a@sender.example>\r\nSubject:  two\r\n\tfolds\r\n\r\n.dot\r\n";
        let id = session
            .mail("<a@sender.example>", &["<b@receiver.example>"], message)
            .queue_id();
        session.quit();
        let mail = postfix.delivered(&id);
        assert_eq!(mail.body(), b".dot\n");
        assert!(mail.header().contains("Subject:  two\n\tfolds\n"));
        assert_eq!(postfix.mailbox().len(), 1);
        assert!(postfix.queue_directory().is_dir());
        assert!(!mail.bytes().is_empty());
    }
}

#[test]
fn another_milter_refuses_changes_and_waits() {
    let message = b"From: <a@sender.example>\r\n\r\nbody\r\n";
    let check = |habit, code, body: &[u8]| {
        let milter = OtherMilter::start(habit);
        let postfix = Postfix::start(&Setup {
            milters: &milter.socket(),
            jail: Jail::Open,
            main_cf: "",
        });
        let mut session = postfix.session(&CLIENT);
        let answer = session.mail("<a@sender.example>", &["<b@receiver.example>"], message);
        answer.expect(code);
        if code == 250 {
            assert_eq!(postfix.delivered(&answer.queue_id()).body(), body);
        }
    };
    check(Habit::Refuse, 550, b"");
    check(Habit::Change, 250, b"changed\n");
    check(
        Habit::Wait(std::time::Duration::from_millis(100)),
        250,
        b"body\n",
    );
}
