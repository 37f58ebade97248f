//! Bounces of report mail, all the way: the next hop says 550, the MTA that took the report makes the bounce,
//! and it comes back by the alias or the transport of `contrib/`; bounces from elsewhere pass the milter.

use crate::house::{House, Kind, Plan, for_both};
use crate::kept_reports::{HandClock, domain, keep, open, verified};
use crate::mta::Mta;
use crate::postfix::{Jail, Postfix, READER, Setup};
use crate::sendmail::{ALIGND_USER, Sendmail, Setup as SendmailSetup};
use crate::wait;
use crate::world::EVIL;
use alignd::deliver::{DeliverySettings, Server, Smtp, Timeouts};
use alignd::dns::zone::Zone;
use alignd::report::aggregate::Format;
use alignd::report::bounce::return_path;
use alignd::report::destination::PlainAddress;
use alignd::send_report::{SendSettings, Sender};
use alignd::site_key::SiteKey;
use alignd::store::{Attempt, OutboxState, ReportNumber, Reports};
use alignd::time::Clock;
use nix::sched::{CloneFlags, setns};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

/// What `alignd inbox bounce` needs, in a directory that belongs to whom the MTA runs it as.
struct Home {
    directory: tempfile::TempDir,
    owner: u32,
    reports: Reports,
}

