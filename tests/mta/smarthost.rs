//! A real Postfix as smarthost: STARTTLS, TLS from the first octet and AUTH, with a certificate of our
//! own; what arrives is verified as it lies in the mailbox.

use crate::kept_reports::{HandClock, domain, keep, open, verified};
use crate::mta::Mta;
use crate::postfix::{Jail, Postfix, Setup};
use crate::wait;
use alignd::deliver::{DeliverySettings, Server, Smtp, Timeouts, TlsMode};
use alignd::dns::zone::Zone;
use alignd::report::aggregate::Format;
use alignd::report::destination::PlainAddress;
use alignd::send_report::{SendSettings, Sender};
use alignd::site_key::SiteKey;
use alignd::time::Clock;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddrV4;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A certificate authority, and a certificate of it for an address.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Self {
        let home = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("a directory");
        let this = Self(home);
        this.openssl(
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=Test-CA -days 30 \
             -addext basicConstraints=critical,CA:TRUE",
        );
        this
    }

    fn issue(&self, address: SocketAddrV4) {
        let alternative = format!("subjectAltName=IP:{}\n", address.ip());
        fs::write(self.path("san"), alternative).expect("our own directory");
        self.openssl(
            "req -newkey rsa:2048 -nodes -keyout key.pem -out csr.pem -subj /CN=smarthost",
        );
        self.openssl(
            "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 30 -extfile san",
        );
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let ended = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("openssl can be run");
        assert!(ended.success(), "openssl {arguments}");
    }
}

/// Answers Postfix in Dovecot's authentication protocol, for one user; the lines of main.cf for it. It ends
/// with the test process.
fn sasl(home: &Path) -> String {
    let path = home.join("auth");
    let listener = UnixListener::bind(&path).expect("a socket in our own directory");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("it is ours");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Each smtpd has a connection of its own, and keeps it.
            std::thread::spawn(move || stream.and_then(authenticate));
        }
    });
    format!(
        "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = {}\n",
        path.display()
    )
}

fn authenticate(stream: UnixStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let greeting = "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n";
    stream.get_mut().write_all(greeting.as_bytes())?;
    let good = STANDARD.encode("\0reporter\0s3cret word");
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        let mut words = line.trim_end().split('\t');
        if words.next() == Some("AUTH") {
            let id = words.next().unwrap_or_default();
            let knows = words.any(|word| word.strip_prefix("resp=") == Some(&good));
            let answer = if knows { "OK" } else { "FAIL" };
            let answer = format!("{answer}\t{id}\tuser=reporter\n");
            stream.get_mut().write_all(answer.as_bytes())?;
        }
        line.clear();
    }
    Ok(())
}

struct House {
    postfix: Postfix,
    certificates: Certificates,
    home: tempfile::TempDir,
}

impl House {
    fn open(more: &str) -> Self {
        let certificates = Certificates::new();
        let home = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("a directory");
        let main_cf = format!(
            "smtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\nsmtpd_tls_security_level = may\n\
             smtpd_tls_auth_only = yes\nsmtpd_client_restrictions = permit_sasl_authenticated, reject\n\
             smtpd_delay_reject = yes\n{}{more}",
            certificates.path("cert.pem").display(),
            certificates.path("key.pem").display(),
            sasl(home.path())
        );
        let setup = Setup {
            milters: &[],
            jail: Jail::Open,
            main_cf: &main_cf,
        };
        let postfix = Postfix::start_with(&setup, "tlsmgr unix - - n 1000? 1 tlsmgr\n");
        // Read by each smtpd when it starts.
        certificates.issue(postfix.address());
        fs::write(home.path().join("password"), "s3cret word\n").expect("our own directory");
        Self {
            postfix,
            certificates,
            home,
        }
    }

    fn settings(&self, tls: TlsMode) -> DeliverySettings {
        DeliverySettings {
            smtp: Server {
                host: self.postfix.address().ip().to_string(),
                port: self.postfix.address().port(),
            },
            tls,
            tls_ca: Some(self.certificates.path("ca.pem")),
            username: Some("reporter".to_owned()),
            password_file: Some(self.home.path().join("password")),
            ..DeliverySettings::default()
        }
    }

