//! One question to SPF with all that the answer depends on.

use crate::zone_data::ZoneData;
use alignd::address::ReversePath;
use alignd::auth::spf::{SpfOutcome, SpfRequest, check_mail_from};
use alignd::dns::Resolver;
use alignd::time::Timestamp;
use std::net::IpAddr;

#[derive(Debug, Clone)]
pub struct Case {
    pub id: String,
    pub helo: String,
    pub client: IpAddr,
    /// Empty for a null path.
    pub mail_from: String,
    pub zone: ZoneData,
}

/// What an implementation says of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub result: String,
    /// The domain owner's; `None` without one.
    pub explanation: Option<String>,
}

/// What a peer says, and its own words for why.
#[derive(Debug, Clone)]
pub struct PeerAnswer {
    pub answer: Answer,
    pub problem: String,
}

/// The name of the receiving host, `%{r}`.
pub const RECEIVER: &str = "mx.receiver.test";

impl Case {
    pub async fn ours(&self) -> SpfOutcome {
        self.asked_of(&self.zone.zone()).await
    }

    pub async fn asked_of(&self, resolver: &impl Resolver) -> SpfOutcome {
        let request = SpfRequest {
            client: self.client,
            helo: Some(&self.helo),
            mail_from: &ReversePath::parse(&self.mail_from),
            receiver: RECEIVER,
            now: Timestamp::from_seconds(1_795_000_000),
        };
        check_mail_from(&request, resolver).await
    }

    /// The case with longer prefixes in place of those of length 0.
    pub fn without_zero_prefixes(mut self) -> Self {
        for strings in self.zone.texts_mut() {
            for string in strings {
                *string = String::from_utf8_lossy(string)
                    .replace("/0", "/20")
                    .into_bytes();
            }
        }
        self
    }

    pub fn sender_domain(&self) -> Option<&str> {
        self.mail_from.rsplit_once('@').map(|(_, domain)| domain)
    }

    /// What viaspf takes as the sender: postmaster at HELO for a null path.
    pub fn sender(&self) -> String {
        match self.mail_from.as_str() {
            "" => format!("postmaster@{}", self.helo),
            sender => sender.to_owned(),
        }
    }
}

impl From<&SpfOutcome> for Answer {
    fn from(outcome: &SpfOutcome) -> Self {
        Self {
            result: outcome.result.to_string(),
            explanation: outcome.grounds.explanation.clone(),
        }
    }
}

impl PeerAnswer {
    pub fn new(result: &str, explanation: Option<String>, problem: &str) -> Self {
        Self {
            answer: Answer {
                result: result.to_owned(),
                explanation,
            },
            problem: problem.to_owned(),
        }
    }
}
