//! DNS that does not answer: mail that is ready goes on, and many are asked about side by side.

use crate::outbox::Desk;
use crate::smtp_server::{Does, Step};
use alignd::dns::zone::Zone;
use alignd::dns::{Lookup, MxRecord, QueryName, Resolver, TxtRecord};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Answers as the zone does, but not before it is told to.
struct Gate {
    zone: Zone,
    opens: Arc<Semaphore>,
    waiting: AtomicUsize,
    most: Arc<AtomicUsize>,
}

/// One that waits, until it has its answer or gives up.
struct Here<'a>(&'a AtomicUsize);

impl Drop for Here<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Resolver for Gate {
    async fn txt(&self, name: &QueryName) -> Lookup<TxtRecord> {
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(waiting, Ordering::SeqCst);
        let _here = Here(&self.waiting);
        _ = self.opens.acquire().await.expect("never closed");
        self.zone.txt(name).await
    }

    async fn a(&self, name: &QueryName) -> Lookup<Ipv4Addr> {
        self.zone.a(name).await
    }

    async fn aaaa(&self, name: &QueryName) -> Lookup<Ipv6Addr> {
        self.zone.aaaa(name).await
    }

    async fn mx(&self, name: &QueryName) -> Lookup<MxRecord> {
        self.zone.mx(name).await
    }

    async fn ptr(&self, address: IpAddr) -> Lookup<QueryName> {
        self.zone.ptr(address).await
    }
}

#[tokio::test]
async fn mail_that_is_ready_waits_for_nobodys_dns() {
    let (opens, most) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Gate {
        zone: Zone::new(),
        opens: opens.clone(),
        waiting: AtomicUsize::new(0),
        most: most.clone(),
    };
    // DNS answers once the mail has arrived.
    let arrived = move |step: &Step| {
        if let Step::Content(_) = step {
            opens.add_permits(1);
        }
        Does::Well
    };
    let mut desk = Desk::with(arrived, 6_000, gate);
    for n in 0..100 {
        desk.keep_unverified(&format!("a{n}.example"), &[&format!("slow{n}")]);
    }
    desk.keep("z.example", &["d@z.example"]);
    let round = tokio::time::timeout(Duration::from_secs(300), desk.round()).await;
    let round = round.expect("the mail went first");
    // Those that were asked about for too long are asked about again.
    let asked = round.refused + round.deferred;
    assert_eq!((round.sent, asked), (1, 100), "{round:?}");
    let most = most.load(Ordering::SeqCst);
    assert!((2..=64).contains(&most), "{most} side by side");
}
