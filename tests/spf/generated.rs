//! Random cases that come close to real ones: records made from the grammar, some of them broken, in
//! a small world of names where most terms find something.

use crate::case::Case;
use crate::zone_data::{Entry, ZoneData};
use alignd::dns::QueryName;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::net::IpAddr;

/// What records are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Everything, right and nearly right.
    Wild,
    /// What every implementation should get right: IPv4, no macros, no `ptr`, nothing broken.
    Plain,
}

/// The same `count` cases every time.
pub fn cases(style: Style, count: usize) -> Vec<Case> {
    let mut runner = runner();
    let strategy = case(style);
    (0..count)
        .map(|number| {
            let tree = strategy
                .new_tree(&mut runner)
                .expect("the strategy rejects nothing");
            let mut case = tree.current();
            case.id = format!("generated {number}");
            case
        })
        .collect()
}

/// The same `count` records every time, most of them broken somewhere.
pub fn broken_records(count: usize) -> Vec<String> {
    let mut runner = runner();
    let strategy = record(Style::Wild)
        .prop_flat_map(broken)
        .prop_flat_map(broken);
    let record = |_| {
        strategy
            .new_tree(&mut runner)
            .expect("the strategy rejects nothing")
            .current()
    };
    (0..count).map(record).collect()
}

fn runner() -> TestRunner {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    TestRunner::new_with_rng(Config::default(), rng)
}

pub fn case(style: Style) -> impl Strategy<Value = Case> {
    let names = vec(name_entries(style), NAMES.len());
    let clients = match style {
        Style::Wild => CLIENTS,
        Style::Plain => PLAIN_CLIENTS,
    };
    let reverse = vec(select(NAMES), 0..13);
    (
        select(clients),
        select(SENDERS),
        select(HELOS),
        names,
        reverse,
    )
        .prop_map(|(client, mail_from, helo, names, reverse)| {
            let client: IpAddr = client.parse().expect("a client has an address");
            let mut zone = ZoneData::default();
            for (name, entries) in NAMES.iter().zip(names) {
                for entry in entries {
                    zone.add(name, entry);
                }
            }
            let reverse_name = QueryName::reverse(client.to_canonical());
            for name in reverse {
                zone.add(reverse_name.as_str(), Entry::Ptr(name.to_owned()));
            }
            Case {
                id: String::new(),
                helo: helo.to_owned(),
                client,
                mail_from: mail_from.to_owned(),
                zone,
            }
        })
}

/// A record as one might publish it, right or nearly right.
pub fn record(style: Style) -> impl Strategy<Value = String> {
    let whole = || whole_record(style);
    match style {
        Style::Wild => prop_oneof![6 => whole(), 1 => whole().prop_flat_map(broken)].boxed(),
        Style::Plain => whole().boxed(),
    }
}

fn whole_record(style: Style) -> impl Strategy<Value = String> {
    let terms = vec(term(style), 0..7);
    let end = select(&["", " -all", " ~all", " ?all", " all "][..]);
    (terms, end).prop_map(|(terms, end)| format!("v=spf1 {}{end}", terms.join(" ")))
}

fn broken(record: String) -> impl Strategy<Value = String> {
    let at = any::<prop::sample::Index>();
    let with = select(PIECES);
    (at, with, any::<bool>()).prop_map(move |(at, with, replaces)| {
        let mut chars: Vec<char> = record.chars().collect();
        let at = at.index(chars.len());
        chars.splice(at..at + usize::from(replaces), with.chars());
        chars.into_iter().collect()
    })
}

fn term(style: Style) -> impl Strategy<Value = String> {
    match style {
        Style::Wild => wild_term().boxed(),
        Style::Plain => plain_term().boxed(),
    }
}

fn plain_term() -> impl Strategy<Value = String> {
    let mechanism = prop_oneof![
        (select(PLAIN_CLIENTS), select(&["", "/24", "/30"][..]))
            .prop_map(|(address, length)| format!("ip4:{address}{length}")),
        (
            select(&["a", "mx"][..]),
            select(NAMES),
            select(&["", "/24"][..])
        )
            .prop_map(|(name, domain, length)| format!("{name}:{domain}{length}")),
        select(&["a", "mx"][..]).prop_map(str::to_owned),
        select(NAMES).prop_map(|name| format!("include:{name}")),
        select(NAMES).prop_map(|name| format!("exists:{name}")),
    ];
    let directive = (qualifier(), mechanism).prop_map(|(sign, rest)| sign.to_owned() + &rest);
    let redirect = select(NAMES).prop_map(|name| format!("redirect={name}"));
    prop_oneof![12 => directive, 1 => redirect]
}

fn qualifier() -> impl Strategy<Value = &'static str> {
    select(&["", "", "", "+", "-", "~", "?"][..])
}

