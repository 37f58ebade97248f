//! The OpenSPF suite once more, as a whole system: a real DNS server, the wire, and the live resolver.

use crate::dns::{Fault, FaultyDns};
use crate::nsd::Nsd;
use crate::openspf::{SuiteCase, cases};
use crate::zone_data::{Entry, ZoneData};
use alignd::resolver::{DnsSettings, LiveResolver};
use std::net::SocketAddr;
use std::time::Duration;

/// Cases whose zone no DNS server can serve.
const NOT_SERVED: &[(&str, &str)] = &[(
    "null-text",
    "a TXT record without any string: RFC 1035 §3.3.14 has \"One or more <character-string>s\", and nsd holds to it",
)];

#[test]
fn every_case_agrees_over_a_real_server() {
    let cases: Vec<SuiteCase> = cases();
    let mut served = 0;
    let mut wrong = Vec::new();
    for part in cases.chunk_by(|one, next| one.case.zone == next.case.zone) {
        let (nsd, dns) = serve(&part[0].case.zone);
        for case in part {
            if NOT_SERVED.iter().any(|(id, _)| *id == case.case.id) {
                continue;
            }
            served += 1;
            if let Some(found) = judge(case, dns.address().into()) {
                wrong.push(format!("{}: {found}", case.case.id));
            }
        }
        drop((dns, nsd));
    }
    println!(
        "openspf over nsd: {} of {served} agree",
        served - wrong.len()
    );
    assert_eq!(served + NOT_SERVED.len(), cases.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Our verdict where it is none that the suite accepts.
fn judge(case: &SuiteCase, server: SocketAddr) -> Option<String> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let settings = DnsSettings {
            servers: vec![server],
            timeout: Duration::from_secs(1),
            ..DnsSettings::default()
        };
        let resolver = LiveResolver::new(&settings).expect("a server is named");
        case.difference(&resolver).await.map(|(_, found)| found)
    })
}

/// nsd with the zone, and before it a relay that stays silent for names that time out.
fn serve(zone: &ZoneData) -> (Nsd, FaultyDns) {
    let mut records = String::new();
    let mut dead = Vec::new();
    for (name, entries) in &zone.0 {
        // Names that nobody can ask for.
        let Some(owner) = written(name) else {
            continue;
        };
        for entry in entries {
            if *entry == Entry::Timeout {
                dead.push(name.clone());
            }
            if let Some(line) = line(entry) {
                records += &format!("{owner} {line}\n");
            }
        }
    }
    let nsd = Nsd::start(&records);
    let dns = FaultyDns::before(nsd.address(), None, move |name| {
        let silent = dead.iter().any(|dead| dead == name);
        silent.then_some(Fault::Silent).or(Fault::named_in(name))
    });
    (nsd, dns)
}

/// A record as a master file has it; none for what cannot be written.
fn line(entry: &Entry) -> Option<String> {
    Some(match entry {
        Entry::A(address) => format!("A {address}"),
        Entry::Aaaa(address) => format!("AAAA {address}"),
        Entry::Mx(preference, name) => format!("MX {preference} {}", written(name)?),
        Entry::Ptr(name) => format!("PTR {}", written(name)?),
        Entry::Cname(name) => format!("CNAME {}", written(name)?),
        Entry::Txt(strings) if strings.is_empty() => return None,
        Entry::Txt(strings) => {
            let strings = strings.iter().map(|string| {
                let octets = string.iter().map(|octet| format!("\\{octet:03}"));
                format!("\"{}\"", octets.collect::<String>())
            });
            format!("TXT {}", strings.collect::<Vec<_>>().join(" "))
        }
        Entry::Timeout => return None,
    })
}

/// A name with everything escaped that means something in a master file.
fn written(name: &str) -> Option<String> {
    let labels = name.trim_end_matches('.').split('.');
    let label = |label: &str| {
        let octets = label.bytes().map(|octet| match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(octet).to_string(),
            octet => format!("\\{octet:03}"),
        });
        (1..=63)
            .contains(&label.len())
            .then(|| octets.collect::<String>())
    };
    if name.trim_end_matches('.').is_empty() {
        return Some(".".to_owned());
    }
    let labels: Option<Vec<String>> = labels.map(label).collect();
    Some(labels?.join(".") + ".")
}
