//! What is fuzzed: each function takes any octets, feeds one part of alignd with them and holds it to
//! its promises. Used by the fuzz targets here and, with random input on a stable compiler, by
//! `tests/fuzz.rs`.

mod session;

pub use session::milter_session;

use alignd::address::ReversePath;
use alignd::auth::arc::ArcSettings;
use alignd::auth::dkim::{DkimSettings, KeyCache, Signatures};
use alignd::auth::dmarc::{self, DiscoveryMethod};
use alignd::auth::inquiry::{Conclusion, EnvelopeQuestion, HeaderQuestion, HeaderSettings};
use alignd::auth::spf::{self, SpfRequest};
use alignd::dns::zone::{Zone, ZoneRecord};
use alignd::dns::{QueryName, TxtRecord, master};
use alignd::domain::DomainName;
use alignd::message::HeaderField;
use alignd::message::authentication_results::{Field, claim};
use alignd::message::author::{Author, author};
use alignd::message::dsn::{self, Notice};
use alignd::message::identifiers;
use alignd::message::mime;
use alignd::message::parse::Message;
use alignd::message::received::client_behind;
use alignd::time::Timestamp;
use futures_util::FutureExt;

/// A message is split into fields and body: nothing lost but line ends, no field with a fold's CRLF.
/// What identifies it fits into its bounds, whatever it is called.
pub fn header(data: &[u8]) {
    let message = Message::parse(data);
    for field in &message.fields {
        assert!(!field.name.is_empty());
        assert!(field.name.len() + field.value.len() <= 2 * data.len() + 2);
    }
    let value = data.split(|octet| *octet == b'\n').next_back();
    let named = |name| [HeaderField::new(name, value.unwrap_or_default())];
    let id = identifiers::message_id(&named("Message-ID")).unwrap_or_default();
    let list = identifiers::list_id(&named("List-Id")).unwrap_or_default();
    assert!(id.chars().count() <= 998 && list.len() <= 3 * 255);
    assert!(!id.contains(char::is_control) && !list.contains(char::is_control));
    identifiers::nature(&message.fields, true);
    let client = client_behind(&named("Received"), |address| address.is_loopback());
    assert!(client.is_none_or(|client| !client.address.is_loopback()));
}

/// From has one author, or the reason why not; every domain it yields is a domain.
pub fn from(data: &[u8]) {
    match author(&[HeaderField::new("From", data)]) {
        Author::One(domain) => well_formed(&domain),
        Author::Several(domains) => {
            assert!((2..=10).contains(&domains.len()));
            domains.iter().for_each(well_formed);
        }
        Author::Unparseable(words) => assert!(!words.is_empty()),
        Author::Missing => panic!("a From field is there"),
    }
}

/// What can be read can be written and read back; what is written is one field.
pub fn authentication_results(data: &[u8]) {
    let ids = ["mx.example"];
    let claims = claim::claims_to_be(data, &ids);
    if let Ok(field) = Field::parse(data) {
        let same_id = field.authserv_id.eq_ignore_ascii_case(ids[0]);
        assert!(claims || !same_id, "a field of ours goes unseen");
        let normal = field.normal_form();
        let text = normal.write();
        assert_one_field(&text);
        assert_eq!(
            Field::parse(&HeaderField::from_milter("A-R", &text).value),
            Ok(normal)
        );
    }
}

/// Every signature gets a result with a reason.
pub fn dkim_signature(data: &[u8]) {
    let fields = [
        HeaderField::new("DKIM-Signature", data),
        HeaderField::new("From", " a@s.example"),
    ];
    let settings = DkimSettings::default();
    let signatures = Signatures::read(&fields, None, &settings, NOW);
    let mut body = signatures.body_hasher();
    body.update(b"body\r\n");
    let (zone, cache) = (zone(data), KeyCache::new(4));
    let keys = signatures.look_up_keys(&zone, &cache);
    let keys = keys.now_or_never().expect("a zone never waits");
    let evidence = signatures.conclude(keys, body.finish());
    assert_eq!(evidence.signatures.len(), 1);
    let outcome = &evidence.signatures[0];
    assert!(outcome.result == alignd::auth::DkimResult::Pass || !outcome.grounds.reason.is_empty());
}

/// A key record is read, or it is not.
pub fn dkim_key(data: &[u8]) {
    drop(KeyCache::new(4).read(&TxtRecord(data.into())));
}

/// A record found in DNS is evaluated within the limits.
pub fn spf_record(data: &[u8]) {
    check_spf(data, "v=spf1 -all");
}

/// Macros from MAIL FROM and from the record expand to something bounded.
pub fn spf_macros(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (local, rest) = text.split_once('\n').unwrap_or((&text, ""));
    check_spf(
        format!("v=spf1 exists:{rest} exp=e.example -all").as_bytes(),
        local,
    );
}

