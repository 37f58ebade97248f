//! The list of all settings: section, key, notation and bounds of each, read over the defaults.
//!
//! A setting exists exactly when it is read here; the sample and the manual are held against this
//! list by tests. Pure.

use super::file::{Reader, Section};
use super::rules;
use super::value::{Fault, Value};
use super::{
    Config, IdentitySettings, LogFormat, LogLevel, LogSettings, MetricsSettings,
    QuarantineSettings, ReportSettings,
};
use crate::auth::arc::ArcSettings;
use crate::auth::dkim::DkimSettings;
use crate::auth::dmarc::DiscoveryMethod;
use crate::control::ControlSettings;
use crate::deliver::{DeliverySettings, Server, TlsMode};
use crate::domain::DomainName;
use crate::host::{LogSource, OutcomeSettings};
use crate::local_socket;
use crate::milter::settings::{
    HostPattern, MilterSettings, SenderPattern, SocketSpec, TrustSettings,
};
use crate::mta::{MtaKind, QueueSettings};
use crate::policy::{AuthorAction, FailAction, PolicySettings, TemperrorAction};
use crate::report::aggregate::Format;
use crate::report::destination::PlainAddress;
use crate::report::period::{SendSchedule, SendWindow, TimeOfDay};
use crate::resolver::DnsSettings;
use crate::store::{Durability, Include, OnFailure, StoreSettings};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Reads every section; `defaults` holds what is not written.
pub fn config(reader: &mut Reader<'_>, defaults: Config) -> Config {
    Config {
        identity: reader.section("identity", |s| identity(s, defaults.identity)),
        control: reader.section("control", |s| control(s, defaults.control)),
        milter: reader.section("milter", |s| milter(s, defaults.milter)),
        trust: reader.section("trust", |s| trust(s, defaults.trust)),
        dns: reader.section("dns", |s| dns(s, defaults.dns)),
        dkim: reader.section("dkim", |s| dkim(s, defaults.dkim)),
        arc: reader.section("arc", |s| arc(s, defaults.arc)),
        policy: reader.section("policy", |s| policy(s, defaults.policy)),
        quarantine: reader.section("quarantine", |s| quarantine(s, defaults.quarantine)),
        outcome: reader.section("outcome", |s| outcome(s, defaults.outcome)),
        store: reader.section("store", |s| store(s, defaults.store)),
        report: reader.section("report", |s| report(s, defaults.report)),
        delivery: reader.section("delivery", |s| delivery(s, defaults.delivery)),
        metrics: reader.section("metrics", metrics),
        log: reader.section("log", |s| log(s, defaults.log)),
        exceptions: rules::exceptions(reader),
        stricter: rules::stricter(reader),
    }
}

fn identity(s: &mut Section<'_, '_>, d: IdentitySettings) -> IdentitySettings {
    IdentitySettings {
        authserv_id: s.or("authserv_id", d.authserv_id, authserv_id),
        org_name: s.or("org_name", d.org_name, org_name),
        report_domain: s.or("report_domain", d.report_domain, |v| optional(v, domain)),
        contact: s.or("contact", d.contact, |v| optional(v, address)),
        site_key: s.or("site_key", d.site_key, absolute_path),
    }
}

fn control(s: &mut Section<'_, '_>, d: ControlSettings) -> ControlSettings {
    ControlSettings {
        socket: s.or("socket", d.socket, |v| {
            if v.is_text("none") {
                return Ok(None);
            }
            socket_path(v).map(Some)
        }),
        outcome_users: s.or("outcome_users", d.outcome_users, |v| v.list(user_name)),
    }
}

fn milter(s: &mut Section<'_, '_>, d: MilterSettings) -> MilterSettings {
    MilterSettings {
        listen: s.or("listen", d.listen, sockets),
        socket_mode: s.or("socket_mode", d.socket_mode, mode),
        socket_group: s.or("socket_group", d.socket_group, |v| {
            v.text().map(str::to_owned)
        }),
        max_connections: s.or("max_connections", d.max_connections, |v| {
            count(v, 1..=100_000)
        }),
        idle_timeout: s.or("idle_timeout", d.idle_timeout, |v| {
            v.duration(SECOND..=30 * DAY)
        }),
        max_message_bytes: s.or("max_message_bytes", d.max_message_bytes, |v| v.size()),
    }
}

