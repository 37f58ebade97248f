//! The mail that is sent: 200 domains, their DNS, and messages as they come in, signed or not.
//!
//! The same at every run but for the keys and the dates. Sizes are log-normal, median 10 KiB, cut off
//! at 1 MiB.

use crate::dkim_signer::SigningKey;
use alignd::message::parse::Message as Parsed;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

pub const DOMAINS: usize = 200;

/// Everything that is sent, and the zone that it is judged by.
pub struct Corpus {
    pub messages: Vec<Message>,
    /// Lines of a master file.
    pub zone: String,
}

pub struct Message {
    pub mail_from: String,
    /// Names and values as milters get them: folds are LF, the leading space is there.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
}

struct Domain {
    name: String,
    rsa: SigningKey,
    ed25519: SigningKey,
}

/// How a message is signed.
#[derive(Clone, Copy)]
enum Signed {
    Rsa,
    Ed25519,
    /// By its author with both keys.
    Twice,
    /// By its author and by a list.
    ByTwo,
    Not,
    /// Changed on its way.
    Broken,
}

/// Of twenty messages.
const MIX: [Signed; 20] = {
    use Signed::*;
    [
        Rsa, Twice, Rsa, Not, Rsa, Ed25519, Rsa, Broken, Rsa, ByTwo, Rsa, Not, Rsa, Ed25519, Twice,
        Rsa, Broken, Rsa, Not, ByTwo,
    ]
};

impl Corpus {
    pub fn generate(messages: usize) -> Self {
        let domains = domains();
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut sizes: Vec<usize> = (0..messages).map(|nth| size(nth, messages)).collect();
        random.shuffle(&mut sizes);
        let messages = sizes.into_iter().enumerate();
        Self {
            messages: messages
                .map(|(nth, size)| message(nth, size, &domains, &mut random))
                .collect(),
            zone: domains.iter().map(zone).collect::<String>() + SHARED_ZONE,
        }
    }

    /// Octets of the bodies: median, mean, largest.
    pub fn sizes(&self) -> [usize; 3] {
        let mut sizes: Vec<usize> = self.messages.iter().map(|m| m.body.len()).collect();
        sizes.sort_unstable();
        let count = sizes.len();
        [
            sizes[count / 2],
            sizes.iter().sum::<usize>() / count,
            sizes[count - 1],
        ]
    }
}

/// RSA keys take their time: on all cores at once.
fn domains() -> Vec<Domain> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = DOMAINS.div_ceil(threads);
    let domain = |nth: usize| Domain {
        name: format!("sender{nth}.example"),
        rsa: SigningKey::generate("rsa"),
        ed25519: SigningKey::generate("ed25519"),
    };
    std::thread::scope(|scope| {
        let shares: Vec<_> = (0..DOMAINS)
            .step_by(share)
            .map(|from| {
                let to = DOMAINS.min(from + share);
                scope.spawn(move || (from..to).map(domain).collect::<Vec<_>>())
            })
            .collect();
        let made = shares.into_iter().map(|s| s.join().expect("keys"));
        made.flatten().collect()
    })
}

fn zone(domain: &Domain) -> String {
    let name = &domain.name;
    let spf = match name.len() % 2 {
        0 => "v=spf1 ip4:192.0.2.0/24 -all",
        _ => "v=spf1 a include:_spf.provider.example -all",
    };
    let policy = match name.len() % 3 {
        0 => "reject; adkim=s",
        1 => "quarantine; sp=reject",
        _ => "none",
    };
    let mut zone = format!(
        "{name}. A 198.51.100.1\n{name}. TXT \"{spf}\"\n\
         _dmarc.{name}. TXT \"v=DMARC1; p={policy}; rua=mailto:dmarc@{name}\"\n"
    );
    for (selector, key) in [("rsa", &domain.rsa), ("ed", &domain.ed25519)] {
        let record = key.record();
        let strings = record.as_bytes().chunks(250).map(String::from_utf8_lossy);
        let strings: Vec<_> = strings.map(|s| format!("\"{s}\"")).collect();
        let _ = writeln!(
            zone,
            "{selector}._domainkey.{name}. TXT {}",
            strings.join(" ")
        );
    }
    zone
}

/// The clients, by their numbers, and what several domains refer to.
const SHARED_ZONE: &str = "\
_spf.provider.example. TXT \"v=spf1 ip4:203.0.113.0/24 ip4:192.0.2.0/24 ~all\"
*.2.0.192.in-addr.arpa. PTR mx.provider.example.
mx.provider.example. A 192.0.2.1
mx.provider.example. TXT \"v=spf1 a -all\"
";

/// A log-normal size by its rank, so that the sizes are the same whatever their order.
fn size(nth: usize, of: usize) -> usize {
    let rank = (nth as f64 + 0.5) / of as f64;
    let size = 10_240.0 * (1.6 * normal_quantile(rank)).exp();
    (size as usize).clamp(200, 1 << 20)
}

