//! mail-auth's DKIM verifier over a fixed set of key records, as a peer for tests and benchmarks.
//!
//! Use from a test, beside `support/dkim.rs`: `#[path = "support/mail_auth_dkim.rs"] mod mail_auth_dkim;`.
//! mail-auth asks its cache first, so a cache that knows every name keeps it from the network.

use crate::dkim::ready;
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::proto::op::ResponseCode;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::{
    AuthenticatedMessage, DkimResult, DnsError, Error, MessageAuthenticator, Parameters,
    ResolverCache, Txt,
};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

pub struct MailAuth {
    authenticator: MessageAuthenticator,
    keys: Keys,
}

/// Parsed key records; every other name does not exist.
struct Keys(HashMap<Box<str>, Txt>);

impl MailAuth {
    pub fn new<'a>(records: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut keys = HashMap::new();
        for (name, record) in records {
            let key = match DomainKey::parse(record.as_bytes()) {
                Ok(key) => Txt::DomainKey(Arc::new(key)),
                Err(error) => Txt::Error(error),
            };
            keys.insert(format!("{name}.").into(), key);
        }
        let resolver =
            MessageAuthenticator::new(ResolverConfig::default(), ResolverOpts::default());
        Self {
            authenticator: resolver.expect("a resolver without servers"),
            keys: Keys(keys),
        }
    }

    /// The results of the signatures that mail-auth has a result for.
    pub fn judge(&self, message: &[u8]) -> Vec<DkimResult> {
        let Some(message) = AuthenticatedMessage::parse(message) else {
            return Vec::new();
        };
        let parameters = Parameters::new(&message).with_txt_cache(&self.keys);
        let outputs = ready(self.authenticator.verify_dkim(parameters));
        outputs.iter().map(|o| o.result().clone()).collect()
    }
}

impl ResolverCache<Box<str>, Txt> for Keys {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let missing = || Txt::Error(Error::Dns(DnsError::RecordNotFound(ResponseCode::NXDomain)));
        Some(self.0.get(name).cloned().unwrap_or_else(missing))
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}