fn trust(s: &mut Section<'_, '_>, d: TrustSettings) -> TrustSettings {
    TrustSettings {
        networks: s.or("networks", d.networks, |v| v.list(|v| v.network())),
        skip_authenticated: s.or("skip_authenticated", d.skip_authenticated, |v| v.boolean()),
        skip_hosts: s.or("skip_hosts", d.skip_hosts, |v| v.list(host)),
        skip_mail_from: s.or("skip_mail_from", d.skip_mail_from, |v| v.list(sender)),
        relays: s.or("relays", d.relays, |v| v.list(|v| v.network())),
        reinject: s.or("reinject", d.reinject, |v| v.list(|v| v.network())),
        strip_results_of: s.or("strip_results_of", d.strip_results_of, |v| {
            v.list(authserv_id)
        }),
    }
}

fn dns(s: &mut Section<'_, '_>, d: DnsSettings) -> DnsSettings {
    DnsSettings {
        servers: s.or("servers", d.servers, servers),
        timeout: s.or("timeout", d.timeout, |v| v.duration(MOMENT..=MINUTE)),
        message_deadline: s.or("message_deadline", d.message_deadline, |v| {
            v.duration(MOMENT..=5 * MINUTE)
        }),
        cache_entries: s.or("cache_entries", d.cache_entries, |v| {
            v.integer(0..=10_000_000)
        }),
    }
}

fn dkim(s: &mut Section<'_, '_>, d: DkimSettings) -> DkimSettings {
    DkimSettings {
        max_signatures: s.or("max_signatures", d.max_signatures, |v| count(v, 1..=100)),
        allow_body_length: s.or("allow_body_length", d.allow_body_length, |v| v.boolean()),
        // RFC 8301 §3.2: "Verifiers MUST NOT consider signatures using RSA keys of less than 1024
        // bits as valid signatures."
        min_rsa_bits: s.or("min_rsa_bits", d.min_rsa_bits, |v| {
            v.integer(1_024..=4_096).map(|bits| bits as u32)
        }),
    }
}

fn arc(s: &mut Section<'_, '_>, d: ArcSettings) -> ArcSettings {
    ArcSettings {
        enabled: s.or("enabled", d.enabled, |v| v.boolean()),
        trusted_sealers: s.or("trusted_sealers", d.trusted_sealers, |v| v.list(domain)),
    }
}

fn policy(s: &mut Section<'_, '_>, d: PolicySettings) -> PolicySettings {
    let discovery = |v: Value<'_>| v.one_of(DiscoveryMethod::ALL, DiscoveryMethod::as_str);
    let fail = |v: Value<'_>| v.one_of(FailAction::ALL, FailAction::as_str);
    let temperror = |v: Value<'_>| v.one_of(TemperrorAction::ALL, TemperrorAction::as_str);
    let author = |v: Value<'_>| v.one_of(AuthorAction::ALL, AuthorAction::as_str);
    PolicySettings {
        discovery: s.or("discovery", d.discovery, discovery),
        on_reject: s.or("on_reject", d.on_reject, fail),
        on_quarantine: s.or("on_quarantine", d.on_quarantine, fail),
        on_temperror: s.or("on_temperror", d.on_temperror, temperror),
        on_missing_author: s.or("on_missing_author", d.on_missing_author, author),
        on_multiple_authors: s.or("on_multiple_authors", d.on_multiple_authors, author),
        on_unparseable_author: s.or("on_unparseable_author", d.on_unparseable_author, author),
        marked_is_quarantine: s.or("marked_is_quarantine", d.marked_is_quarantine, |v| {
            v.boolean()
        }),
        reject_code: s.or("reject_code", d.reject_code, reject_code),
    }
}

fn quarantine(s: &mut Section<'_, '_>, d: QuarantineSettings) -> QuarantineSettings {
    QuarantineSettings {
        queue: QueueSettings {
            mta: s.or("mta", d.queue.mta, |v| {
                v.one_of(MtaKind::ALL, MtaKind::as_str)
            }),
            mta_config: s.or("mta_config", d.queue.mta_config, |v| {
                optional(v, absolute_path)
            }),
            helper_socket: s.or("helper_socket", d.queue.helper_socket, socket_file),
        },
        notify: s.or("notify", d.notify, |v| optional(v, address)),
        notify_at: s.or("notify_at", d.notify_at, |v| {
            let at = v.text().ok().and_then(TimeOfDay::parse);
            at.ok_or_else(|| v.unlike("a local time such as \"08:00\""))
        }),
        expire_after: s.or("expire_after", d.expire_after, |v| {
            let is_never = v.is_text("never") || v.is_text("0") || v.integer(0..=0).is_ok();
            if is_never {
                return Ok(None);
            }
            v.duration(60 * MINUTE..=3_650 * DAY).map(Some)
        }),
    }
}

