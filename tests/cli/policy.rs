//! `alignd policy`: the walks of RFC 9989's examples, and what a person reads.

use super::golden::golden;
use super::manual::documented;
use super::ran::Place;
use serde::Deserialize;
use std::collections::BTreeMap;

const SUITE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../shared/spec/suites/dmarc/rfc9989-examples.yml"
);

#[derive(Deserialize)]
struct Suite {
    tree_walk: Vec<Walk>,
}

#[derive(Deserialize)]
struct Walk {
    id: String,
    domain: String,
    dns: BTreeMap<String, Vec<String>>,
    queries: Vec<String>,
    org: String,
}

#[test]
fn the_walks_of_the_rfc_through_a_zone_file() {
    let suite: Suite = serde_yaml_ng::from_str(&std::fs::read_to_string(SUITE).unwrap()).unwrap();
    let place = Place::new();
    let mut agree = 0;
    for walk in &suite.tree_walk {
        place.write(&format!("{}.zone", walk.id), &zone(&walk.dns));
        let zone = format!("{{}}/{}.zone", walk.id);
        let ran = place.run(&["policy", &walk.domain, "--zone", &zone, "--json"]);
        let json = &ran.json()[0];
        let steps = json["discovery"].as_array().unwrap();
        let names: Vec<&str> = steps.iter().map(|s| s["name"].as_str().unwrap()).collect();
        let code = if json["policy"].is_null() { 1 } else { 0 };
        if names == walk.queries
            && json["organizational_domain"] == walk.org.as_str()
            && ran.code == code
        {
            agree += 1;
        } else {
            println!("{}: {names:?}, {json}", walk.id);
        }
    }
    println!(
        "rfc9989 walks by alignd policy: {agree} of {} agree",
        suite.tree_walk.len()
    );
    assert_eq!((agree, suite.tree_walk.len()), (14, 14));
}

/// TXT records as a master file; a name without any exists all the same.
pub fn zone(dns: &BTreeMap<String, Vec<String>>) -> String {
    let mut text = String::from("$TTL 300\n");
    for (name, records) in dns {
        if records.is_empty() {
            text.push_str(&format!("{name}. HINFO \"exists\" \"only\"\n"));
        }
        for record in records {
            text.push_str(&format!("{name}. TXT {}\n", quoted(record)));
        }
    }
    text
}

/// Character-strings of at most 255 octets.
pub fn quoted(record: &str) -> String {
    let escaped: Vec<String> = record
        .as_bytes()
        .chunks(200)
        .map(|piece| {
            let piece = String::from_utf8(piece.to_vec()).unwrap();
            format!("\"{}\"", piece.replace('\\', "\\\\").replace('"', "\\\""))
        })
        .collect();
    escaped.join(" ")
}

const ZONE: &str = "\
$ORIGIN example.
$TTL 300
_dmarc.shop TXT \"v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; \" \"rua=mailto:d@shop.example,mailto:x@agg.test; pct=50\"
sub.shop A 192.0.2.1
_dmarc.slip TXT \"v=DMARC1; p=reject; sp=bogus; adkim=x; rua=mailto:d@slip.example\"
_dmarc.two TXT \"v=DMARC1; p=reject\"
_dmarc.two TXT \"v=DMARC1; p=none\"
_dmarc.trial TXT \"v=DMARC1; p=quarantine; t=y; rua=mailto:d@trial.example\"
_dmarc.evil TXT \"v=DMARC1; p=none; rua=mailto:\\027[31mx@evil.example\"
;servfail _dmarc.dead
";

#[test]
fn pages_that_teach() {
    let place = Place::new();
    place.write("zone", ZONE);
    for (domain, code, file) in [
        ("ghost.shop.example", 0, "policy-np.txt"),
        ("slip.example", 0, "policy-mistakes.txt"),
        ("two.example", 1, "policy-none.txt"),
        ("trial.example", 0, "policy-trial.txt"),
        ("dead.example", 3, "policy-dns-failure.txt"),
    ] {
        let ran = place.run(&["policy", domain, "--zone", "{}/zone"]);
        assert_eq!(ran.code, code, "{domain}");
        golden(file, &ran.out);
    }
}

#[test]
fn a_record_cannot_speak_to_the_terminal() {
    let place = Place::new();
    place.write("zone", ZONE);
    let ran = place.run(&["policy", "evil.example", "--zone", "{}/zone"]);
    assert!(!ran.out.contains('\x1b'), "{}", ran.out);
    assert!(ran.out.contains("\\u{1b}[31m"), "{}", ran.out);
}

#[test]
fn one_json_object_with_documented_keys() {
    let place = Place::new();
    place.write("zone", ZONE);
    let ran = place.run(&[
        "policy",
        "ghost.shop.example",
        "--zone",
        "{}/zone",
        "--json",
    ]);
    let json = &ran.json()[0];
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "adkim",
            "advice",
            "applied",
            "aspf",
            "destinations",
            "discovery",
            "discovery_method",
            "domain",
            "error",
            "exists",
            "fo",
            "organizational_domain",
            "policy",
            "policy_domain",
            "psd",
            "record",
            "rua",
            "ruf",
            "tag",
            "testing",
        ]
    );
    for (key, expected) in [
        ("policy_domain", "shop.example"),
        ("policy", "none"),
        ("tag", "np"),
        ("adkim", "s"),
        ("discovery_method", "treewalk"),
    ] {
        assert_eq!(json[key], expected, "{key}");
    }
    assert_eq!(json["exists"], false);
    documented(json);
    let failed = place.run(&["policy", "dead.example", "--zone", "{}/zone", "--json"]);
    assert_eq!(
        (failed.code, &failed.json()[0]["error"]),
        (3, &"DNS server failure".into())
    );
}

#[test]
fn the_public_suffix_list_when_the_settings_say_so() {
    let place = Place::new();
    place.write("zone", "_dmarc.shop.example. TXT \"v=DMARC1; p=reject\"\n");
    let settings = std::fs::read_to_string(place.path("alignd.toml")).unwrap();
    place.write(
        "alignd.toml",
        &format!("{settings}[policy]\ndiscovery = \"psl\"\n"),
    );
    let arguments = ["policy", "a.b.shop.example", "--zone", "{}/zone"];
    let json = place.run(&[&arguments[..], &["--json"]].concat()).json();
    let steps = json[0]["discovery"].as_array().unwrap();
    let names: Vec<&str> = steps.iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["_dmarc.a.b.shop.example", "_dmarc.shop.example"]);
    assert_eq!(
        (&json[0]["discovery_method"], &json[0]["policy"]),
        (&"psl".into(), &"reject".into())
    );
    let page = place.run(&arguments).out;
    assert!(
        page.contains("Public Suffix List (RFC 7489 §6.6.3)"),
        "{page}"
    );
}

#[test]
fn a_zone_file_that_is_wrong_is_told_with_its_line() {
    let place = Place::new();
    let zone = place.write("zone", "example. TXT ok\n$INCLUDE other\n");
    let ran = place.run(&["policy", "example", "--zone", "{}/zone"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.starts_with(&format!("alignd: {zone}: line 2: ")),
        "{}",
        ran.err
    );
}