/// Where the standard normal distribution has reached `rank`: found by halving.
fn normal_quantile(rank: f64) -> f64 {
    let (mut low, mut high) = (-6.0, 6.0);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if normal_share_below(middle) < rank {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

fn normal_share_below(x: f64) -> f64 {
    let (steps, from) = (600, -8.0);
    let width = (x - from) / f64::from(steps);
    let density = |x: f64| (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let places = (0..steps).map(|n| density(from + (f64::from(n) + 0.5) * width));
    places.sum::<f64>() * width
}

fn message(nth: usize, size: usize, domains: &[Domain], random: &mut Random) -> Message {
    let domain = &domains[nth * 7 % DOMAINS];
    let list = &domains[(nth * 7 + 1) % DOMAINS];
    let mut mail = header(nth, &domain.name).into_bytes();
    let body_begins = mail.len() + 2;
    mail.extend(b"\r\n");
    mail.extend(body(size, random));
    let canon = if nth.is_multiple_of(5) {
        "relaxed/simple"
    } else {
        "relaxed/relaxed"
    };
    let sign = |mail: Vec<u8>, key: &SigningKey, d: &Domain, selector: &str| {
        let algorithm = if selector == "rsa" { "rsa" } else { "ed25519" };
        let tags = format!(
            "v=1; a={algorithm}-sha256; c={canon}; d={}; s={selector};\r\n\tt={}; \
             h=from:to:subject:date:message-id:mime-version:content-type;\r\n\tbh={{bh}};\r\n\tb={{b}}",
            d.name,
            now()
        );
        key.sign(&mail, &tags)
    };
    let by_rsa = |mail, d: &Domain| sign(mail, &d.rsa, d, "rsa");
    let by_ed25519 = |mail, d: &Domain| sign(mail, &d.ed25519, d, "ed");
    let signed = MIX[nth % MIX.len()];
    let unchanged = mail.len() - body_begins;
    let mut mail = match signed {
        Signed::Rsa | Signed::Broken => by_rsa(mail, domain),
        Signed::Ed25519 => by_ed25519(mail, domain),
        Signed::Twice => by_rsa(by_ed25519(mail, domain), domain),
        Signed::ByTwo => by_rsa(by_rsa(mail, domain), list),
        Signed::Not => mail,
    };
    if let Signed::Broken = signed {
        let first = mail.len() - unchanged;
        mail[first] ^= 1;
    }
    split(&mail, format!("<bounce-{nth}@{}>", domain.name))
}

/// A message as milters get it.
fn split(mail: &[u8], mail_from: String) -> Message {
    let parsed = Parsed::parse(mail);
    let without_cr = |value: &[u8]| value.iter().copied().filter(|o| *o != b'\r').collect();
    let fields = parsed.fields.iter();
    Message {
        mail_from,
        fields: fields
            .map(|f| (f.name.to_vec(), without_cr(&f.value)))
            .collect(),
        body: parsed.body.to_vec(),
    }
}

/// The header of usual mail: some twenty fields, most of them added on the way.
fn header(nth: usize, domain: &str) -> String {
    let date = "Sun, 22 Nov 2026 12:00:00 +0000";
    let mut header = String::new();
    for hop in [
        "mx.provider.example",
        "relay.provider.example",
        "app.provider.example",
    ] {
        let _ = write!(
            header,
            "Received: from {hop} ({hop} [198.51.100.7])\r\n\tby next.{hop} (Postfix) with ESMTPS \
             id 4N{nth:06}Zz\r\n\tfor <reader@receiver.example>; {date}\r\n"
        );
    }
    let _ = write!(
        header,
        "Date: {date}\r\nFrom: Some Sender <news@{domain}>\r\nTo: Some Reader <reader@receiver.example>\r\n\
         Reply-To: answers@{domain}\r\nMessage-ID: <{nth}.7f31c2a@{domain}>\r\n\
         Subject: A subject of usual length, number {nth}, and some more\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/alternative;\r\n\tboundary=\"=_{nth:032x}\"\r\n\
         List-Unsubscribe: <https://{domain}/u/{nth:040x}>,\r\n\t<mailto:u-{nth}@{domain}>\r\n\
         List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nX-Mailer: Example Mailer 7.3 (build {nth})\r\n\
         X-Campaign-ID: {nth:024x}\r\nX-Feedback-ID: {nth}:{domain}:news\r\nPrecedence: bulk\r\n\
         X-Entity-Ref-ID: {nth:032x}\r\nThread-Topic: news\r\nAuto-Submitted: auto-generated\r\n"
    );
    header
}

/// Text, indented HTML or base64, a third of each.
fn body(size: usize, random: &mut Random) -> Vec<u8> {
    let kind = random.below(3);
    let mut body = Vec::with_capacity(size + 80);
    while body.len() < size {
        match kind {
            0 => {
                for _ in 0..6 + random.below(6) {
                    body.extend(WORDS[random.below(WORDS.len())].as_bytes());
                    body.push(b' ');
                }
                body.pop();
            }
            1 => {
                body.extend(vec![b' '; 2 * random.below(12)]);
                let _ = std::io::Write::write_fmt(
                    &mut body,
                    format_args!(
                        "<td style=\"padding:{}px; color:#333\">{}</td>",
                        random.below(40),
                        WORDS[random.below(WORDS.len())]
                    ),
                );
            }
            _ => body.extend((0..76).map(|_| BASE64[random.below(BASE64.len())])),
        }
        body.extend(b"\r\n");
    }
    body
}

const WORDS: [&str; 12] = [
    "offers",
    "the",
    "and",
    "delivery",
    "of",
    "your",
    "account",
    "a",
    "statement",
    "this",
    "is",
    "week,",
];

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock that is set").as_secs()
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}
