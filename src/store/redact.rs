//! A verdict without local parts, for operators who keep none (`store.local_parts`).
//!
//! Owns which fields can hold a local part and what is left of them: the domain. The Message-ID
//! stays whole: it names a message, not a person, and later parts find messages by it. Pure.

use crate::address::ReversePath;
use crate::verdict::Verdict;

/// The verdict with every local part of sender, recipients and signers taken out, also where our own
/// Authentication-Results or a sender's SPF explanation repeats one.
pub(super) fn without_local_parts(verdict: Verdict) -> Verdict {
    let mut kept = verdict;
    let mut local_parts: Vec<String> = Vec::new();
    let mut forget = |local_part: &str| {
        if !local_part.is_empty() {
            local_parts.push(local_part.to_owned());
        }
    };
    match &mut kept.envelope.mail_from {
        ReversePath::Null => {}
        ReversePath::Mailbox(mailbox) => forget(&std::mem::take(&mut mailbox.local_part)),
        ReversePath::Unparseable(text) => {
            let at = text.rfind('@').unwrap_or(text.len());
            let rest = text.split_off(at);
            forget(&std::mem::replace(text, rest));
        }
    }
    for signature in &mut kept.evidence.dkim.signatures {
        if let Some(identity) = &mut signature.identity
            && let Some(at) = identity.rfind('@')
        {
            let rest = identity.split_off(at);
            forget(&std::mem::replace(identity, rest));
        }
    }
    kept.envelope.recipient_addresses.clear();
    let spf = &mut kept.evidence.spf;
    let told = [&mut spf.mail_from, &mut spf.helo]
        .into_iter()
        .flat_map(|o| [&mut o.grounds.problem, &mut o.grounds.explanation]);
    for text in told.flatten() {
        for local_part in &local_parts {
            *text = replace_word(text, local_part, "*");
        }
    }
    let results = &mut kept.authentication_results;
    for local_part in &local_parts {
        for written in [local_part.clone(), quoted(local_part)] {
            *results = replace_word(results, &format!("{written}@"), "@");
        }
    }
    kept
}

/// As it stands inside a quoted string (RFC 5322 §3.2.4).
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Replaces `word` where it begins at a boundary and, unless it ends in one itself, ends at one.
fn replace_word(text: &str, word: &str, with: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(word) {
        replaced.push_str(before);
        let begins = !replaced.ends_with(is_of_a_word);
        let ends = !word.ends_with(is_of_a_word) || !after.starts_with(is_of_a_word);
        replaced.push_str(if begins && ends { with } else { word });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_words_only() {
        for (text, word, expected) in [
            (
                "smtp.mailfrom=al@a.example",
                "al@",
                "smtp.mailfrom=@a.example",
            ),
            (
                "smtp.mailfrom=pal@a.example",
                "al@",
                "smtp.mailfrom=pal@a.example",
            ),
            (
                "al@a.example, al@b.example",
                "al@",
                "@a.example, @b.example",
            ),
            (
                "\"\\\"a b\\\"@a.example\"",
                "\\\"a b\\\"@",
                "\"@a.example\"",
            ),
        ] {
            assert_eq!(replace_word(text, word, "@"), expected);
        }
        assert_eq!(
            replace_word("mail of al, almost al", "al", "*"),
            "mail of *, almost *"
        );
    }
}
