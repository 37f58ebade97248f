//! The settings in force, written as TOML: what `alignd config show` prints and what, read again,
//! gives the same settings. Pure.

use super::Config;
use super::rules::{self, WrittenRule};
use super::value::write_duration;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One setting in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub section: &'static str,
    pub key: &'static str,
    /// As it can stand in the file.
    pub value: String,
}

/// Every setting, in the order of the sample.
pub fn settings(config: &Config) -> Vec<Setting> {
    let sections = [
        ("identity", identity(config)),
        ("control", control(config)),
        ("milter", milter(config)),
        ("trust", trust(config)),
        ("dns", dns(config)),
        ("dkim", dkim(config)),
        ("arc", arc(config)),
        ("policy", policy(config)),
        ("quarantine", quarantine(config)),
        ("outcome", outcome(config)),
        ("store", store(config)),
        ("report", report(config)),
        ("delivery", delivery(config)),
        ("metrics", metrics(config)),
        ("log", log(config)),
    ];
    let all = sections.into_iter().flat_map(|(section, settings)| {
        let settings = settings.into_iter();
        settings.map(move |(key, value)| Setting {
            section,
            key,
            value,
        })
    });
    all.collect()
}

/// Every rule, as the keys of an entry of its list, the order of the file.
pub fn rules(config: &Config) -> Vec<(&'static str, Written)> {
    let keys = |name, written: &WrittenRule| (name, rules::keys(&written.rule));
    let exceptions = config.exceptions.iter();
    let exceptions = exceptions.map(|rule| keys(rules::EXCEPTION, rule));
    let stricter = config.stricter.iter();
    let stricter = stricter.map(|rule| keys(rules::STRICTER, rule));
    exceptions.chain(stricter).collect()
}

