//! Received mail that is about our own: bounces of reports, from the MTA's pipe or from the milter.
//!
//! Owns how a bounce is read off a pipe, where its recipient may be named, and the loop that takes what
//! the milter saw. What follows from a bounce is `send_report`'s.

use crate::domain::DomainName;
use crate::message::parse::Message;
use crate::send_report::{BOUNCE_OCTETS, Bounce, Taken, take_bounce};
use crate::site_key::SiteKey;
use crate::store::{Reports, ReportsError};
use crate::time::Clock;
use std::io::{self, Read};
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::{info, warn};

/// Takes bounces, whoever they come from.
#[derive(Clone)]
pub struct Inbox {
    pub reports: Reports,
    /// `identity.report_domain`
    pub report_domain: DomainName,
    pub key: SiteKey,
    pub clock: Arc<dyn Clock>,
}

/// Reads a message to its end; keeps its first 64 KiB, which hold all that a bounce says. `named`: what the
/// MTA calls its recipient, if it does.
pub fn read_bounce(
    mut input: impl Read,
    named: impl Iterator<Item = String>,
) -> io::Result<Bounce> {
    let mut message = Vec::new();
    input
        .by_ref()
        .take(BOUNCE_OCTETS as u64)
        .read_to_end(&mut message)?;
    // An MTA whose pipe breaks takes that for a failure.
    io::copy(&mut input, &mut io::sink())?;
    let mut recipients: Vec<String> = named.collect();
    let fields = Message::parse(&message).fields;
    // As local(8) and pipe(8) prepend it; in To, since that is where a bounce goes.
    for name in ["X-Original-To", "Delivered-To", "To"] {
        let named = fields.iter().filter(|field| field.is(name)).take(5);
        recipients.extend(named.map(|f| String::from_utf8_lossy(&f.value).trim().to_owned()));
    }
    Ok(Bounce {
        recipients,
        message,
    })
}

impl Inbox {
    /// Takes one. Blocks. Err: the store can't be written now, and it can be taken again.
    pub fn take(&self, bounce: &Bounce) -> Result<Taken, ReportsError> {
        let now = self.clock.now();
        let taken = take_bounce(bounce, &self.reports, &self.report_domain, &self.key, now)?;
        tell(&taken);
        Ok(taken)
    }

    /// Takes what the milter saw, until it is gone.
    pub async fn take_all(self, mut bounces: mpsc::Receiver<Bounce>) {
        while let Some(bounce) = bounces.recv().await {
            let inbox = self.clone();
            match tokio::task::spawn_blocking(move || inbox.take(&bounce)).await {
                Ok(Ok(_)) => {}
                // It was only overheard: the alias that it goes to takes it again.
                Ok(Err(problem)) => warn!(%problem, "a bounce of a report is not noted"),
                Err(problem) => warn!(%problem, "a bounce of a report is not noted"),
            }
        }
    }
}

/// One line, and one count; the domain alone, never an address.
fn tell(taken: &Taken) {
    let (result, domain) = match taken {
        Taken::NotOurs => ("not_ours", ""),
        Taken::NotABounce => ("no_bounce", ""),
        Taken::NoFailure => ("no_failure", ""),
        Taken::KnownAlready => ("known", ""),
        Taken::GivenUp { domain } => ("given_up", domain.as_str()),
        Taken::Failed { domain, .. } => ("failed", domain.as_str()),
    };
    metrics::counter!("alignd_bounces_total", "result" => result).increment(1);
    info!(result, domain, "bounce of a report");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_read_to_its_end_and_kept_in_part() {
        let head = "To: <bounce+1-0@a.example>\nDelivered-To: b\nTo: c\n\n";
        let message = head.to_owned() + &"x".repeat(1 << 20);
        let mut input = message.as_bytes();
        let bounce = read_bounce(&mut input, std::iter::once("named".to_owned())).unwrap();
        assert!(input.is_empty());
        assert_eq!(bounce.message.len(), BOUNCE_OCTETS);
        assert_eq!(
            bounce.recipients,
            ["named", "b", "<bounce+1-0@a.example>", "c"]
        );
    }
}