    /// Sends a report to the reader; what came of it.
    async fn send(&self, settings: &DeliverySettings, policy_domain: &str) -> String {
        let store = self.home.path().join(policy_domain);
        let reports = open(&store);
        let clock = HandClock::new();
        let to = vec![verified("reader@receiver.example")];
        let report = keep(&reports, policy_domain, Format::Rfc9990, to, clock.now());
        let timeouts = Timeouts {
            connect: Duration::from_secs(30),
            command: Duration::from_secs(30),
            content: Duration::from_secs(30),
        };
        let smtp = Smtp::open(settings, "mx.reports.example", timeouts).expect("opens");
        let sending = SendSettings {
            from: PlainAddress::parse("dmarc-reports@reports.example").expect("an address"),
            report_domain: domain("reports.example"),
            max_destinations: 10,
            rate: 60,
            retry_for: Duration::from_secs(86_400),
        };
        let key = SiteKey::new(&[7; 32]);
        let resolver = Arc::new(Zone::new());
        let mut sender = Sender::new(sending, reports.clone(), key, (smtp, None), resolver);
        sender.round(&clock).await.expect("the store works");
        let entry = &reports.outbox_of(report).expect("readable")[0];
        format!(
            "{} {}",
            entry.state,
            entry.last_answer.as_deref().unwrap_or_default()
        )
    }
}

#[tokio::test]
async fn starttls_and_auth() {
    let house = House::open("");
    let required = house.settings(TlsMode::Required);
    let sent = house.send(&required, "a.example").await;
    assert!(sent.starts_with("sent 250 2.0.0 Ok: queued as "), "{sent}");
    let id = sent.rsplit(' ').next().expect("an id");
    let mail = house.postfix.delivered(id);
    assert_eq!(mail.fields("From"), ["dmarc-reports@reports.example"]);
    assert_eq!(mail.fields("Auto-Submitted"), ["auto-generated"]);
    assert!(
        mail.fields("Return-Path")[0].starts_with("<bounce+1-"),
        "{}",
        mail.header()
    );
    let received = mail.fields("Received");
    assert!(
        received[0].contains("with ESMTPSA"),
        "encrypted and logged in: {received:?}"
    );
    let log = house.postfix.log();
    assert!(
        log.contains("sasl_method=PLAIN, sasl_username=reporter"),
        "{log}"
    );
    // Whoever isn't who the certificate names, or has none that we trust, gets nothing.
    let nobody = DeliverySettings {
        tls_ca: None,
        ..required.clone()
    };
    let found = house.send(&nobody, "b.example").await;
    assert!(
        found.starts_with("queued ") && found.contains("ertificate"),
        "{found}"
    );
    let elsewhere = DeliverySettings {
        smtp: Server {
            host: "localhost".to_owned(),
            port: 1,
        },
        ..required.clone()
    };
    assert!(
        house
            .send(&elsewhere, "c.example")
            .await
            .starts_with("queued ")
    );
    // A wrong password is the settings' trouble, not the recipient's.
    let wrong = house.home.path().join("wrong");
    fs::write(&wrong, "guess").expect("our own directory");
    let wrong = DeliverySettings {
        password_file: Some(wrong),
        ..required
    };
    let found = house.send(&wrong, "d.example").await;
    assert!(found.starts_with("queued 535 5.7.8 "), "{found}");
    wait::until("one mail", || {
        (house.postfix.mailbox().len() == 1).then_some(())
    });
}

#[tokio::test]
async fn tls_from_the_first_octet() {
    let house = House::open("smtpd_tls_wrappermode = yes\n");
    let sent = house
        .send(&house.settings(TlsMode::Implicit), "a.example")
        .await;
    assert!(sent.starts_with("sent 250 2.0.0 Ok: queued as "), "{sent}");
}
