//! One day from mail to report: mails come in through a real Postfix, the clock is set to the night after,
//! and what arrives in the domain owner's mailbox, behind a Postfix of their own, is read.

use crate::house::{House, Kind, Plan};
use crate::mailbox::Mail;
use crate::mta::Mta;
use crate::postfix::{Jail, Postfix, Setup};
use crate::schema;
use crate::wait;
use crate::world::{self, EVIL, FORWARDER, RSA, SENDER};
use alignd::build_report::{BuildSettings, Built};
use alignd::deliver::{DeliverySettings, Server, TlsMode};
use alignd::dns::master;
use alignd::dns::zone::Zone;
use alignd::domain::DomainName;
use alignd::report::aggregate::{Format, Reporter};
use alignd::report::destination::PlainAddress;
use alignd::report::period::{SendSchedule, SendWindow};
use alignd::schedule::{Opened, Reporting, Resting, Scheduler, Sending, TURN, WayOut};
use alignd::send_report::SendSettings;
use alignd::store::{Include, Reports, StoreSettings};
use alignd::time::{Clock, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// The mail host of the domains' owners: all their mail has one mailbox.
pub struct Owners(Postfix);

/// A report as it arrived.
pub struct Arrived {
    pub mail: Mail,
    pub xml: String,
}

/// The night after the day that is today by the system's clock.
pub struct Night {
    clock: Arc<Set>,
    scheduler: Scheduler<Zone>,
    sending: Sending<Zone>,
}

/// A clock that stands where it was set.
struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

impl Owners {
    pub fn start() -> Self {
        Self(Postfix::start(&Setup {
            milters: &[],
            jail: Jail::Open,
            main_cf: "virtual_mailbox_domains = sender.example\n",
        }))
    }

    /// The reports that are in the mailbox, once there are so many.
    pub fn reports(&self, count: usize) -> Vec<Arrived> {
        let found = wait::until("the reports arrive", || {
            let mails = self.0.mailbox();
            (mails.len() >= count).then_some(mails)
        });
        found.into_iter().map(Arrived::read).collect()
    }
}

impl Arrived {
    fn read(mail: Mail) -> Self {
        let body = String::from_utf8(mail.body().to_vec()).expect("report mail is ASCII");
        let part = body.split("Content-Type: application/gzip\n").nth(1);
        let (_, encoded) = part
            .and_then(|part| part.split_once("\n\n"))
            .expect("a part");
        let lines = encoded.lines().take_while(|line| !line.starts_with("--"));
        let gz = STANDARD.decode(lines.collect::<String>()).expect("base64");
        let mut xml = String::new();
        let mut gz = GzDecoder::new(gz.as_slice());
        gz.read_to_string(&mut xml).expect("gzip, and UTF-8");
        Self { mail, xml }
    }

    /// The sum of its counts.
    pub fn messages(&self) -> u64 {
        let counts = self.xml.split("<count>").skip(1);
        let counts = counts.map(|rest| rest.split('<').next().and_then(|n| n.parse::<u64>().ok()));
        counts.map(|count| count.expect("a number")).sum()
    }
}

impl Night {
    /// Of the mail in this store; reports go to `owners`.
    pub fn after(store: &Path, owners: &Owners) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a time");
        let tomorrow = Timestamp::from_seconds(now.as_secs() as i64).day().next();
        let clock = Arc::new(Set(AtomicI64::new(tomorrow.begin().micros())));
        let kept = StoreSettings {
            path: store.to_owned(),
            ..StoreSettings::default()
        };
        let reports = Reports::open(&kept, clock.now()).expect("reports.db");
        let zone = format!("$ORIGIN .\n$TTL 60\n{}", world::zone());
        let zone = Arc::new(master::parse(&zone).expect("our own zone"));
        let (_, settings) = watch::channel(Some(Arc::new(reporting(store, owners))));
        Self {
            scheduler: Scheduler {
                settings: settings.clone(),
                resolver: zone.clone(),
                reports: reports.clone(),
                store: store.to_owned(),
                clock: clock.clone(),
                turn: TURN,
                resting: Resting::default(),
            },
            sending: Sending {
                settings,
                reports,
                resolver: zone,
                clock: clock.clone(),
                turn: TURN,
                opened: Opened::default(),
            },
            clock,
        }
    }

    /// What is built, and how much sent, at this minute of the night.
    pub fn at(&mut self, minute: i64) -> (Built, u32) {
        let midnight = self.clock.now().day().begin();
        let now = midnight.plus_micros(minute * 60_000_000);
        self.clock.0.store(now.micros(), Ordering::SeqCst);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let built = self.scheduler.build_due().await;
            (built, self.sending.send_due().await.sent)
        })
    }
}