impl Home {
    fn of(owner: u32) -> Self {
        let directory = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("a directory");
        chown(directory.path(), Some(owner), None).expect("root may give files away");
        let home = Self {
            reports: open(&directory.path().join("store")),
            directory,
            owner,
        };
        let key = home.path("site.key");
        fs::write(&key, SiteKey::text(&[7; 32])).expect("our own directory");
        fs::set_permissions(key, fs::Permissions::from_mode(0o640)).expect("ours");
        fs::copy(env!("CARGO_BIN_EXE_alignd"), home.path("alignd")).expect("room for a copy");
        let settings = format!(
            "identity.report_domain = \"reports.example\"\nidentity.site_key = \"{0}/site.key\"\nstore.path = \"{0}/store\"\n",
            home.directory.path().display()
        );
        fs::write(home.path("alignd.toml"), settings).expect("our own directory");
        home.give_away();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn give_away(&self) {
        give_away(self.directory.path(), self.owner);
    }

    /// A line of `contrib/` with our program and settings in it.
    fn with_us(&self, line: &str) -> String {
        let ours = "/usr/local/bin/alignd inbox bounce";
        assert!(line.contains(ours), "{line}");
        let at = self.directory.path().display();
        line.replace(
            ours,
            &format!("{at}/alignd inbox bounce --config {at}/alignd.toml"),
        )
    }

    /// Sends two reports to dmarc@dead.example, which the server takes, and waits for their bounces.
    async fn bounces_come_back(&self, server: Server) {
        let clock = HandClock::new();
        let delivery = DeliverySettings {
            smtp: server,
            ..DeliverySettings::default()
        };
        let smtp = Smtp::open(&delivery, "mx.reports.example", Timeouts::default()).expect("opens");
        let settings = SendSettings {
            from: PlainAddress::parse("dmarc-reports@reports.example").expect("an address"),
            report_domain: domain("reports.example"),
            max_destinations: 10,
            rate: 6_000,
            retry_for: Duration::from_secs(86_400),
        };
        let (key, resolver) = (SiteKey::new(&[7; 32]), Arc::new(Zone::new()));
        let mut sender = Sender::new(settings, self.reports.clone(), key, (smtp, None), resolver);
        for (policy_domain, failures) in [("a.example", 1), ("b.example", 2)] {
            clock.forward(60);
            let to = vec![verified("dmarc@dead.example")];
            keep(
                &self.reports,
                policy_domain,
                Format::Rfc9990,
                to,
                clock.now(),
            );
            self.give_away();
            let round = sender.round(&clock).await.expect("the store works");
            assert_eq!(round.sent, 1, "the smarthost takes it");
            wait::until("the bounce is noted", || {
                let counts = self.reports.outbox_counts().expect("readable");
                (counts.refused == failures).then_some(())
            });
        }
        let suppressed = wait::until("the address is suppressed", || {
            let all = self.reports.suppressions().expect("readable");
            all.into_iter().find(|s| s.until.is_some())
        });
        assert_eq!(suppressed.who, "dmarc@dead.example");
        let says = "550 5.1.1 no such user here";
        assert!(suppressed.reason.contains(says), "{suppressed:?}");
    }
}

/// Everything below a directory to this user.
fn give_away(directory: &Path, user: u32) {
    for entry in fs::read_dir(directory).expect("our own directory") {
        let path = entry.expect("readable").path();
        chown(&path, Some(user), Some(user)).expect("root may give files away");
        if path.is_dir() {
            give_away(&path, user);
        }
    }
}

fn server(address: SocketAddrV4) -> Server {
    Server {
        host: address.ip().to_string(),
        port: address.port(),
    }
}

/// The line that is no comment.
fn last_line(text: &str) -> &str {
    text.lines().last().expect("a line")
}

#[tokio::test]
async fn postfix_and_its_alias() {
    let home = Home::of(READER);
    // As postalias(1) reads them, but for the colon.
    let line = home.with_us(last_line(include_str!("../../contrib/postfix/aliases")));
    fs::write(home.path("aliases"), line.replacen(':', " ", 1)).expect("our own directory");
    home.give_away();
    let main_cf = format!(
        "transport_maps = inline:{{ dead.example=smtp:[127.0.0.1]:{} }}\nrelay_domains = dead.example\n\
         mydestination = reports.example\nlocal_transport = local:\nlocal_recipient_maps =\n\
         alias_maps = texthash:{}\nrecipient_delimiter = +\nallow_mail_to_commands = alias\n\
         smtp_host_lookup = native\n",
        refusing("127.0.0.1:0"),
        home.path("aliases").display()
    );
    let setup = Setup {
        milters: &[],
        jail: Jail::Open,
        main_cf: &main_cf,
    };
    let services = "smtp unix - - n - - smtp\nlocal unix - n n - - local\n";
    let postfix = Postfix::start_with(&setup, services);
    home.bounces_come_back(server(postfix.address())).await;
}

#[tokio::test]
async fn postfix_and_its_transport() {
    let home = Home::of(READER);
    let sample = include_str!("../../contrib/postfix/master.cf");
    let (_, transport) = sample
        .split_once("\nalignd-bounce ")
        .expect("our transport");
    let transport = home
        .with_us(transport)
        .replace("user=alignd ", "user=reader ");
    let main_cf = format!(
        "transport_maps = inline:{{ dead.example=smtp:[127.0.0.1]:{}, reports.example=alignd-bounce: }}\n\
         relay_domains = dead.example, reports.example\nsmtp_host_lookup = native\n",
        refusing("127.0.0.1:0"),
    );
    let setup = Setup {
        milters: &[],
        jail: Jail::Open,
        main_cf: &main_cf,
    };
    let services = format!("smtp unix - - n - - smtp\nalignd-bounce {transport}\n");
    let postfix = Postfix::start_with(&setup, &services);
    home.bounces_come_back(server(postfix.address())).await;
}

/// In its network: mail for dead.example goes to port 2525.
const SENDMAIL_MC: &str = "\
define(`ALIAS_FILE', `/mnt/home/aliases')dnl
LOCAL_DOMAIN(`reports.example')dnl
define(`RELAY_MAILER_ARGS', `TCP $h 2525')dnl
LOCAL_RULE_0
R$* < @ dead . example $* > $*\t$#relay $@ [127.0.0.1] $: $1 < @ dead . example > $3
";

#[test]
fn sendmail_and_its_alias() {
    let sample = include_str!("../../contrib/sendmail/aliases");
    let user = sample
        .lines()
        .find_map(|line| line.strip_prefix("#   define("));
    let mc = format!(
        "define({}\n{SENDMAIL_MC}",
        user.expect("whose program it is")
    );
    let mta = Sendmail::start(&SendmailSetup {
        milters: &[],
        clients: &[],
        mc: &mc,
    });
    let home = Home::of(ALIGND_USER);
    aliases(&mta, &(home.with_us(last_line(sample)) + "\n"));
    // Sockets are made in this thread's network, which is Sendmail's from here on.
    setns(mta.network(), CloneFlags::CLONE_NEWNET).expect("root may enter it");
    refusing("127.0.0.1:2525");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let server = Server {
        host: "127.0.0.1".to_owned(),
        port: 25,
    };
    runtime.block_on(home.bounces_come_back(server));
}

/// Sendmail's, and newaliases(1).
fn aliases(sendmail: &dyn Mta, text: &str) {
    let home = sendmail.sockets().join("../..");
    fs::write(home.join("aliases"), text).expect("our own directory");
    let made = sendmail.command().arg("-bi").stdout(Stdio::null()).status();
    assert!(made.expect("nsenter can be run").success(), "newaliases");
}

/// Starts an SMTP server that knows no recipient, and tells its port; it ends with the test process.
fn refusing(address: &str) -> u16 {
    let listener = TcpListener::bind(address).expect("loopback can be bound");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Whatever the client does, the next one comes.
            _ = stream.and_then(refuse);
        }
    });
    port
}

