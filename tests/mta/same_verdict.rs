//! `alignd check` on a file and the same mail through the MTA: the same verdict.

use crate::house::{House, Kind, for_both};
use crate::smtp::Client;
use crate::world::{EVIL, FORWARDER, RSA, SENDER};
use std::fs;

for_both![a_file_and_the_same_mail_through_the_mta,];

const TAGS: &str =
    "v=1; a=rsa-sha256; c=simple/simple; d=sender.example; s=rsa; h=from:subject; bh={bh}; b={b}";

#[track_caller]
fn check(house: &House, client: &Client, sender: &str, message: &[u8]) {
    let (_, stored) = house.deliver(client, &format!("<{sender}>"), message);
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("mail.eml");
    fs::write(&file, message).expect("our own directory");
    let printed = house.alignd.run(&[
        "check",
        file.to_str().expect("a plain name"),
        "--ip",
        &client.address.to_string(),
        "--helo",
        client.helo,
        "--mail-from",
        sender,
        "--rcpt",
        "reader@receiver.example",
        "--json",
    ]);
    let checked: serde_json::Value = serde_json::from_str(&printed).expect("one object");
    for key in [
        "author_domain",
        "spf",
        "dkim",
        "iprev",
        "dmarc",
        "action",
        "authentication_results",
    ] {
        assert!(checked.get(key).is_some(), "no {key} in {printed}");
        assert_eq!(checked[key], stored[key], "{key}");
    }
}

fn a_file_and_the_same_mail_through_the_mta(mta: Kind) {
    let house = House::plain(mta);
    let mail = b"From:  <a@sender.example>\r\nSubject: a \r\n\tb\r\n\r\nbody \r\n\r\n";
    let signed = RSA.sign(mail, TAGS);
    let changed = [&signed[..], b"footer\r\n"].concat();
    check(&house, &SENDER, "a@sender.example", &signed);
    check(&house, &FORWARDER, "a@sender.example", &signed);
    check(&house, &EVIL, "x@evil.example", &changed);
    check(&house, &EVIL, "x@evil.example", mail);
    check(
        &house,
        &EVIL,
        "",
        b"From: a@nowhere.example, b@sender.example\r\n\r\nx\r\n",
    );
    check(
        &house,
        &SENDER,
        "a@sender.example",
        b"Subject: no author\r\n\r\nx\r\n",
    );
    check(
        &house,
        &SENDER,
        "a@servfail.example",
        b"From: a@servfail.example\r\n\r\nx\r\n",
    );
}
