//! What `alignd config check` finds beyond the file's own grammar: settings that this host, its MTA
//! or another setting contradicts, each with the next step.
//!
//! Reads file metadata, the groups, Postfix's and Sendmail's configuration and that of other filters;
//! changes nothing, opens no socket. `account` judges permissions for the user the daemon runs as,
//! `postfix` and `sendmail` read what the MTA will do.

pub mod account;
mod control;
mod delivery;
mod digest;
mod helper;
mod holding;
mod postfix;
mod rules;
mod sendmail;
mod sockets;
mod store;

use super::Loaded;
use crate::milter::HostPattern;
use crate::policy::FailAction;
use crate::time::Timestamp;
use account::Account;
use ipnet::IpNet;
use std::path::PathBuf;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It won't work.
    Error,
    /// It works, but probably not as meant.
    Warning,
    /// Good to know.
    Note,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// `section.key`
    pub setting: String,
    /// The line in the file, when the setting is written there.
    pub line: Option<usize>,
    pub what: String,
    /// What to do about it.
    pub next: String,
}

/// Where to look on this host.
#[derive(Debug, Clone)]
pub struct Host {
    /// The user the daemon runs as.
    pub account: Account,
    /// The user Postfix connects as, when there is one. Sendmail connects as root.
    pub mta: Option<Account>,
    /// Postfix's configuration directory.
    pub postfix: PathBuf,
    /// Sendmail's configuration, `sendmail.cf`.
    pub sendmail: PathBuf,
    /// Settings of OpenDKIM and OpenDMARC, which write Authentication-Results too.
    pub filters: Vec<PathBuf>,
    /// This host's name.
    pub name: String,
}

/// Findings while they are gathered.
struct Findings<'a> {
    loaded: &'a Loaded,
    found: Vec<Finding>,
}

/// Everything that is to be said about these settings on this host, the worst first.
pub fn findings(loaded: &Loaded, host: &Host, now: Timestamp) -> Vec<Finding> {
    let mut findings = Findings {
        loaded,
        found: Vec::new(),
    };
    identity(&mut findings, host);
    sockets::check(&mut findings, host);
    trust(&mut findings);
    dns(&mut findings);
    policy(&mut findings);
    rules::check(&mut findings, now);
    holding::check(&mut findings, host);
    helper::check(&mut findings, host);
    digest::check(&mut findings);
    report(&mut findings);
    delivery::check(&mut findings);
    control::check(&mut findings);
    store::check(&mut findings, host);
    let mut found = findings.found;
    found.sort_by_key(|finding| finding.severity);
    found
}

impl Findings<'_> {
    fn add(
        &mut self,
        severity: Severity,
        (section, key): (&'static str, &'static str),
        what: impl Into<String>,
        next: impl Into<String>,
    ) {
        self.found.push(Finding {
            severity,
            setting: format!("{section}.{key}"),
            line: self.loaded.lines.get(&(section, key)).copied(),
            what: what.into(),
            next: next.into(),
        });
    }
}

fn identity(findings: &mut Findings<'_>, host: &Host) {
    const SETTING: (&str, &str) = ("identity", "authserv_id");
    let config = &findings.loaded.config;
    let id = config.identity.authserv_id.clone();
    let also = &config.trust.strip_results_of;
    if also.iter().any(|other| other.eq_ignore_ascii_case(&id)) {
        findings.add(
            Severity::Warning,
            ("trust", "strip_results_of"),
            format!("it names \"{id}\", which is identity.authserv_id and always stripped"),
            "name only the ids of your other hosts and filters here, or none",
        );
    }
    let everybodys = ["localhost", "localhost.localdomain", "mail", "mx", "smtp"];
    if everybodys.iter().any(|name| id.eq_ignore_ascii_case(name)) || !id.contains('.') {
        findings.add(
            Severity::Warning,
            SETTING,
            format!("\"{id}\" may be another host's id too: results of both can't be told apart"),
            "set a name that is yours alone, such as \"mx.example.org\"",
        );
    }
    for file in &host.filters {
        let Ok(text) = std::fs::read_to_string(file) else {
            continue;
        };
        if filters_id(&text, &host.name).eq_ignore_ascii_case(&id) {
            findings.add(
                Severity::Warning,
                SETTING,
                format!(
                    "{} makes its filter write results as \"{id}\" as well: alignd removes those as forged",
                    file.display()
                ),
                format!("while both run, set another id here, such as \"alignd.{id}\""),
            );
        }
    }
}

/// The `AuthservID` in force in a settings file of OpenDKIM or OpenDMARC: the host's name by default.
fn filters_id(text: &str, host_name: &str) -> String {
    let set = text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        name.eq_ignore_ascii_case("AuthservID")
            .then(|| words.next())?
    });
    match set {
        Some("HOSTNAME") | None => host_name.to_owned(),
        Some(id) => id.to_owned(),
    }
}

