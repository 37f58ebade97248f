//! What a value in the settings file means: durations, sizes, networks, words, lists.
//!
//! Owns their notation and what is said when one is wrong: what was expected, what was found, and
//! where it can be guessed, what to write instead. Pure.

use crate::time::Timestamp;
use ipnet::IpNet;
use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// One value, with its place.
#[derive(Clone, Copy)]
pub struct Value<'a>(&'a Spanned<DeValue<'a>>);

/// Why a value cannot be taken, with the place to point at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub span: Range<usize>,
    pub message: String,
}

impl<'a> Value<'a> {
    pub fn new(value: &'a Spanned<DeValue<'a>>) -> Self {
        Self(value)
    }

    /// The fault of this value: `expected` as a noun phrase, and what stands there instead.
    pub fn unlike(self, expected: impl std::fmt::Display) -> Fault {
        self.fault(format!("expected {expected}, found {}", self.shown()))
    }

    /// A fault at this value in words of the caller's.
    pub fn fault(self, message: String) -> Fault {
        Fault {
            span: self.0.span(),
            message,
        }
    }

    pub fn text(self) -> Result<&'a str, Fault> {
        self.0
            .get_ref()
            .as_str()
            .ok_or_else(|| self.unlike("a text in quotes"))
    }

    pub fn boolean(self) -> Result<bool, Fault> {
        self.0
            .get_ref()
            .as_bool()
            .ok_or_else(|| self.unlike("true or false"))
    }

    pub fn integer(self, range: RangeInclusive<u64>) -> Result<u64, Fault> {
        self.whole_number()
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let (low, high) = (range.start(), range.end());
                self.unlike(format!("a whole number from {low} to {high}"))
            })
    }

    /// `"300ms"`, `"5s"`, `"2m"`, `"2h"`, `"90d"`, or several in a row: `"1h30m"`.
    pub fn duration(self, range: RangeInclusive<Duration>) -> Result<Duration, Fault> {
        let read = self.0.get_ref().as_str().and_then(duration);
        let Some(duration) = read else {
            let hint = match self.whole_number() {
                Some(number) => format!("; write \"{number}s\" for seconds"),
                None => String::new(),
            };
            let expected = "a duration such as \"5s\", \"2h\" or \"90d\"";
            let message = format!("expected {expected}, found {}{hint}", self.shown());
            return Err(self.fault(message));
        };
        if range.contains(&duration) {
            return Ok(duration);
        }
        let (low, high) = (write_duration(*range.start()), write_duration(*range.end()));
        Err(self.unlike(format!("a duration from \"{low}\" to \"{high}\"")))
    }

    /// A number of octets: `10000000`, `"50M"` (powers of 1,024: K, M, G).
    pub fn size(self) -> Result<u64, Fault> {
        let written = self.0.get_ref().as_str().and_then(size);
        written
            .or_else(|| self.whole_number())
            .ok_or_else(|| self.unlike("a number of octets such as 10485760 or \"10M\""))
    }

    /// An address or a network in CIDR notation.
    pub fn network(self) -> Result<IpNet, Fault> {
        let expected = "a network such as \"192.0.2.0/24\", \"2001:db8::/32\" or \"192.0.2.1\"";
        let text = self.text().map_err(|_| self.unlike(expected))?;
        network(text).map_err(|why| {
            let why = why.map_or(String::new(), |why| format!("; {why}"));
            self.fault(format!("expected {expected}, found {}{why}", self.shown()))
        })
    }

    /// A moment in UTC, in quotes or as TOML has it: `2027-03-01` (its beginning), `2027-03-01T12:00:00Z`.
    pub fn moment(self) -> Result<Timestamp, Fault> {
        let text = match self.0.get_ref() {
            DeValue::Datetime(moment) => Some(moment.to_string()),
            other => other.as_str().map(str::to_owned),
        };
        let read = text.as_deref().and_then(Timestamp::parse_rfc3339);
        read.ok_or_else(|| {
            self.unlike("a day such as \"2027-03-01\" or a moment in UTC, \"2027-03-01T12:00:00Z\"")
        })
    }

    /// A list, or a single element without brackets.
    pub fn one_or_more<T>(
        self,
        read: impl Fn(Value<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        match self.0.get_ref().as_array() {
            Some(_) => self.list(read),
            None => read(self).map(|one| vec![one]),
        }
    }

    /// One of these words, exactly so.
    pub fn one_of<T: Copy>(self, all: &[T], word: fn(T) -> &'static str) -> Result<T, Fault> {
        let found = self.0.get_ref().as_str();
        let meant = all.iter().find(|meant| Some(word(**meant)) == found);
        meant
            .copied()
            .ok_or_else(|| self.unlike(either(all.iter().map(|meant| word(*meant)))))
    }

    /// A list, each element read by `read`.
    pub fn list<T>(self, read: impl Fn(Value<'_>) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
        let Some(array) = self.0.get_ref().as_array() else {
            let hint = match self.0.get_ref().as_str() {
                Some(text) => format!("; write [\"{}\"]", text.escape_default()),
                None => String::new(),
            };
            let message = format!("expected a list in brackets, found {}{hint}", self.shown());
            return Err(self.fault(message));
        };
        array.iter().map(|element| read(Value(element))).collect()
    }

    /// Whether the value is this very text.
    pub fn is_text(self, text: &str) -> bool {
        self.0.get_ref().as_str() == Some(text)
    }

    fn whole_number(self) -> Option<u64> {
        let integer = self.0.get_ref().as_integer()?;
        u64::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    /// The value as it can stand in a message: short, on one line.
    fn shown(self) -> String {
        match self.0.get_ref() {
            DeValue::String(text) => {
                let text: String = text.chars().take(60).collect();
                format!("\"{}\"", text.escape_debug())
            }
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }
}

/// Reads `5s`, `1h30m`, `300ms`; no sign, no fraction, no bare number but `0`.
pub fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let part = match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3_600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            _ => return None,
        };
        total = total.checked_add(part)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// The duration in the notation it is read in, the fewest units: `90d`, `1m30s`.
pub fn write_duration(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    let mut written = String::new();
    let mut seconds = duration.as_secs();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        let count = seconds / length;
        seconds %= length;
        if count > 0 {
            written.push_str(&format!("{count}{unit}"));
        }
    }
    match duration.subsec_millis() {
        0 => written,
        millis => format!("{written}{millis}ms"),
    }
}

fn size(text: &str) -> Option<u64> {
    let units = [
        (['K', 'k'], 1_u64 << 10),
        (['M', 'm'], 1 << 20),
        (['G', 'g'], 1 << 30),
    ];
    let with_unit = units
        .iter()
        .find_map(|(letters, factor)| Some((text.strip_suffix(*letters)?, *factor)));
    let (number, factor) = with_unit.unwrap_or((text, 1));
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = digits.then(|| number.parse().ok())??;
    number.checked_mul(factor)
}

/// An address stands for itself alone. A network with bits set behind its mask is refused, since one
/// of its two halves is a slip; the error says what to write.
pub fn network(text: &str) -> Result<IpNet, Option<String>> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let Ok(network) = text.parse::<IpNet>() else {
        let hint = text.split_once('/').and_then(|(address, prefix)| {
            let address: IpAddr = address.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let prefix: u32 = prefix.parse().ok()?;
            (prefix > most).then(|| format!("the prefix goes up to {most}"))
        });
        return Err(hint);
    };
    if network.trunc() == network {
        return Ok(network);
    }
    let (whole, single) = (network.trunc(), network.addr());
    Err(Some(format!(
        "write \"{whole}\" for the whole network, \"{single}\" for the one address"
    )))
}

