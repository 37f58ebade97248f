//! The whole house for one test: a DNS server, alignd, and an MTA before it.

use crate::alignd::{Alignd, Place};
use crate::dns::{Fault, FaultyDns};
use crate::mailbox::Mail;
use crate::mta::{ALIGND, Mta, OTHER};
use crate::nsd::Nsd;
use crate::other_milter::{Habit, OtherMilter};
use crate::postfix::{self, Jail, Postfix};
use crate::sendmail::{self, Sendmail};
use crate::smtp::{Client, Reply};
use crate::wait;
use crate::world;
use serde_json::Value;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex};

/// Which MTA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Postfix,
    Sendmail,
}

/// Makes of each function, which takes a `Kind`, one test for each MTA.
macro_rules! for_both {
    ($($test:ident),+ $(,)?) => {
        mod postfix {
            $(#[test] fn $test() { super::$test(crate::house::Kind::Postfix); })+
        }
        mod sendmail {
            $(#[test] fn $test() { super::$test(crate::house::Kind::Sendmail); })+
        }
    };
}
pub(crate) use for_both;

pub struct House {
    // Dropped in this order: the MTA first.
    pub mta: Box<dyn Mta>,
    pub alignd: Alignd,
    _other: Option<OtherMilter>,
    asked: Arc<Mutex<Vec<String>>>,
    _dns: FaultyDns,
    _nsd: Nsd,
}

/// What differs from the plain house.
pub struct Plan<'a> {
    pub mta: Kind,
    /// The MTA's milters.
    pub chain: Chain,
    /// Settings of alignd, as (`section.key`, TOML value).
    pub alignd: &'a [(&'a str, &'a str)],
    /// Another DNS server than the one with our zone.
    pub dns: Option<SocketAddrV4>,
    /// Whom alignd runs as, instead of root.
    pub user: Option<u32>,
    /// For Postfix.
    pub jail: Jail,
    /// Further lines for Postfix.
    pub main_cf: &'a str,
    /// Further services for Postfix.
    pub master_cf: &'a str,
    /// Further lines for Sendmail.
    pub mc: &'a str,
}

/// alignd among the MTA's milters.
#[derive(Debug, Clone, Copy)]
pub enum Chain {
    Alone,
    /// Before this one.
    Before(Habit),
    /// After this one.
    After(Habit),
    /// Before one that the test starts itself.
    BeforeAnother,
    /// It isn't there, as far as `Plan::main_cf` doesn't say so.
    Unsaid,
}

impl Plan<'_> {
    pub const fn of(mta: Kind) -> Plan<'static> {
        Plan {
            mta,
            chain: Chain::Alone,
            alignd: &[],
            dns: None,
            user: None,
            jail: Jail::Open,
            main_cf: "",
            master_cf: "",
            mc: "",
        }
    }

    fn start_mta(&self) -> Box<dyn Mta> {
        let milters: &[&str] = match self.chain {
            Chain::Alone => &[ALIGND],
            Chain::Before(_) | Chain::BeforeAnother => &[ALIGND, OTHER],
            Chain::After(_) => &[OTHER, ALIGND],
            Chain::Unsaid => &[],
        };
        match self.mta {
            Kind::Postfix => {
                let setup = postfix::Setup {
                    milters,
                    jail: self.jail,
                    main_cf: self.main_cf,
                };
                Box::new(Postfix::start_with(&setup, self.master_cf))
            }
            Kind::Sendmail => Box::new(Sendmail::start(&sendmail::Setup {
                milters,
                clients: &world::CLIENTS,
                mc: self.mc,
            })),
        }
    }
}

impl House {
    /// As it comes.
    pub fn plain(mta: Kind) -> Self {
        Self::open(&Plan::of(mta))
    }

    pub fn open(plan: &Plan) -> Self {
        let nsd = Nsd::start(&world::zone());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let mta = plan.start_mta();
        let network = mta.network();
        let dns = FaultyDns::before(nsd.address(), Some(&network), move |name| {
            log.lock()
                .expect("nobody panics with it")
                .push(name.to_owned());
            Fault::named_in(name)
        });
        let place = Place {
            binary: env!("CARGO_BIN_EXE_alignd").into(),
            namespace: mta.namespace(),
            socket: mta.sockets().join(ALIGND),
            listen: match plan.mta {
                Kind::Postfix => mta.sockets().join(ALIGND),
                Kind::Sendmail => "/run/alignd/milter.sock".into(),
            },
            group: match plan.mta {
                Kind::Postfix => "postfix",
                // As in contrib/sendmail: it connects as root.
                Kind::Sendmail => "",
            },
            user: plan.user,
        };
        let server = plan.dns.unwrap_or(dns.address());
        let alignd = Alignd::start(place, server, plan.alignd);
        let other = match plan.chain {
            Chain::Before(habit) | Chain::After(habit) => {
                Some(OtherMilter::start(habit, &mta.sockets().join(OTHER)))
            }
            Chain::Alone | Chain::BeforeAnother | Chain::Unsaid => None,
        };
        Self {
            mta,
            alignd,
            _other: other,
            asked,
            _dns: dns,
            _nsd: nsd,
        }
    }

    /// Whether alignd has asked DNS for this name yet.
    pub fn was_asked(&self, name: &str) -> bool {
        let asked = self.asked.lock().expect("nobody panics with it");
        asked.iter().any(|found| found == name)
    }

    /// One message in a session of its own.
    pub fn send(&self, client: &Client, from: &str, message: &[u8]) -> Reply {
        let mut session = self.mta.session(client);
        let answer = session.mail(from, &[world::READER], message);
        session.quit();
        answer
    }

    /// Sends, and returns the mail as delivered with the verdict as stored.
    #[track_caller]
    pub fn deliver(&self, client: &Client, from: &str, message: &[u8]) -> (Mail, Value) {
        let id = self.send(client, from, message).queue_id();
        (self.mta.delivered(&id), self.verdict(&id))
    }

    /// The verdict stored for this queue id, once its outcome is known.
    pub fn verdict(&self, queue_id: &str) -> Value {
        wait::until(&format!("a settled verdict for {queue_id}"), || {
            let found = self.alignd.messages(&["--queue-id", queue_id]);
            assert!(found.len() < 2, "several verdicts: {found:?}");
            found.into_iter().find(|v| v["outcome"] != "answering")
        })
    }
}
