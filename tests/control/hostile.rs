//! Peers that mean harm get a sentence or nothing, and everybody else is served.

use crate::Served;
use alignd::control::MAX_REQUEST;
use tokio::io::AsyncWriteExt;

const PING: &str = r#"{"v":1,"request":"ping"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn octets_that_are_no_request_do_no_harm() {
    let served = Served::start(&[]).await;
    for (octets, kind) in [
        (vec![b'x'; MAX_REQUEST * 4], Some("usage")),
        (vec![b'\n'; 10], Some("usage")),
        (vec![0xff; 100], None),
        (b"{\"v\":1,\"request\":\"ping\"}".to_vec(), None),
        (
            vec![b'['; 60_000].into_iter().chain(*b"\n").collect(),
            Some("usage"),
        ),
        (
            b"{\"v\":1,\"request\":\"outcome\",\"verdict\":{\"a\":[]}}\n".to_vec(),
            Some("usage"),
        ),
    ] {
        let mut peer = served.connect().await;
        // It may be refused before it has said everything.
        _ = peer.0.get_mut().write_all(&octets).await;
        _ = peer.0.get_mut().shutdown().await;
        let answer = peer.hear().await;
        let found = answer.as_ref().and_then(|a| a["kind"].as_str());
        assert_eq!(found, kind, "{} octets", octets.len());
        assert_eq!(served.ask(PING).await["ok"], true);
    }
    served.stop().await;
}

/// As many as may be are open and say nothing, others go away before their answer.
#[tokio::test(flavor = "multi_thread")]
async fn silent_and_vanishing_peers_keep_nobody_out_for_long() {
    let served = Served::start(&[]).await;
    let mut silent = Vec::new();
    for _ in 0..63 {
        silent.push(served.connect().await);
    }
    for _ in 0..100 {
        let mut peer = served.connect().await;
        _ = peer.0.get_mut().write_all(PING.as_bytes()).await;
    }
    assert_eq!(served.ask(PING).await["ok"], true);
    drop(silent);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_leaves_no_silent_peer_waiting_and_no_socket_behind() {
    let served = Served::start(&[]).await;
    let mut silent = served.connect().await;
    let socket = served.socket();
    let home = served.stop().await;
    assert!(silent.hear().await.is_none());
    assert!(!socket.exists());
    drop(home);
}