/// A DMARC record is read leniently, and what was wrong is said.
pub fn dmarc_record(data: &[u8]) {
    if let Some(record) = dmarc::record::parse(data) {
        assert!(record.text.len() <= 3 * 4096);
        let again = dmarc::record::parse(record.text.as_bytes());
        assert!(again.is_some() || data.len() > 4096);
    }
}

/// A master file is read, or its first fault is named with its line.
pub fn zone_file(data: &[u8]) {
    if let Err(error) = master::parse(&String::from_utf8_lossy(data)) {
        assert!(error.line >= 1 && !error.problem.is_empty());
    }
}

/// A message is split into parts: not more than it has room for, nothing in them that is not in it.
pub fn mime(data: &[u8]) {
    let message = Message::parse(data);
    let parts = mime::parts(&message);
    assert!(parts.len() <= 50);
    let octets: usize = parts.iter().map(|part| part.body.len()).sum();
    assert!(octets <= message.body.len(), "{octets} octets");
    for part in parts {
        let media = part.content_type.media;
        assert!(media.contains('/') && !media.contains(|c: char| c.is_ascii_uppercase()));
    }
}

/// What a bounce says of its mail is one printable line.
pub fn dsn(data: &[u8]) {
    // As a whole message, and as the status of one that is a notification for certain.
    let status = [STATUS, data].concat();
    for message in [data, &status] {
        match dsn::read(&Message::parse(message)) {
            Notice::Permanent(said) | Notice::GivenUp(said) | Notice::Temporary(said) => {
                assert!(said.chars().count() <= 300);
                assert!(!said.contains(char::is_control), "{said:?}");
            }
            Notice::Delivered | Notice::NotADsn => {}
        }
    }
}

const STATUS: &[u8] =
    b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n";

/// A whole message is evaluated to a conclusion, however it is split.
pub fn whole_message(data: &[u8]) {
    let message = Message::parse(data);
    let at_once = conclude(&message, usize::MAX);
    let in_pieces = conclude(&message, 1 + data.len() % 7);
    assert_eq!(at_once, in_pieces);
}

fn conclude(message: &Message<'_>, piece: usize) -> Conclusion {
    let zone = zone(b"v=spf1 a mx ?all");
    let envelope = EnvelopeQuestion {
        client: Some([192, 0, 2, 1].into()),
        helo: Some("s.example".to_owned()),
        mail_from: ReversePath::parse("<a@s.example>"),
        receiver: "mx.example".to_owned(),
        now: NOW,
    };
    let settings = DkimSettings::default();
    let method = DiscoveryMethod::TreeWalk;
    let header = HeaderQuestion::read(
        &message.fields,
        envelope.spf_domain(),
        HeaderSettings {
            dkim: &settings,
            arc: &ArcSettings {
                enabled: true,
                ..ArcSettings::default()
            },
            discovery: method,
        },
        NOW,
    );
    let mut body = header.body_hasher(None);
    for chunk in message.body.chunks(piece.min(message.body.len().max(1))) {
        body.update(chunk);
    }
    let cache = KeyCache::new(4);
    let envelope = envelope
        .ask(&zone)
        .now_or_never()
        .expect("a zone never waits");
    let answers = header
        .ask(&zone, &cache)
        .now_or_never()
        .expect("a zone never waits");
    header.conclude(envelope, answers, body.finish())
}

fn check_spf(record: &[u8], mail_from: &str) {
    let path = ReversePath::parse(&format!("<{mail_from}@s.example>"));
    let request = SpfRequest {
        client: [192, 0, 2, 1].into(),
        helo: Some("s.example"),
        mail_from: &path,
        receiver: "mx.example",
        now: NOW,
    };
    let zone = zone(record);
    let outcome = spf::check_mail_from(&request, &zone)
        .now_or_never()
        .expect("a zone never waits");
    assert!(outcome.grounds.lookups <= 11 && outcome.grounds.void_lookups <= 3);
}

/// Every name the targets ask for, `record` among it wherever a record is expected.
fn zone(record: &[u8]) -> Zone {
    let mut zone = Zone::new();
    let name = |text: &str| QueryName::parse(text).expect("a constant");
    let txt = |data: &[u8]| ZoneRecord::Txt(TxtRecord(data.into()));
    zone.add(&name("s.example"), txt(record));
    zone.add(&name("e.example"), txt(record));
    zone.add(&name("s._domainkey.s.example"), txt(record));
    zone.add(&name("_dmarc.s.example"), txt(b"v=DMARC1; p=reject"));
    zone.add(&name("s.example"), ZoneRecord::A([192, 0, 2, 1].into()));
    zone.add(
        &name("1.2.0.192.in-addr.arpa"),
        ZoneRecord::Ptr(name("s.example")),
    );
    zone
}

fn well_formed(domain: &DomainName) {
    assert_eq!(DomainName::parse(domain.as_str()).as_ref(), Ok(domain));
}

fn assert_one_field(text: &str) {
    let mut lines = text.split('\n').skip(1);
    assert!(lines.all(|line| line.starts_with(['\t', ' '])), "{text:?}");
    assert!(!text.contains(['\r', '\0']), "{text:?}");
}

const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);