fn outcome(s: &mut Section<'_, '_>, d: OutcomeSettings) -> OutcomeSettings {
    OutcomeSettings {
        log: s.or("log", d.log, |v| {
            if v.is_text("none") {
                return Ok(None);
            }
            if v.is_text("journal") {
                return Ok(Some(LogSource::Journal));
            }
            let path = absolute_path(v).map(LogSource::File);
            let expected = "\"none\", \"journal\" or a file such as \"/var/log/mail.log\"";
            path.map(Some).map_err(|_| v.unlike(expected))
        }),
        settle: s.or("settle", d.settle, |v| v.duration(SECOND..=DAY)),
    }
}

fn store(s: &mut Section<'_, '_>, d: StoreSettings) -> StoreSettings {
    StoreSettings {
        path: s.or("path", d.path, absolute_path),
        durability: s.or("durability", d.durability, |v| {
            v.one_of(Durability::ALL, Durability::as_str)
        }),
        wait: s.or("wait", d.wait, |v| v.duration(SECOND..=10 * MINUTE)),
        on_failure: s.or("on_failure", d.on_failure, |v| {
            v.one_of(OnFailure::ALL, OnFailure::as_str)
        }),
        keep_messages: s.or("keep_messages", d.keep_messages, |v| {
            v.duration(DAY..=3_650 * DAY)
        }),
        keep_reports: s.or("keep_reports", d.keep_reports, |v| {
            v.duration(DAY..=3_650 * DAY)
        }),
        local_parts: s.or("local_parts", d.local_parts, |v| v.boolean()),
    }
}

fn report(s: &mut Section<'_, '_>, d: ReportSettings) -> ReportSettings {
    ReportSettings {
        enabled: s.or("enabled", d.enabled, |v| v.boolean()),
        include: s.or("include", d.include, |v| {
            v.one_of(Include::ALL, Include::as_str)
        }),
        schedule: SendSchedule {
            window: s.or("send_window", d.schedule.window, |v| {
                let window = SendWindow::parse(v.text()?);
                window.map_err(|problem| v.fault(problem.to_string()))
            }),
            zone: s.or("timezone", d.schedule.zone, |v| {
                let zone = v.text().ok().and_then(|name| name.parse().ok());
                zone.ok_or_else(|| v.unlike("a time zone such as \"Europe/Berlin\" or \"UTC\""))
            }),
            settle: s.or("settle", d.schedule.settle, |v| {
                let settle = v.duration(Duration::ZERO..=2 * DAY)?;
                Ok(i64::try_from(settle.as_micros()).unwrap_or(i64::MAX))
            }),
        },
        format: s.or("format", d.format, |v| {
            v.one_of(Format::ALL, Format::as_str)
        }),
        envelope_to: s.or("envelope_to", d.envelope_to, |v| v.boolean()),
        min_messages: s.or("min_messages", d.min_messages, |v| {
            v.integer(1..=1_000_000_000)
        }),
        skip_domains: s.or("skip_domains", d.skip_domains, |v| v.list(domain)),
        only_domains: s.or("only_domains", d.only_domains, |v| v.list(domain)),
        max_destinations: s.or("max_destinations", d.max_destinations, |v| {
            count(v, 1..=100)
        }),
    }
}

fn delivery(s: &mut Section<'_, '_>, d: DeliverySettings) -> DeliverySettings {
    let tls = |v: Value<'_>| v.one_of(TlsMode::ALL, TlsMode::as_str);
    DeliverySettings {
        smtp: s.or("smtp", d.smtp, smtp_server),
        tls: s.or("tls", d.tls, tls),
        tls_ca: s.or("tls_ca", d.tls_ca, |v| optional(v, absolute_path)),
        username: s.or("username", d.username, |v| {
            optional(v, |v| v.text().map(str::to_owned))
        }),
        password_file: s.or("password_file", d.password_file, |v| {
            optional(v, absolute_path)
        }),
        from: s.or("from", d.from, |v| optional(v, address)),
        rate: s.or("rate", d.rate, |v| {
            v.integer(1..=60_000).map(|rate| rate as u32)
        }),
        retry_for: s.or("retry_for", d.retry_for, |v| {
            v.duration(60 * MINUTE..=30 * DAY)
        }),
        dkim_selector: s.or("dkim_selector", d.dkim_selector, |v| optional(v, selector)),
        dkim_key_file: s.or("dkim_key_file", d.dkim_key_file, |v| {
            optional(v, absolute_path)
        }),
    }
}

