//! The peers over the suite and over generated cases: where one disagrees, a sentence must decide.

use crate::case::{Answer, Case, PeerAnswer};
use crate::disagreements::{Compared, Disagreement, PYSPF, VIASPF};
use crate::generated::{self, Style};
use crate::mail_auth_disagreements::MAIL_AUTH;
use crate::mail_auth_peer::MailAuth;
use crate::{corners, openspf, pyspf_peer, viaspf_peer};
use alignd::auth::spf::SpfOutcome;
use std::collections::BTreeMap;

#[tokio::test]
async fn viaspf_differs_only_where_a_sentence_decides() {
    let mut tally = Tally::default();
    for case in cases(3_000) {
        let case = match case.id.starts_with("generated") {
            // It would hide much else: the first kind of the table.
            true => case.without_zero_prefixes(),
            false => case,
        };
        let theirs = viaspf_peer::answer(&case).await;
        tally.add(case.ours().await, theirs, case, VIASPF);
    }
    tally.finish("viaspf", VIASPF);
}

#[tokio::test]
async fn pyspf_differs_only_where_a_sentence_decides() {
    let mut tally = Tally::default();
    let cases: Vec<Case> = cases(800).collect();
    let answers = pyspf_peer::answers(&cases);
    for (case, theirs) in cases.into_iter().zip(answers) {
        tally.add(case.ours().await, theirs, case, PYSPF);
    }
    tally.finish("pyspf", PYSPF);
}

#[tokio::test]
async fn mail_auth_differs_only_where_a_sentence_decides() {
    let peer = MailAuth::start().await;
    let mut tally = Tally::default();
    let suite = openspf::cases()
        .into_iter()
        .map(|suite_case| suite_case.case);
    for case in suite.chain(generated::cases(Style::Plain, 500)) {
        let theirs = peer.answer(&case).await;
        tally.add(case.ours().await, theirs, case, MAIL_AUTH);
    }
    tally.finish("mail-auth", MAIL_AUTH);
}

/// The suite's cases, the corners, and `generated` others.
fn cases(generated: usize) -> impl Iterator<Item = Case> {
    let suite = openspf::cases()
        .into_iter()
        .map(|suite_case| suite_case.case);
    suite
        .chain(corners::cases())
        .chain(generated::cases(Style::Wild, generated))
}

/// What came of comparing with one peer.
#[derive(Default)]
struct Tally {
    compared: usize,
    agreeing: usize,
    known: BTreeMap<&'static str, usize>,
    unknown: Vec<String>,
}

impl Tally {
    fn add(&mut self, ours: SpfOutcome, theirs: PeerAnswer, case: Case, table: &[Disagreement]) {
        self.compared += 1;
        if Answer::from(&ours) == theirs.answer {
            self.agreeing += 1;
            return;
        }
        let compared = Compared { case, ours, theirs };
        match table.iter().find(|known| (known.applies)(&compared)) {
            Some(known) => *self.known.entry(known.what).or_default() += 1,
            None => self.unknown.push(compared.to_string()),
        }
    }

    /// Prints the count and each kind of disagreement; fails on unknown ones, and on kinds in the
    /// table that no longer occur.
    fn finish(self, peer: &str, table: &[Disagreement]) {
        println!("{peer}: {} of {} agree", self.agreeing, self.compared);
        for known in table {
            let times = self.known.get(known.what);
            println!(
                "  {} {}: {}",
                times.unwrap_or(&0),
                known.what,
                known.sentence
            );
        }
        let unseen = table
            .iter()
            .filter(|known| !self.known.contains_key(known.what));
        let unseen: Vec<&str> = unseen.map(|known| known.what).collect();
        assert!(
            self.unknown.is_empty(),
            "unexplained:\n{}",
            self.unknown.join("\n")
        );
        assert!(
            unseen.is_empty(),
            "the table has what does not occur: {unseen:?}"
        );
    }
}
