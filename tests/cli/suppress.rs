//! `alignd suppress` and `alignd inbox bounce`, from the command line.

use super::ran::Place;
use alignd::store::{Reports, StoreSettings};
use alignd::time::Timestamp;

/// A place whose settings have a store with reports and a domain for them.
fn place() -> Place {
    let place = Place::new();
    let store = place.path("store");
    let settings = StoreSettings {
        path: store.clone(),
        ..StoreSettings::default()
    };
    Reports::open(&settings, Timestamp::from_seconds(0)).expect("opens");
    let key = place.path("site.key");
    let settings = format!(
        "store.path = {store:?}\nidentity.report_domain = \"reports.example\"\nidentity.site_key = {key:?}\n"
    );
    place.write("alignd.toml", &settings);
    place
}

#[test]
fn a_suppression_is_added_listed_and_removed() {
    let place = place();
    assert_eq!(place.run(&["suppress", "list"]).code, 0);
    for who in ["Dmarc@Dead.example", "gone.example"] {
        let arguments = [
            "suppress",
            "add",
            who,
            "--for",
            "30d",
            "--reason",
            "they asked",
        ];
        assert_eq!(place.run(&arguments).code, 0, "{who}");
    }
    let listed = place.run(&["suppress", "list", "--format", "json"]).json();
    let who: Vec<_> = listed
        .iter()
        .map(|s| s["who"].as_str().expect("text"))
        .collect();
    assert_eq!(who, ["dmarc@dead.example", "gone.example"]);
    assert!(
        listed
            .iter()
            .all(|s| s["reason"] == "they asked" && s["until"].is_string())
    );
    assert_eq!(
        place
            .run(&["suppress", "remove", "dmarc@dead.example"])
            .code,
        0
    );
    assert_eq!(
        place
            .run(&["suppress", "remove", "dmarc@dead.example"])
            .code,
        1
    );
    for wrong in ["not an address", "a@", "\u{fc}@x.example\""] {
        assert_eq!(place.run(&["suppress", "add", wrong]).code, 2, "{wrong}");
    }
}

#[test]
fn a_bounce_is_never_lost_for_our_trouble() {
    let place = place();
    // No key yet: the daemon makes it at its first start.
    let ran = place.run_with(&["inbox", "bounce"], "Subject: x\n\ny\n");
    assert_eq!(ran.code, 75, "{}", ran.err);
    assert!(ran.err.contains("identity.site_key"), "{}", ran.err);
    let key = alignd::site_key::SiteKey::text(&[1; 32]);
    let file = place.write("site.key", &key);
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("our own file");
    let forged = "bounce+1-00000000000000000000000000000000@reports.example";
    let ran = place.run_with(
        &["inbox", "bounce", "--recipient", forged],
        "Content-Type: message/delivery-status\n\nAction: failed\nStatus: 5.1.1\n",
    );
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    assert_eq!(place.run(&["suppress", "list", "--format", "json"]).out, "");
}