fn wild_term() -> impl Strategy<Value = String> {
    let mechanism = prop_oneof![
        2 => (address(), select(&["", "", "/0", "/24", "/30", "/31", "/032", "/33"][..]))
            .prop_map(|(address, length)| network(&address, length)),
        3 => (select(&["a", "mx", "A", "Mx"][..]), domain(), lengths())
            .prop_map(|(name, domain, lengths)| format!("{name}{domain}{lengths}")),
        1 => domain().prop_map(|domain| format!("ptr{domain}")),
        2 => target().prop_map(|target| format!("include:{target}")),
        2 => target().prop_map(|target| format!("exists:{target}")),
    ];
    let directive =
        (qualifier(), mechanism).prop_map(|(sign, mechanism)| sign.to_owned() + &mechanism);
    let modifier = prop_oneof![
        2 => target().prop_map(|target| format!("redirect={target}")),
        2 => Just("exp=why.test".to_owned()),
        1 => target().prop_map(|target| format!("exp={target}")),
        1 => Just("x.y-z=%{d}/1".to_owned()),
    ];
    prop_oneof![6 => directive, 1 => modifier]
}

fn network(address: &str, length: &str) -> String {
    let version = if address.contains(':') { "ip6" } else { "ip4" };
    format!("{version}:{address}{length}")
}

fn domain() -> impl Strategy<Value = String> {
    prop_oneof![1 => Just(String::new()), 1 => target().prop_map(|target| format!(":{target}"))]
}

fn lengths() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "", "", "", "/24", "//64", "/31//127", "/0", "//0", "/33", "/24/64",
        ][..],
    )
}

fn target() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => select(NAMES), 1 => select(MACROS)]
}

fn address() -> impl Strategy<Value = String> {
    select(ADDRESSES).prop_map(str::to_owned)
}

fn name_entries(style: Style) -> impl Strategy<Value = Vec<Entry>> {
    let text = |text: String| Entry::Txt(vec![text.into_bytes()]);
    let policy = prop_oneof![
        12 => record(style).prop_map(move |record| vec![text(record)]),
        1 => vec(record(style).prop_map(text), 2),
        1 => Just(vec![]),
        2 => select(EXPLANATIONS).prop_map(move |words| vec![text(words.to_owned())]),
    ];
    let addresses = match style {
        Style::Wild => ADDRESSES,
        Style::Plain => PLAIN_CLIENTS,
    };
    let hosts = vec(select(addresses).prop_map(host), 0..4);
    let exchanges = vec((0..20_u16, select(NAMES)), 0..4).prop_map(|mut exchanges| {
        // In the order in which they are asked: not every peer sorts them.
        exchanges.sort_unstable();
        let entry = |(preference, name): (u16, &str)| Entry::Mx(preference, name.to_owned());
        exchanges.into_iter().map(entry).collect::<Vec<_>>()
    });
    let plain = (policy, hosts, exchanges)
        .prop_map(|(policy, hosts, exchanges)| [policy, hosts, exchanges].concat());
    prop_oneof![
        30 => plain,
        1 => Just(vec![Entry::Timeout]),
        1 => select(NAMES).prop_map(|name| vec![Entry::Cname(name.to_owned())]),
        2 => Just(vec![]),
    ]
}

fn host(address: &str) -> Entry {
    match address.parse().expect("a host has an address") {
        IpAddr::V4(v4) => Entry::A(v4),
        IpAddr::V6(v6) => Entry::Aaaa(v6),
    }
}

const NAMES: &[&str] = &[
    "a.test",
    "b.test",
    "c.b.test",
    "mail.a.test",
    "_spf.a.test",
    "why.test",
    "d.test",
    "user.d.test",
    "in-addr.d.test",
    "nothing.test",
    "x.y.z.test",
];

const MACROS: &[&str] = &[
    "%{d}",
    "%{o}",
    "%{h}",
    "%{d2}",
    "%{d1}",
    "%{ir}.%{v}.%{d2}",
    "%{l}.d.test",
    "%{v}.d.test",
    "%{l1r-}.d.test",
    "%{s}.d.test",
    "%{p}",
    "%{p}.a.test",
    "%{pr}.test",
    "%{L}.D.test",
    "%%.test",
    "%_.test",
    "c.%{o2}",
    "%{dr}",
    "%{H}",
    "%{i}.a.test",
    "%{c}.a.test",
    "a..test",
    "test",
];

const EXPLANATIONS: &[&str] = &[
    "%{i} may not use %{d}",
    "See http://why.test/?s=%{S}&r=%{R}",
    "%{c} %{p} %{h}.",
    "100%",
    "stra\u{df}e",
    "%{l-} at %{dr}",
];

const CLIENTS: &[&str] = &[
    "192.0.2.1",
    "192.0.2.9",
    "198.51.100.7",
    "2001:db8::1",
    "2001:db8:0:1::9",
    "::ffff:192.0.2.1",
];

const PLAIN_CLIENTS: &[&str] = &["192.0.2.1", "192.0.2.9", "198.51.100.7"];

const ADDRESSES: &[&str] = &[
    "192.0.2.1",
    "192.0.2.0",
    "192.0.2.8",
    "198.51.100.7",
    "203.0.113.1",
    "2001:db8::1",
    "2001:db8::",
    "2001:db8:0:1::8",
    "::ffff:192.0.2.1",
];

const SENDERS: &[&str] = &[
    "user@a.test",
    "strong-bad@c.b.test",
    "x.y+z@mail.a.test",
    "",
];

const HELOS: &[&str] = &["mail.a.test", "b.test", "nothing.test", "localhost"];

const PIECES: &[&str] = &[
    "", "", " ", ".", ":", "/", "//", "%", "%%", "=", "-", "+", "0", "1", "33", "{", "}", "r}",
    "x", "A", "\t", "\u{e9}", "all", "ip6:::", "exp=",
];
