//! The whole house for one test: a DNS server, alignd, and Postfix before it.

use crate::alignd::{Alignd, Place};
use crate::dns::{Fault, FaultyDns};
use crate::mailbox::Mail;
use crate::nsd::Nsd;
use crate::postfix::{Jail, Postfix, Setup};
use crate::smtp::{Client, Reply};
use crate::wait;
use crate::world;
use serde_json::Value;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex};

/// `smtpd_milters` with alignd alone.
pub const ALIGND_ALONE: &str = "unix:alignd/milter.sock";

pub struct House {
    // Dropped in this order: the MTA first.
    pub postfix: Postfix,
    pub alignd: Alignd,
    asked: Arc<Mutex<Vec<String>>>,
    _dns: FaultyDns,
    _nsd: Nsd,
}

/// What differs from the plain house.
pub struct Plan<'a> {
    pub milters: &'a str,
    pub jail: Jail,
    pub main_cf: &'a str,
    /// Settings of alignd, as (`section.key`, TOML value).
    pub alignd: &'a [(&'a str, &'a str)],
    /// Another DNS server than the one with our zone.
    pub dns: Option<SocketAddrV4>,
}

impl Plan<'_> {
    pub const PLAIN: Plan<'static> = Plan {
        milters: ALIGND_ALONE,
        jail: Jail::Open,
        main_cf: "",
        alignd: &[],
        dns: None,
    };
}

impl House {
    pub fn open(plan: &Plan) -> Self {
        let nsd = Nsd::start(&world::zone());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let dns = FaultyDns::before(nsd.address(), move |name| {
            log.lock()
                .expect("nobody panics with it")
                .push(name.to_owned());
            Fault::named_in(name)
        });
        let postfix = Postfix::start(&Setup {
            milters: plan.milters,
            jail: plan.jail,
            main_cf: plan.main_cf,
        });
        let place = Place {
            binary: env!("CARGO_BIN_EXE_alignd").into(),
            namespace: postfix.namespace(),
            socket: postfix.queue_directory().join("alignd/milter.sock"),
        };
        let server = plan.dns.unwrap_or(dns.address());
        let alignd = Alignd::start(place, server, plan.alignd);
        Self {
            postfix,
            alignd,
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
        let mut session = self.postfix.session(client);
        let answer = session.mail(from, &[world::READER], message);
        session.quit();
        answer
    }

    /// Sends, and returns the mail as delivered with the verdict as stored.
    #[track_caller]
    pub fn deliver(&self, client: &Client, from: &str, message: &[u8]) -> (Mail, Value) {
        let id = self.send(client, from, message).queue_id();
        (self.postfix.delivered(&id), self.verdict(&id))
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
