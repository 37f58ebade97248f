//! Authentication results as DMARC is handed them, from a line of words.

use alignd::auth::dkim::{DkimEvidence, DkimGrounds, SignatureOutcome};
use alignd::auth::spf::{SpfGrounds, SpfOutcome};
use alignd::auth::{DkimResult, SpfResult};

/// What SPF and DKIM said of one message.
pub struct Results {
    pub spf: Option<SpfOutcome>,
    pub dkim: DkimEvidence,
}

/// Reads `spf=pass:a.example dkim=pass:b.example dkim=partial:c.example`; `partial` is a pass with
/// unsigned octets, which may not align.
pub fn results(words: &str) -> Results {
    let mut results = Results {
        spf: None,
        dkim: DkimEvidence::default(),
    };
    for word in words.split_whitespace() {
        let (mechanism, rest) = word.split_once('=').unwrap();
        let (result, domain) = rest.split_once(':').unwrap();
        match mechanism {
            "spf" => results.spf = Some(spf(result, domain)),
            "dkim" => results.dkim.signatures.push(dkim(result, domain)),
            other => panic!("{other}"),
        }
    }
    results
}

fn spf(result: &str, domain: &str) -> SpfOutcome {
    SpfOutcome {
        domain: domain.to_owned(),
        result: SpfResult::parse(result).unwrap(),
        grounds: SpfGrounds::default(),
    }
}

fn dkim(result: &str, domain: &str) -> SignatureOutcome {
    let partial = result == "partial";
    let result = DkimResult::parse(if partial { "pass" } else { result }).unwrap();
    SignatureOutcome {
        domain: domain.to_owned(),
        selector: "s".to_owned(),
        identity: None,
        algorithm: "rsa-sha256".to_owned(),
        b_prefix: String::new(),
        result,
        grounds: DkimGrounds {
            may_align: result == DkimResult::Pass && !partial,
            ..DkimGrounds::default()
        },
    }
}