fn refuse(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"220 dead.example\r\n")?;
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        let answer = match line.get(..4) {
            Some("RCPT") => "550 5.1.1 no such user here",
            Some("DATA") => "554 5.5.1 no valid recipients",
            Some("QUIT") => "221 bye",
            _ => "250 ok",
        };
        stream
            .get_mut()
            .write_all(format!("{answer}\r\n").as_bytes())?;
        line.clear();
    }
    Ok(())
}

for_both![a_bounce_from_elsewhere_is_noted_while_it_passes];

const DSN: &[u8] = b"From: MAILER-DAEMON@mx.evil.example\r\nTo: x\r\nSubject: gone\r\n\
    Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
    --b\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
    Reporting-MTA: dns; mx.evil.example\r\n\r\nFinal-Recipient: rfc822; dmarc@dead.example\r\n\
    Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 gone\r\n\r\n--b--\r\n";

/// From anywhere, and whatever else is done with it: our seal is what counts.
fn a_bounce_from_elsewhere_is_noted_while_it_passes(mta: Kind) {
    let keys = tempfile::tempdir().expect("a directory");
    let file = keys.path().join("site.key");
    fs::write(&file, SiteKey::text(&[7; 32])).expect("our own directory");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("ours");
    let file = format!("{file:?}");
    let ours = [
        ("identity.report_domain", "\"receiver.example\""),
        ("identity.site_key", file.as_str()),
    ];
    for from_the_start in [true, false] {
        let house = House::open(&Plan {
            alignd: if from_the_start { &ours } else { &[] },
            mc: "define(`ALIAS_FILE', `/mnt/home/aliases')dnl",
            ..Plan::of(mta)
        });
        if !from_the_start {
            for (key, value) in ours {
                house.alignd.set(key, value);
            }
            house.alignd.reload();
            wait::until("the new settings to hold", || {
                house.alignd.log().contains("reloaded").then_some(())
            });
        }
        bounces_are_noted(&house, mta);
    }
}

fn bounces_are_noted(house: &House, mta: Kind) {
    if mta == Kind::Sendmail {
        aliases(&*house.mta, "bounce: reader\n");
    }
    let reports = open(&house.alignd.store());
    let bounced = |policy_domain: &str, spoil: &str| {
        let (report, path) = sent(&reports, policy_domain);
        let path = path.replacen('@', &format!("{spoil}@"), 1);
        let mut session = house.mta.session(&EVIL);
        let id = session.mail("<>", &[&format!("<{path}>")], DSN).queue_id();
        session.quit();
        house.mta.delivered(&id);
        report
    };
    let state = |report: ReportNumber| {
        let entry = reports.outbox_of(report).expect("readable").pop();
        let entry = entry.expect("an entry");
        (entry.state, entry.last_answer.unwrap_or_default())
    };
    let forged = bounced("a.example", "0");
    for policy_domain in ["b.example", "c.example"] {
        let report = bounced(policy_domain, "");
        let answer = wait::until("the bounce is noted", || {
            let (state, answer) = state(report);
            (state == OutboxState::Refused).then_some(answer)
        });
        assert_eq!(answer, "bounced: 550 5.1.1 gone");
    }
    let suppressed = wait::until("the address is suppressed", || {
        let all = reports.suppressions().expect("readable");
        all.into_iter().find(|s| s.until.is_some())
    });
    assert_eq!(
        (suppressed.who.as_str(), suppressed.times),
        ("dmarc@dead.example", 1)
    );
    // They are taken one after the other: that one was passed over.
    assert_eq!(state(forged).0, OutboxState::Sent);
}

/// A report that was sent to dmarc@dead.example, and its return path.
fn sent(reports: &Reports, policy_domain: &str) -> (ReportNumber, String) {
    let to = vec![verified("dmarc@dead.example")];
    let now = HandClock::new().now();
    let report = keep(reports, policy_domain, Format::Rfc9990, to, now);
    let taken = reports.take_due("", 1, now, Duration::from_secs(3_600));
    let entry = taken.expect("taken").pop().expect("it is due");
    let answer = "250 ok".to_owned();
    let recorded = reports.record_attempt(&entry, &Attempt::Sent { answer });
    assert!(recorded.expect("recorded"));
    let recipient = PlainAddress::parse("dmarc@dead.example").expect("an address");
    let key = SiteKey::new(&[7; 32]);
    let kept = reports.find(report).expect("readable");
    let unique = kept.expect("a report").head.id.unique;
    let ours = domain("receiver.example");
    let path = return_path(entry.number, &unique, &recipient, &ours, &key);
    (report, path.expect("short enough").to_string())
}
