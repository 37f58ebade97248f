//! Peers that take their time: `milter.idle_timeout` is for a whole packet and for a whole answer.

use crate::mta::{Mail, Mta, Session};
use crate::raw::Raw;
use crate::running::{Running, settings, start};
use std::time::Duration;

async fn start_impatient() -> Running {
    let mut settings = settings();
    settings.milter.idle_timeout = Duration::from_millis(300);
    start(settings).await
}

fn good() -> Mail<'static> {
    Mail::plain("<a@good.example>").field("From", " a@good.example")
}

/// Sends an octet now and then, as long as anyone takes them; far fewer than the packet promises.
async fn drip(raw: &mut Raw) {
    for _ in 0..10_000 {
        if raw.try_send_octets(b"x").await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nobody loses patience");
}

#[tokio::test]
async fn silence_and_octets_one_by_one_end_a_connection() {
    let running = start_impatient().await;
    for said in ["", "\0\0", "\0\x0f\u{7f}\u{7f}L", "\0\0\0\rO"] {
        let mut raw = running.raw("unix").await;
        raw.send_octets(said.as_bytes()).await;
        assert!(raw.is_hung_up_on().await, "{said:?}");
    }
    for stage in 0..4 {
        for dripping in [false, true] {
            let mut session = at_stage(&running, stage).await;
            if dripping {
                session.raw.send_octets(b"\0\x0f\xff\xffB").await;
                drip(&mut session.raw).await;
            }
            assert!(session.raw.is_hung_up_on().await, "{stage}");
        }
    }
    assert!(running.stop().await.verdicts.is_empty());
}

/// A session that has come so far.
async fn at_stage(running: &Running, stage: u8) -> Session {
    let mut session = running.session(Mta::Postfix).await;
    if stage >= 1 {
        session.begin(&good()).await;
    }
    if stage >= 2 {
        session.header("From", b" a@good.example").await;
    }
    if stage >= 3 {
        session.end_of_header().await;
        session.body(b"half a body").await;
    }
    session
}

/// The answers pile up where nobody reads them, until writing takes too long.
#[tokio::test]
async fn who_never_reads_is_hung_up_on() {
    let running = start_impatient().await;
    let mut raw = running.raw("unix").await.offering(6, 0x1ff, 0);
    raw.negotiate().await;
    raw.send('C', b"mx\x004\0\x19192.0.2.9\0").await;
    let mut said = 0;
    while raw.try_send_octets(b"\0\0\0\x04Hmx\0").await.is_ok() {
        said += 1;
        assert!(said < 1_000_000, "nobody loses patience");
    }
    assert!(running.stop().await.verdicts.is_empty());
}