fn metrics(s: &mut Section<'_, '_>) -> MetricsSettings {
    MetricsSettings {
        listen: s.or("listen", None, |v| {
            if v.is_text("none") {
                return Ok(None);
            }
            let address = v.text().ok().and_then(|text| text.parse().ok());
            let expected = "\"none\" or an address with its port such as \"127.0.0.1:9473\"";
            address.map(Some).ok_or_else(|| v.unlike(expected))
        }),
    }
}

fn log(s: &mut Section<'_, '_>, d: LogSettings) -> LogSettings {
    LogSettings {
        level: s.or("level", d.level, |v| {
            v.one_of(LogLevel::ALL, LogLevel::as_str)
        }),
        format: s.or("format", d.format, |v| {
            v.one_of(LogFormat::ALL, LogFormat::as_str)
        }),
    }
}

/// RFC 8601 §2.2: an authserv-id is a MIME token or quoted string; here, as RFC 8601 §2.5 advises, a
/// name of the host's or the organisation's kind.
fn authserv_id(v: Value<'_>) -> Result<String, Fault> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '+');
    v.text()
        .ok()
        .filter(|text| !text.is_empty() && text.len() <= 253 && text.chars().all(fits))
        .map(str::to_owned)
        .ok_or_else(|| {
            v.unlike("a name such as \"mx.example.org\", letters, digits, dots, hyphens")
        })
}

/// What stands in quotes, or nothing: "".
fn optional<T>(
    v: Value<'_>,
    read: impl Fn(Value<'_>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    if v.is_text("") {
        return Ok(None);
    }
    read(v).map(Some)
}

fn org_name(v: Value<'_>) -> Result<String, Fault> {
    let text = v.text().ok();
    text.filter(|text| text.chars().count() <= 255 && !text.chars().any(char::is_control))
        .map(str::to_owned)
        .ok_or_else(|| v.unlike("a name of at most 255 characters, on one line"))
}

fn domain(v: Value<'_>) -> Result<DomainName, Fault> {
    let read = v.text().ok().and_then(|text| DomainName::parse(text).ok());
    read.ok_or_else(|| v.unlike("a domain such as \"example.org\""))
}

fn address(v: Value<'_>) -> Result<PlainAddress, Fault> {
    let read = v.text().ok().and_then(PlainAddress::parse);
    read.ok_or_else(|| v.unlike("an address such as \"postmaster@example.org\""))
}

fn sockets(v: Value<'_>) -> Result<Vec<SocketSpec>, Fault> {
    let sockets = v.list(socket)?;
    if sockets.is_empty() {
        return Err(v.fault("expected at least one socket, found none".to_owned()));
    }
    Ok(sockets)
}

fn socket(v: Value<'_>) -> Result<SocketSpec, Fault> {
    let expected = "\"unix:/PATH\" or \"inet:HOST:PORT\"";
    let text = v.text().map_err(|_| v.unlike(expected))?;
    let too_long =
        |socket: &SocketSpec| matches!(socket, SocketSpec::Unix(path) if !local_socket::fits(path));
    match SocketSpec::parse(text) {
        Some(socket) if too_long(&socket) => Err(v.unlike(SOCKET_PATH)),
        Some(socket) => Ok(socket),
        None => {
            // As Sendmail, OpenDKIM and Postfix's own settings write it.
            let path = text.strip_prefix("local:").unwrap_or(text);
            let hint = if path.starts_with('/') {
                format!("; write \"unix:{path}\"")
            } else {
                String::new()
            };
            let fault = v.unlike(expected);
            Err(v.fault(fault.message + &hint))
        }
    }
}

fn mode(v: Value<'_>) -> Result<u32, Fault> {
    let digits = v.text().ok().filter(|text| matches!(text.len(), 3 | 4));
    digits
        .and_then(|text| u32::from_str_radix(text, 8).ok())
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| v.unlike("permission bits in quotes such as \"0660\""))
}

