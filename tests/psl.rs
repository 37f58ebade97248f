//! Organizational Domains by the Public Suffix List, against the list's own test data.

use alignd::auth::dmarc::{DiscoveryMethod, discover};
use alignd::dns::zone::Zone;
use alignd::domain::DomainName;

const SUITE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../shared/spec/suites/psl/test_psl.txt"
);

/// `checkPublicSuffix(domain, registrable)`; null for a domain without one, which is our own
/// Organizational Domain then, or for a text that is no domain.
#[tokio::test]
async fn the_lists_own_tests() {
    let text = std::fs::read_to_string(SUITE).unwrap();
    let calls = text.lines().filter_map(|line| {
        let arguments = line
            .strip_prefix("checkPublicSuffix(")?
            .strip_suffix(");")?;
        let (domain, expected) = arguments.split_once(", ")?;
        Some((argument(domain), argument(expected)))
    });
    let (mut agree, mut all) = (0, 0);
    for (input, expected) in calls {
        all += 1;
        let parsed = input.and_then(|text| DomainName::parse(text).ok());
        let found = match &parsed {
            Some(domain) => {
                let method = DiscoveryMethod::Psl;
                Some(
                    discover::organizational_domain(domain, method, &Zone::new())
                        .await
                        .unwrap(),
                )
            }
            None => None,
        };
        let expected = expected.map(|text| DomainName::parse(text).unwrap());
        if found == expected.or(parsed) {
            agree += 1;
        } else {
            println!("{input:?}: {found:?}");
        }
    }
    println!("public suffix list: {agree} of {all} agree");
    assert_eq!(agree, all);
    assert!(all >= 78, "{all} lines read");
}

fn argument(text: &str) -> Option<&str> {
    text.strip_prefix('\'')?.strip_suffix('\'')
}