/// `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
fn either<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let quoted: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, expected) in [
            ("5s", Some("5s")),
            ("90d", Some("90d")),
            ("90s", Some("1m30s")),
            ("1h30m", Some("1h30m")),
            ("1500ms", Some("1s500ms")),
            ("0", Some("0s")),
            ("", None),
            ("5", None),
            ("s", None),
            ("5 s", None),
            ("-5s", None),
            ("5w", None),
            ("99999999999999999999s", None),
            ("999999999999999999d", None),
        ] {
            let read = duration(text).map(write_duration);
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn sizes_are_octets_in_powers_of_1024() {
        for (text, expected) in [
            ("10M", Some(10_485_760)),
            ("1k", Some(1_024)),
            ("7", Some(7)),
            ("M", None),
            ("-1", None),
            ("1.5G", None),
            ("20000000000000000G", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn networks_with_host_bits_are_slips() {
        for (text, expected) in [
            ("192.0.2.0/24", Ok("192.0.2.0/24")),
            ("192.0.2.7", Ok("192.0.2.7/32")),
            ("2001:db8::/32", Ok("2001:db8::/32")),
            ("::1", Ok("::1/128")),
            (
                "192.0.2.7/24",
                Err(Some(
                    "write \"192.0.2.0/24\" for the whole network, \"192.0.2.7\" for the one address",
                )),
            ),
            ("192.0.2.0/33", Err(Some("the prefix goes up to 32"))),
            ("localhost", Err(None)),
        ] {
            let read = network(text).map(|n| n.to_string());
            let expected = expected
                .map(str::to_owned)
                .map_err(|why| why.map(str::to_owned));
            assert_eq!(read, expected, "{text}");
        }
    }
}