fn trust(findings: &mut Findings<'_>) {
    let trust = findings.loaded.config.trust.clone();
    let hosts = trust.skip_hosts.iter().filter_map(|host| match host {
        HostPattern::Network(network) => Some(*network),
        HostPattern::Name(_) | HostPattern::Below(_) => None,
    });
    let hosts: Vec<IpNet> = hosts.collect();
    for (key, networks) in [("networks", &trust.networks), ("skip_hosts", &hosts)] {
        if let Some(all) = everything(networks) {
            findings.add(
                Severity::Error,
                ("trust", key),
                format!("{all}: every such client's mail is passed on without evaluation"),
                "name only your own networks",
            );
        }
    }
    if let Some(all) = everything(&trust.relays) {
        findings.add(
            Severity::Error,
            ("trust", "relays"),
            format!(
                "{all}: every client may claim to be a relay and forge the real client's address"
            ),
            "name only the hosts of yours that pass mail on to this one",
        );
    }
    if let Some(all) = everything(&trust.reinject) {
        findings.add(
            Severity::Error,
            ("trust", "reinject"),
            format!("{all}: whoever gets a held message could send it again unjudged"),
            "name only the hosts that hand mail back to this one",
        );
    }
}

/// Whether the networks together hold a whole address family.
fn everything(networks: &[IpNet]) -> Option<&'static str> {
    let merged = IpNet::aggregate(&networks.to_vec());
    let holds = |all: &str| merged.iter().any(|network| network.to_string() == all);
    match (holds("0.0.0.0/0"), holds("::/0")) {
        (true, true) => Some("it holds every address"),
        (true, false) => Some("it holds every IPv4 address"),
        (false, true) => Some("it holds every IPv6 address"),
        (false, false) => None,
    }
}

fn dns(findings: &mut Findings<'_>) {
    let dns = &findings.loaded.config.dns;
    if dns.message_deadline < dns.timeout {
        findings.add(
            Severity::Warning,
            ("dns", "timeout"),
            "it is longer than dns.message_deadline, which ends the wait first",
            "make dns.message_deadline a few times dns.timeout",
        );
    }
    let resolv_conf = PathBuf::from("/etc/resolv.conf");
    if dns.servers.is_empty() && !resolv_conf.exists() {
        findings.add(
            Severity::Error,
            ("dns", "servers"),
            "\"system\", but there is no /etc/resolv.conf",
            "name the servers: [\"127.0.0.1\"]",
        );
    }
}

fn policy(findings: &mut Findings<'_>) {
    let policy = findings.loaded.config.policy.clone();
    if policy.on_reject == FailAction::Reject {
        findings.add(
            Severity::Note,
            ("policy", "on_reject"),
            "mail is refused for p=reject alone, which RFC 9989 §7.4 forbids: it hits members of mailing lists",
            "watch `alignd messages --dmarc fail` for some weeks first; it shows whom it would hit",
        );
    }
    if policy.on_quarantine == FailAction::Reject {
        findings.add(
            Severity::Note,
            ("policy", "on_quarantine"),
            "stricter than the domain owner asks for: p=quarantine wants mail set aside, not refused",
            "\"accept\" marks it with dmarc=fail for your spam filter",
        );
    }
}

