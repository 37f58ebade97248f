//! Through somebody else's eyes: indymilter-test plays the MTA.

use crate::running::{settings, start};
use indymilter_test::{MacroStage, ProtoOpts, Status, TestConnection, any};

#[tokio::test]
async fn a_client_of_other_making_gets_what_it_expects() {
    let running = start(settings()).await;
    let mut connection = TestConnection::configure()
        .open_unix(&running.path)
        .await
        .unwrap();
    let agreed = connection.negotiated_opts();
    assert!(agreed.contains(ProtoOpts::LEADING_SPACE | ProtoOpts::NOREPLY_HEADER));
    assert_eq!(connection.requested_macros().len(), 7);
    connection
        .macros(MacroStage::Connect, [("{daemon_name}", "smtp")])
        .await
        .unwrap();
    let client: std::net::SocketAddr = "192.0.2.9:25".parse().unwrap();
    assert_eq!(
        connection.connect("mx.good.example", client).await.unwrap(),
        Status::Noreply
    );
    connection.helo("mx.good.example").await.unwrap();
    for (number, body) in [&b""[..], b"Hello\r\n", &[b'x'; 200_000]]
        .into_iter()
        .enumerate()
    {
        connection
            .macros(MacroStage::Mail, [("i", format!("Q{number}"))])
            .await
            .unwrap();
        connection.mail(["<a@good.example>"]).await.unwrap();
        connection.rcpt(["<b@receiver.example>"]).await.unwrap();
        connection.data().await.unwrap();
        connection.header("From", "a@good.example").await.unwrap();
        connection
            .header("Authentication-Results", "mx.test; dmarc=fail")
            .await
            .unwrap();
        connection.eoh().await.unwrap();
        connection.body(body.to_vec()).await.unwrap();
        let (actions, status) = connection.eom().await.unwrap();
        assert_eq!(status, Status::Continue);
        assert!(actions.has_delete_header("Authentication-Results", 1));
        assert!(actions.has_insert_header(0, "Authentication-Results", any()));
        connection.abort().await.unwrap();
    }
    connection.close().await.unwrap();
    let stopped = running.stop().await;
    assert_eq!(
        stopped.summary(),
        ["Q0", "Q1", "Q2"].map(|id| format!("{id} pass accept accepted"))
    );
    let envelope = &stopped.verdicts[0].verdict.envelope;
    assert_eq!(envelope.daemon_name.as_deref(), Some("smtp"));
}