fn reporting(store: &Path, owners: &Owners) -> Reporting {
    let domain = DomainName::parse("receiver.example").expect("a domain");
    let address = owners.0.address();
    Reporting {
        schedule: SendSchedule {
            window: SendWindow::NIGHT,
            zone: "UTC".parse().expect("a zone"),
            settle: 15 * 60_000_000,
        },
        build: BuildSettings {
            reporter: Reporter {
                org_name: "Receiver".to_owned(),
                contact: "postmaster@receiver.example".to_owned(),
                domain: domain.clone(),
            },
            format: Format::Rfc9990,
            include: Include::Accepted,
            envelope_to: false,
            min_messages: 1,
            skip_domains: Vec::new(),
            only_domains: Vec::new(),
            spool: store.to_owned(),
        },
        max_destinations: 10,
        way_out: WayOut {
            send: SendSettings {
                from: PlainAddress::new("dmarc-reports", domain.clone()).expect("an address"),
                report_domain: domain,
                max_destinations: 10,
                rate: 6_000,
                retry_for: Duration::from_secs(86_400),
            },
            delivery: DeliverySettings {
                smtp: Server {
                    host: address.ip().to_string(),
                    port: address.port(),
                },
                tls: TlsMode::None,
                ..DeliverySettings::default()
            },
            site_key: store.join("site.key"),
            host_name: "mx.receiver.example".to_owned(),
        },
    }
}

const LETTER: &[u8] = b"From: ann@sender.example\r\nTo: reader@receiver.example\r\n\
    Subject: Tea\r\nMessage-ID: <tea@sender.example>\r\n\r\nAt four?\r\n";

const RSA_TAGS: &str = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=sender.example; s=rsa;\r\n\
    \th=from:to:subject:message-id; bh={bh};\r\n\tb={b}";

/// RFC 9990 §3.5: what the owner of sender.example learns about a day is what was accepted in it.
#[test]
fn the_domain_owner_gets_a_report_that_counts_the_mails_accepted() {
    let house = House::open(&Plan {
        alignd: &[("policy.on_reject", "\"reject\"")],
        ..Plan::of(Kind::Postfix)
    });
    let owners = Owners::start();
    let mut accepted = 0;
    for (client, mail_from, message, takes) in [
        (SENDER, "<ann@sender.example>", LETTER.to_vec(), true),
        (SENDER, "<ann@sender.example>", LETTER.to_vec(), true),
        (
            FORWARDER,
            "<x@forwarder.example>",
            RSA.sign(LETTER, RSA_TAGS),
            true,
        ),
        (EVIL, "<x@evil.example>", LETTER.to_vec(), false),
        (EVIL, "<>", LETTER.to_vec(), false),
    ] {
        let answer = house.send(&client, mail_from, &message);
        assert_eq!(answer.0.starts_with("250"), takes, "{}", answer.0);
        if takes {
            house.verdict(&answer.queue_id());
            accepted += 1;
        }
    }
    let mut night = Night::after(&house.alignd.store(), &owners);
    for (minute, reports, sent) in [(0, 0, 0), (30, 0, 0), (60, 1, 0), (290, 0, 1), (299, 0, 0)] {
        let (built, mails) = night.at(minute);
        assert_eq!(
            (built.failed, built.reports, mails),
            (0, reports, sent),
            "{minute}"
        );
    }
    let [arrived] = &owners.reports(1)[..] else {
        panic!("more than one report");
    };
    assert_eq!(arrived.messages(), accepted);
    let valid = schema::validate(Format::Rfc9990, &[arrived.xml.clone().into_bytes()]);
    assert_eq!(valid, 1);
    let fields = |name: &str| arrived.mail.fields(name).join("|");
    assert_eq!(fields("From"), "dmarc-reports@receiver.example");
    assert_eq!(fields("To"), "dmarc@sender.example");
    assert_eq!(fields("Auto-Submitted"), "auto-generated");
    let subject = "Report Domain: sender.example Submitter: receiver.example Report-ID: <";
    assert!(
        fields("Subject").starts_with(subject),
        "{}",
        fields("Subject")
    );
    assert!(
        fields("Return-Path").starts_with("<bounce+"),
        "{}",
        fields("Return-Path")
    );
    assert!(arrived.xml.contains("<domain>sender.example</domain>"));
    assert!(
        !arrived.xml.contains(&EVIL.address.to_string()),
        "{}",
        arrived.xml
    );
}
