//! A digest is signed as reports are, and our own verifier finds it so.

use crate::{House, dkim};
use alignd::auth::dkim::DkimSettings;
use alignd::domain::DomainName;
use alignd::schedule::DigestTurn::Sent;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::process::Command;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_it_is_signed() {
    let mut house = House::new(None);
    let file = house.home.path().join("key.pem");
    let made = Command::new("openssl")
        .args(["genrsa", "-out"])
        .arg(&file)
        .arg("2048")
        .output()
        .expect("openssl can be run");
    assert!(made.status.success());
    let mut settings = (**house.settings.borrow()).clone();
    if let Some(digest) = &mut settings.digest {
        digest.signed_by = Some(DomainName::parse("receiver.example").unwrap());
        digest.delivery.dkim_key_file = Some(file);
        digest.delivery.dkim_selector = Some("s1".to_owned());
    }
    house.settings.send_replace(Arc::new(settings));
    house.hold("a.example", "2026-03-01T12:00").await;
    assert_eq!(house.digest("2026-03-02T07:00").await, Sent);
    let mail = house.server.received().pop().unwrap().content;
    let record = format!("v=DKIM1; k=rsa; p={}", public_key(&house));
    let zone = dkim::zone([("s1._domainkey.receiver.example", record.as_str())]);
    let check = |mail: &[u8]| {
        // The signer reads the system's clock, whatever we do.
        let now = i64::MAX / 2_000_000;
        dkim::lines(&dkim::judge(
            mail,
            &zone,
            &DkimSettings::default(),
            now,
            1_000,
        ))
    };
    assert_eq!(check(&mail), ["pass"]);
    let changed = String::from_utf8(mail)
        .unwrap()
        .replace("a.example", "b.example");
    assert_ne!(check(changed.as_bytes()), ["pass"]);
}

fn public_key(house: &House) -> String {
    let made = Command::new("openssl")
        .args(["pkey", "-pubout", "-outform", "DER", "-in"])
        .arg(house.home.path().join("key.pem"))
        .output()
        .expect("openssl can be run");
    STANDARD.encode(made.stdout)
}
