//! `QueueId`: the name that an MTA gives to a mail in its queue, and nothing else.
//!
//! Owns the three shapes that there are. What is none of them never becomes a value, so that no command and
//! no path is ever made of anything else: not `ALL`, not `-d`, not `../x`. Pure.

use std::fmt;
use std::str::FromStr;

/// The id of a queued mail, in one of the shapes that Postfix and Sendmail give.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(String);

/// A text is no queue id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoQueueId;

impl QueueId {
    /// Takes `text` if it has the shape of a queue id, exactly.
    pub fn parse(text: &str) -> Option<Self> {
        let shaped = is_postfix_short(text) || is_postfix_long(text) || is_sendmail(text);
        shaped.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether Postfix can have given it.
    pub fn is_postfix(&self) -> bool {
        is_postfix_short(&self.0) || is_postfix_long(&self.0)
    }

    /// Whether Sendmail can have given it.
    pub fn is_sendmail(&self) -> bool {
        is_sendmail(&self.0)
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for QueueId {
    type Err = NoQueueId;

    fn from_str(text: &str) -> Result<Self, NoQueueId> {
        Self::parse(text).ok_or(NoQueueId)
    }
}

impl fmt::Display for NoQueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a queue id: Postfix's are such as 4jXW5m5GBtz1StgL or 3F2A91C0D5, Sendmail's such as 6AMEJUlD010546",
        )
    }
}

impl std::error::Error for NoQueueId {}

/// Microseconds in five digits and the inode, both hexadecimal.
fn is_postfix_short(text: &str) -> bool {
    let hexadecimal = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    matches!(text.len(), 6..=21) && text.bytes().all(hexadecimal)
}

/// `enable_long_queue_ids`: seconds in six digits or more and microseconds in four, both of base 52
/// (letters without vowels), the last `z`, and the inode of base 51 (without `z`).
fn is_postfix_long(text: &str) -> bool {
    let base_52 = |b: u8| b.is_ascii_alphanumeric() && !b"AEIOUaeiou".contains(&b);
    text.rsplit_once('z').is_some_and(|(time, inode)| {
        matches!(time.len(), 10..=15)
            && matches!(inode.len(), 1..=12)
            && time.bytes().all(base_52)
            && inode.bytes().all(base_52)
    })
}

/// Eight digits of base 60 for the time (`0-9A-Za-x`) and the process in six; with a `pid_max` above a
/// million, seven.
fn is_sendmail(text: &str) -> bool {
    let base_60 = |b: u8| b.is_ascii_alphanumeric() && !matches!(b, b'y' | b'z');
    text.split_at_checked(8).is_some_and(|(time, process)| {
        time.bytes().all(base_60)
            && matches!(process.len(), 6 | 7)
            && process.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq)]
    enum Shape {
        Postfix,
        Sendmail,
        Both,
        Neither,
    }
    use Shape::*;

    fn check(text: &str, expected: Shape) {
        let found = match QueueId::parse(text) {
            None => Neither,
            Some(id) => {
                assert_eq!(id.as_str(), text);
                match (id.is_postfix(), id.is_sendmail()) {
                    (true, true) => Both,
                    (true, false) => Postfix,
                    (false, true) => Sendmail,
                    (false, false) => Neither,
                }
            }
        };
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn three_shapes_and_nothing_else() {
        for id in [
            "4jXW5m5GBtz1StgL",
            "4jXW5m5KZfz1StH0",
            "4jXW5mzzzzz1StH0",
            "3F2A91C0D5",
            "A1B2C312",
        ] {
            check(id, Postfix);
        }
        for id in ["6AMEP377010546", "6AMEJUlD010546", "6AMEJUlD1234567"] {
            check(id, Sendmail);
        }
        // Every id of Sendmail's that is all digits could be one of Postfix's.
        check("12345678012345", Both);
        for text in [
            "",
            "ALL",
            "-",
            "-d",
            "-r ALL",
            "NOQUEUE",
            "FACE",
            "../x",
            "..",
            ".",
            "hold/4jXW5m5GBtz1StgL",
            ";rm -rf",
            "4jXW5m5GBtz1StgL;id",
            "4jXW5m5GBtz1StgL\n",
            " 4jXW5m5GBtz1StgL",
            "4jXW5m5GBtz1StgL ",
            "4jXW5m5GBtz",
            "4jXW5mAGBtz1StgL",
            "4jXW5mz1StgL",
            "3f2a91c0d5",
            "3F2A91C0D5\0",
            "3F2A91C0D5G",
            "4jXW5m5GBtz1St*L",
            "6AMEP37701054",
            "6AMEP37701054x",
            "6AMEPy77010546",
            "6AMEP377-10546",
            "6AMEP37701054612",
            "6AMEP377０10546",
            "$(id)45678901",
            "`id`",
            "hf6AMEP377010546",
            "4jXW5m5GBtz1StgL4jXW5m5GBtz1StgL",
            "0123456789ABCDEF012345",
            "ééééééééééz12",
        ] {
            check(text, Neither);
        }
    }

    proptest! {
        #[test]
        fn an_id_is_letters_and_digits(text in "\\PC{0,24}|[ -~]{0,24}|[0-9A-Fxz/.-]{5,22}") {
            if let Some(id) = QueueId::parse(&text) {
                prop_assert!(id.as_str().bytes().all(|b| b.is_ascii_alphanumeric()));
                prop_assert!(id.is_postfix() || id.is_sendmail());
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