fn report(findings: &mut Findings<'_>) {
    let config = &findings.loaded.config;
    let settings = config.report.clone();
    if !settings.enabled {
        return;
    }
    if let Err(missing) = config.identity.reporter() {
        findings.add(
            Severity::Error,
            ("identity", missing),
            "reports can't be sent without it: every report says who sends it",
            "set org_name, report_domain and contact in [identity], or report.enabled = false",
        );
    }
    if let Some(skipped) = settings.only_domains.iter().find(|only| {
        let mut skip = settings.skip_domains.iter();
        skip.any(|skip| only.is_within(skip))
    }) {
        findings.add(
            Severity::Warning,
            ("report", "skip_domains"),
            format!("{skipped} is in report.only_domains too, and gets no report"),
            "name it in one of the two",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn check(text: &str, expected: &[&str]) {
        let (config, lines) = Config::parse(text, "mx.example.org").unwrap();
        let loaded = Loaded {
            config,
            file: None,
            lines,
        };
        let mut findings = Findings {
            loaded: &loaded,
            found: Vec::new(),
        };
        let host = Host {
            account: Account::of_user(0, "root"),
            mta: None,
            postfix: PathBuf::from("/nonexistent"),
            sendmail: PathBuf::from("/nonexistent"),
            filters: Vec::new(),
            name: "mx.example.org".to_owned(),
        };
        identity(&mut findings, &host);
        trust(&mut findings);
        policy(&mut findings);
        let now = Timestamp::parse_rfc3339("2026-11-22").unwrap();
        rules::check(&mut findings, now);
        report(&mut findings);
        let found: Vec<String> = findings
            .found
            .iter()
            .map(|f| format!("{:?} {} {:?}: {}", f.severity, f.setting, f.line, f.what))
            .collect();
        assert_eq!(found.len(), expected.len(), "{text}: {found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{text}: {found}");
        }
    }

    #[test]
    fn reports_need_a_sender() {
        const ALL: &str = "[identity]\norg_name = \"A\"\nreport_domain = \"a.example\"\n\
                           contact = \"p@a.example\"\n";
        check("[report]\nskip_domains = [\"a.example\"]\n", &[]);
        check(
            "[report]\nenabled = true\n",
            &["Error identity.org_name None: reports can't be sent without it"],
        );
        check(
            "[identity]\norg_name = \"A\"\ncontact = \"p@a.example\"\n[report]\nenabled = true\n",
            &["Error identity.report_domain None: reports can't be sent without it"],
        );
        check(&format!("{ALL}[report]\nenabled = true\n"), &[]);
        check(
            &format!(
                "{ALL}[report]\nenabled = true\nskip_domains = [\"b.example\"]\n\
                 only_domains = [\"a.b.example\"]\n"
            ),
            &["Warning report.skip_domains Some(7): a.b.example is in report.only_domains too"],
        );
    }

    #[test]
    fn settings_that_contradict_their_purpose() {
        check("", &[]);
        check(
            "[identity]\nauthserv_id = \"LOCALHOST\"\n",
            &["Warning identity.authserv_id Some(2): \"LOCALHOST\" may be another host's"],
        );
        check(
            "[trust]\nstrip_results_of = [\"MX.example.org\"]\n",
            &["Warning trust.strip_results_of Some(2): it names \"mx.example.org\""],
        );
        check(
            "[trust]\nnetworks = [\"0.0.0.0/1\", \"128.0.0.0/1\"]\n",
            &["Error trust.networks Some(2): it holds every IPv4 address"],
        );
        check(
            "[trust]\nskip_hosts = [\"0.0.0.0/0\", \"::/0\"]\n",
            &["Error trust.skip_hosts Some(2): it holds every address"],
        );
        check(
            "[policy]\non_reject = \"reject\"\n",
            &["Note policy.on_reject Some(2): mail is refused for p=reject alone"],
        );
    }

    #[test]
    fn rules_that_do_not_do_what_they_seem_to() {
        let except = |require: &str, more: &str| {
            format!(
                "[[exception]]\nauthor_domain = \"a.example\"\nrequire = {{ {require} }}\n{more}\n"
            )
        };
        let dkim = "dkim = \"l.example\"";
        let sealer = |more: &str| {
            format!(
                "[arc]\n{more}\n{}",
                except("arc_sealer = \"s.example\"", "")
            )
        };
        const IT: &str = "Warning exception a.example";
        for (text, expected) in [
            (except(dkim, "expires = 2027-03-01"), vec![]),
            (except(dkim, "expires = 2026-12-01"), vec![format!("{IT} Some(1): it ends soon, on 2026-12-01T")]),
            (except(dkim, "expires = 2026-11-22"), vec![format!("{IT} Some(1): it ended on 2026-11-22T")]),
            (except("", "unsafe = true"), vec![format!("{IT} Some(1): unsafe: nothing is verified, so every spoofer of a.example")]),
            (except(dkim, "unsafe = true"), vec![]),
            (except(dkim, "recipients = [\"b@a.example\"]"), vec!["Note exception a.example Some(1): it names addresses".to_owned()]),
            (except(dkim, "recipients = [\"a.example\"]"), vec![]),
            (except(dkim, "") + &except(dkim, "owner = \"x\""), vec![format!("{IT} Some(5): it decides the same as the one in line 1")]),
            (sealer(""), vec![format!("{IT} Some(3): it requires an ARC sealer, but ARC isn't evaluated")]),
            (sealer("enabled = true"), vec![format!("{IT} Some(3): s.example is not in arc.trusted_sealers")]),
            (sealer("enabled = true\ntrusted_sealers = [\"s.example\"]"), vec![]),
            ("[arc]\nenabled = true\ntrusted_sealers = [\"s.example\"]\n".to_owned(), vec!["Note arc.trusted_sealers Some(3): no exception of this file".to_owned()]),
            ("[[stricter]]\nauthor_domain = \"*\"\naction = \"hold\"\nexpires = \"2026-01-01\"\n".to_owned(), vec!["Warning stricter * Some(1): it ended".to_owned()]),
        ] {
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            check(&text, &expected);
        }
    }

    #[test]
    fn other_filters_ids_are_read_as_they_read_them() {
        for (text, expected) in [
            ("", "host.example"),
            ("Socket inet:8893\nAuthservID HOSTNAME\n", "host.example"),
            ("authservid\tmx.example.org # ours\n", "mx.example.org"),
            ("#AuthservID name\n", "host.example"),
        ] {
            assert_eq!(filters_id(text, "host.example"), expected);
        }
    }
}