fn socket_path(v: Value<'_>) -> Result<PathBuf, Fault> {
    let path = v.text().ok().map(PathBuf::from);
    let path = path
        .filter(|path| path.is_absolute())
        .ok_or_else(|| v.unlike("an absolute path, or \"none\""))?;
    fitting(v, path)
}

/// useradd(8), and those of directories: no blanks, no colons.
fn user_name(v: Value<'_>) -> Result<String, Fault> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '$');
    let name = v.text().ok();
    name.filter(|name| matches!(name.len(), 1..=64) && name.chars().all(fits))
        .map(str::to_owned)
        .ok_or_else(|| v.unlike("the name of a user such as \"amavis\""))
}

/// A network, an address, or a host name (with a leading dot: every name below it).
fn host(v: Value<'_>) -> Result<HostPattern, Fault> {
    let expected = "a host name, \".domain\", an address or a network";
    let text = v.text().map_err(|_| v.unlike(expected))?;
    if text.contains('/') {
        return v.network().map(HostPattern::Network);
    }
    HostPattern::parse(text).ok_or_else(|| v.unlike(expected))
}

fn sender(v: Value<'_>) -> Result<SenderPattern, Fault> {
    let read = v.text().ok().and_then(SenderPattern::parse);
    read.ok_or_else(|| {
        v.unlike("a sender such as \"list@example.org\", a domain, \".domain\" or \"<>\"")
    })
}

fn servers(v: Value<'_>) -> Result<Vec<SocketAddr>, Fault> {
    if v.is_text("system") {
        return Ok(Vec::new());
    }
    v.list(|v| {
        let text = v.text().ok();
        let with_port = text.and_then(|text| text.parse::<SocketAddr>().ok());
        let alone = || Some(SocketAddr::new(text?.parse().ok()?, DNS_PORT));
        with_port
            .or_else(alone)
            .ok_or_else(|| v.unlike("an address such as \"127.0.0.1\" or \"[::1]:5353\""))
    })
}

/// RFC 3463 §2: class, subject, detail; the class is 5, a permanent failure.
fn reject_code(v: Value<'_>) -> Result<String, Fault> {
    let number =
        |part: &str| matches!(part.len(), 1..=3) && part.bytes().all(|b| b.is_ascii_digit());
    let fits = |text: &&str| {
        let mut parts = text.split('.');
        parts.next() == Some("5")
            && parts.next().is_some_and(number)
            && parts.next().is_some_and(number)
            && parts.next().is_none()
    };
    v.text()
        .ok()
        .filter(fits)
        .map(str::to_owned)
        .ok_or_else(|| v.unlike("an enhanced status code such as \"5.7.1\""))
}

fn smtp_server(v: Value<'_>) -> Result<Server, Fault> {
    let server = v.text().ok().and_then(Server::parse);
    server.ok_or_else(|| v.unlike("a host with its port such as \"localhost:25\" or \"[::1]:587\""))
}

/// RFC 6376 §3.1: sub-domains, with dots between.
fn selector(v: Value<'_>) -> Result<String, Fault> {
    let selector = v.text().ok().and_then(|text| DomainName::parse(text).ok());
    selector
        .map(|name| name.to_string())
        .ok_or_else(|| v.unlike("a selector such as \"reports2026\""))
}

fn absolute_path(v: Value<'_>) -> Result<PathBuf, Fault> {
    let path = v.text().ok().map(PathBuf::from);
    path.filter(|path| path.is_absolute())
        .ok_or_else(|| v.unlike("an absolute path"))
}

/// A Unix socket's path.
fn socket_file(v: Value<'_>) -> Result<PathBuf, Fault> {
    fitting(v, absolute_path(v)?)
}

fn fitting(v: Value<'_>, path: PathBuf) -> Result<PathBuf, Fault> {
    if local_socket::fits(&path) {
        Ok(path)
    } else {
        Err(v.unlike(SOCKET_PATH))
    }
}

fn count(v: Value<'_>, range: RangeInclusive<u64>) -> Result<usize, Fault> {
    v.integer(range).map(|number| number as usize)
}

/// The most that `local_socket::fits` takes, in words.
const SOCKET_PATH: &str = "a path of at most 107 octets, 98 of them its directory";
const MOMENT: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const DNS_PORT: u16 = 53;