pub type Written = Vec<(&'static str, String)>;

fn identity(config: &Config) -> Written {
    let s = &config.identity;
    vec![
        ("authserv_id", quoted(&s.authserv_id)),
        ("org_name", quoted(&s.org_name)),
        ("report_domain", optional(s.report_domain.as_ref())),
        ("contact", optional(s.contact.as_ref())),
        ("site_key", quoted(s.site_key.display())),
    ]
}

fn control(config: &Config) -> Written {
    let s = &config.control;
    let socket = match &s.socket {
        Some(path) => quoted(path.display()),
        None => quoted("none"),
    };
    vec![
        ("socket", socket),
        ("outcome_users", list(&s.outcome_users)),
    ]
}

fn milter(config: &Config) -> Written {
    let s = &config.milter;
    vec![
        ("listen", list(&s.listen)),
        ("socket_mode", quoted(format_args!("{:04o}", s.socket_mode))),
        ("socket_group", quoted(&s.socket_group)),
        ("max_connections", s.max_connections.to_string()),
        ("idle_timeout", duration(s.idle_timeout)),
        ("max_message_bytes", s.max_message_bytes.to_string()),
    ]
}

fn trust(config: &Config) -> Written {
    let s = &config.trust;
    vec![
        ("networks", list(&s.networks)),
        ("skip_authenticated", s.skip_authenticated.to_string()),
        ("skip_hosts", list(&s.skip_hosts)),
        ("skip_mail_from", list(&s.skip_mail_from)),
        ("relays", list(&s.relays)),
        ("reinject", list(&s.reinject)),
        ("strip_results_of", list(&s.strip_results_of)),
    ]
}

fn dns(config: &Config) -> Written {
    let s = &config.dns;
    let servers: Vec<String> = s.servers.iter().map(SocketAddr::to_string).collect();
    let servers = if servers.is_empty() {
        quoted("system")
    } else {
        list(&servers)
    };
    vec![
        ("servers", servers),
        ("timeout", duration(s.timeout)),
        ("message_deadline", duration(s.message_deadline)),
        ("cache_entries", s.cache_entries.to_string()),
    ]
}

fn dkim(config: &Config) -> Written {
    let s = &config.dkim;
    vec![
        ("max_signatures", s.max_signatures.to_string()),
        ("allow_body_length", s.allow_body_length.to_string()),
        ("min_rsa_bits", s.min_rsa_bits.to_string()),
    ]
}

fn arc(config: &Config) -> Written {
    let s = &config.arc;
    vec![
        ("enabled", s.enabled.to_string()),
        ("trusted_sealers", list(&s.trusted_sealers)),
    ]
}

fn policy(config: &Config) -> Written {
    let s = &config.policy;
    vec![
        ("discovery", quoted(s.discovery)),
        ("on_reject", quoted(s.on_reject)),
        ("on_quarantine", quoted(s.on_quarantine)),
        ("on_temperror", quoted(s.on_temperror)),
        ("on_missing_author", quoted(s.on_missing_author)),
        ("on_multiple_authors", quoted(s.on_multiple_authors)),
        ("on_unparseable_author", quoted(s.on_unparseable_author)),
        ("marked_is_quarantine", s.marked_is_quarantine.to_string()),
        ("reject_code", quoted(&s.reject_code)),
    ]
}

fn quarantine(config: &Config) -> Written {
    let held = &config.quarantine;
    let s = &held.queue;
    let path = s.mta_config.as_ref().map(|path| path.display());
    vec![
        ("mta", quoted(s.mta)),
        ("mta_config", optional(path.as_ref())),
        ("helper_socket", quoted(s.helper_socket.display())),
        ("notify", optional(held.notify.as_ref())),
        ("notify_at", quoted(held.notify_at)),
        (
            "expire_after",
            held.expire_after.map_or_else(|| quoted("never"), duration),
        ),
    ]
}

fn outcome(config: &Config) -> Written {
    let log = match &config.outcome.log {
        Some(source) => quoted(source),
        None => quoted("none"),
    };
    vec![("log", log), ("settle", duration(config.outcome.settle))]
}

fn store(config: &Config) -> Written {
    let s = &config.store;
    vec![
        ("path", quoted(s.path.display())),
        ("durability", quoted(s.durability)),
        ("wait", duration(s.wait)),
        ("on_failure", quoted(s.on_failure)),
        ("keep_messages", duration(s.keep_messages)),
        ("keep_reports", duration(s.keep_reports)),
        ("local_parts", s.local_parts.to_string()),
    ]
}

fn report(config: &Config) -> Written {
    let s = &config.report;
    let settle = Duration::from_micros(u64::try_from(s.schedule.settle).unwrap_or_default());
    vec![
        ("enabled", s.enabled.to_string()),
        ("include", quoted(s.include)),
        ("send_window", quoted(s.schedule.window)),
        ("timezone", quoted(s.schedule.zone)),
        ("settle", duration(settle)),
        ("format", quoted(s.format)),
        ("envelope_to", s.envelope_to.to_string()),
        ("min_messages", s.min_messages.to_string()),
        ("skip_domains", list(&s.skip_domains)),
        ("only_domains", list(&s.only_domains)),
        ("max_destinations", s.max_destinations.to_string()),
    ]
}

fn delivery(config: &Config) -> Written {
    let s = &config.delivery;
    let path = |path: &Option<PathBuf>| optional(path.as_ref().map(|path| path.display()).as_ref());
    vec![
        ("smtp", quoted(&s.smtp)),
        ("tls", quoted(s.tls)),
        ("tls_ca", path(&s.tls_ca)),
        ("username", optional(s.username.as_ref())),
        ("password_file", path(&s.password_file)),
        ("from", optional(s.from.as_ref())),
        ("rate", s.rate.to_string()),
        ("retry_for", duration(s.retry_for)),
        ("dkim_selector", optional(s.dkim_selector.as_ref())),
        ("dkim_key_file", path(&s.dkim_key_file)),
    ]
}

fn metrics(config: &Config) -> Written {
    let listen = match config.metrics.listen {
        Some(address) => quoted(address),
        None => quoted("none"),
    };
    vec![("listen", listen)]
}

fn log(config: &Config) -> Written {
    vec![
        ("level", quoted(config.log.level)),
        ("format", quoted(config.log.format)),
    ]
}

/// Not set is "".
fn optional(value: Option<&impl Display>) -> String {
    value.map_or_else(|| quoted(""), quoted)
}

/// A basic string of TOML.
pub(super) fn quoted(value: impl Display) -> String {
    let mut quoted = String::from("\"");
    for c in value.to_string().chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

pub(super) fn list<T: Display>(values: &[T]) -> String {
    let values: Vec<String> = values.iter().map(quoted).collect();
    format!("[{}]", values.join(", "))
}

fn duration(duration: Duration) -> String {
    quoted(write_duration(duration))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::Reader;
    use crate::config::read;

    const OTHER: &str = r#"
        [identity]
        authserv_id = "a.example"
        org_name = "A \"quoted\" Ä"
        report_domain = "Reports.A.example"
        contact = "postmaster@a.example"
        [report]
        enabled = true
        send_window = "22:00-02:00"
        timezone = "Asia/Kathmandu"
        settle = "0s"
        include = "all"
        format = "rfc7489"
        skip_domains = ["spam.example"]
        [milter]
        listen = ["inet:[::1]:8893", "unix:/run/a \"b\".sock"]
        socket_mode = "660"
        idle_timeout = "90s"
        max_message_bytes = "1M"
        [trust]
        networks = []
        skip_hosts = [".Example.net", "192.0.2.0/24", "198.51.100.1"]
        skip_mail_from = ["<>", "a@b.example"]
        [dns]
        servers = ["127.0.0.1", "[::1]:5353"]
        [arc]
        trusted_sealers = ["sealer.example"]
        [policy]
        on_reject = "reject"
        [[exception]]
        author_domain = ".bank.example"
        require = { dkim = "l.example", dkim_selector = "S1", spf = ".b.example", reverse_name = "m.example", network = "192.0.2.1", list_id = "<N.l.example>", list_domain = "l.example", arc_sealer = "*" }
        recipients = ["Anna@a.example", ".b.example"]
        because = "trusted_forwarder"
        comment = "a \"b\" Ä"
        owner = "anna"
        expires = 2027-03-01T12:00:00Z
        [[exception]]
        author_domain = "*"
        unsafe = true
        [[stricter]]
        author_domain = "free.example"
        action = "hold"
        recipients = ["a.example"]
        [quarantine]
        mta = "sendmail"
        mta_config = "/etc/mail/other.cf"
        helper_socket = "/run/h.sock"
        [delivery]
        smtp = "[::1]:587"
        tls = "implicit"
        tls_ca = "/etc/ca.pem"
        username = "u"
        from = "r@a.example"
        [metrics]
        listen = "[::1]:9473"
        [log]
        format = "journald"
    "#;

    #[test]
    fn what_is_shown_reads_back_the_same() {
        for text in ["", OTHER] {
            let (config, _) = Config::parse(text, "mx.example.org").unwrap();
            let mut shown = String::new();
            for Setting {
                section,
                key,
                value,
            } in settings(&config)
            {
                if !shown.contains(&format!("[{section}]\n")) {
                    shown.push_str(&format!("[{section}]\n"));
                }
                shown.push_str(&format!("{key} = {value}\n"));
            }
            for (name, keys) in rules(&config) {
                let keys = keys.iter().map(|(key, value)| format!("{key} = {value}\n"));
                shown += &format!("[[{name}]]\n{}", keys.collect::<String>());
            }
            let (again, lines) = Config::parse(&shown, "another.example.org").unwrap();
            assert_eq!(again, config, "{shown}");
            let mut reader = Reader::new("");
            read::config(&mut reader, config);
            assert_eq!(lines.len(), reader.known().len(), "every setting is shown");
        }
    }
}
