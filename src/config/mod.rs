//! The settings: what the file means. Each room has its own settings type; here they are read from
//! the section that bears the room's name.
//!
//! Owns the list of all settings with their bounds (`read`), the sample file (`sample`) and the
//! findings of `alignd config check` (`check`). Only `daemon` and `cli` see this module.

pub mod check;
pub mod file;
mod read;
mod rules;
pub mod sample;
pub mod show;
pub mod value;

use crate::auth::arc::ArcSettings;
use crate::auth::dkim::DkimSettings;
use crate::control::ControlSettings;
use crate::deliver::DeliverySettings;
use crate::domain::DomainName;
use crate::host::OutcomeSettings;
use crate::milter::settings::{MilterSettings, TrustSettings};
use crate::mta::QueueSettings;
use crate::policy::PolicySettings;
use crate::policy::rules::{KeyedRule, RuleSet};
use crate::report::aggregate::{Format, Reporter};
use crate::report::destination::PlainAddress;
use crate::report::period::{SendSchedule, SendWindow, TimeOfDay};
use crate::resolver::DnsSettings;
use crate::send_report::SendSettings;
use crate::store::{Include, StoreSettings};
use crate::word::words;
use file::{Lines, Problem, Reader};
pub use rules::WrittenRule;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub identity: IdentitySettings,
    pub control: ControlSettings,
    pub milter: MilterSettings,
    pub trust: TrustSettings,
    pub dns: DnsSettings,
    pub dkim: DkimSettings,
    pub arc: ArcSettings,
    pub policy: PolicySettings,
    pub quarantine: QuarantineSettings,
    pub outcome: OutcomeSettings,
    pub store: StoreSettings,
    pub report: ReportSettings,
    pub delivery: DeliverySettings,
    pub metrics: MetricsSettings,
    pub log: LogSettings,
    pub exceptions: Vec<WrittenRule>,
    pub stricter: Vec<WrittenRule>,
}

/// `[identity]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentitySettings {
    /// The authserv-id of our Authentication-Results, RFC 8601 §2.5.
    pub authserv_id: String,
    /// Who reports, for people; empty: not set.
    pub org_name: String,
    /// The domain in whose name reports are sent.
    pub report_domain: Option<DomainName>,
    /// Whom readers of reports may write to.
    pub contact: Option<PlainAddress>,
    /// The file of the key that signs return paths.
    pub site_key: PathBuf,
}

/// `[quarantine]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineSettings {
    /// `mta`, `mta_config` and `helper_socket`.
    pub queue: QueueSettings,
    /// Whom the daily digest goes to; `None`: nobody is told.
    pub notify: Option<PlainAddress>,
    /// When, in the host's local time.
    pub notify_at: TimeOfDay,
    /// How long mail is held before it is deleted; `None`: for ever.
    pub expire_after: Option<Duration>,
}

impl Default for QuarantineSettings {
    fn default() -> Self {
        Self {
            queue: QueueSettings::default(),
            notify: None,
            notify_at: TimeOfDay::MORNING,
            expire_after: None,
        }
    }
}

/// `[report]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportSettings {
    pub enabled: bool,
    /// `send_window`, `timezone` and `settle`.
    pub schedule: SendSchedule,
    pub include: Include,
    pub format: Format,
    pub envelope_to: bool,
    /// Fewer messages of a domain in a day are not reported.
    pub min_messages: u64,
    /// Policy domains, and all below them, that get no reports.
    pub skip_domains: Vec<DomainName>,
    /// If there are any: the only policy domains, and those below them, that get reports.
    pub only_domains: Vec<DomainName>,
    pub max_destinations: usize,
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            schedule: SendSchedule {
                window: SendWindow::NIGHT,
                zone: chrono_tz::UTC,
                settle: 15 * 60 * 1_000_000,
            },
            include: Include::Accepted,
            format: Format::Rfc9990,
            envelope_to: false,
            min_messages: 1,
            skip_domains: Vec::new(),
            only_domains: Vec::new(),
            max_destinations: 10,
        }
    }
}

impl IdentitySettings {
    /// Who reports, when everything that a report says about it is set; else the first that isn't.
    pub fn reporter(&self) -> Result<Reporter, &'static str> {
        if self.org_name.is_empty() {
            return Err("org_name");
        }
        Ok(Reporter {
            org_name: self.org_name.clone(),
            contact: self.contact.as_ref().ok_or("contact")?.to_string(),
            domain: self.report_domain.clone().ok_or("report_domain")?,
        })
    }
}

impl Config {
    /// The rules of the file, with those that are kept elsewhere behind them.
    pub fn rules(&self, stored: impl IntoIterator<Item = KeyedRule>) -> RuleSet {
        let written = self.exceptions.iter().chain(&self.stricter);
        let written = written.map(WrittenRule::keyed);
        RuleSet::new(written.chain(stored), self.arc.trusted_sealers.clone())
    }

    /// What sending needs. Err: the first key of `[identity]` that is not set and must be.
    pub fn sending(&self) -> Result<SendSettings, &'static str> {
        let domain = self.identity.report_domain.clone();
        let report_domain = domain.ok_or("report_domain")?;
        let own = || PlainAddress::new("dmarc-reports", report_domain.clone());
        Ok(SendSettings {
            from: self
                .delivery
                .from
                .clone()
                .or_else(own)
                .ok_or("report_domain")?,
            max_destinations: self.report.max_destinations,
            rate: self.delivery.rate,
            retry_for: self.delivery.retry_for,
            report_domain,
        })
    }

    /// The author of the digest of held mail: that of reports, or, where none is named, alignd on this host. `None`:
    /// the host has no name that can stand in an address.
    pub fn digest_from(&self) -> Option<PlainAddress> {
        if let Ok(sending) = self.sending() {
            return Some(sending.from);
        }
        let host = DomainName::parse(&self.identity.authserv_id).ok();
        let of_host = || PlainAddress::new("alignd", host?);
        self.delivery.from.clone().or_else(of_host)
    }
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetricsSettings {
    /// Where the Prometheus exporter listens; `None`: it doesn't.
    pub listen: Option<SocketAddr>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub level: LogLevel,
    pub format: LogFormat,
}

words! {
    /// `log.level`
    LogLevel { Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace" }
}

words! {
    /// `log.format`
    LogFormat { Text = "text", Json = "json", Journald = "journald" }
}

/// Settings as loaded, with where they came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub config: Config,
    /// The file read; `None` when there was none at the usual place and defaults hold.
    pub file: Option<PathBuf>,
    /// The lines of the settings the file names.
    pub lines: Lines,
}

/// Why there are no settings. The operator must act.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The file is wrong, in these places.
    Wrong(PathBuf, Vec<Problem>),
}

/// Where the settings are looked for when nothing else is said.
pub const DEFAULT_FILE: &str = "/etc/alignd/alignd.toml";

impl Config {
    /// The defaults, on a host of this name.
    pub fn defaults(host_name: &str) -> Self {
        Self {
            identity: IdentitySettings {
                authserv_id: host_name.to_owned(),
                org_name: String::new(),
                report_domain: None,
                contact: None,
                site_key: PathBuf::from("/var/lib/alignd/site.key"),
            },
            control: ControlSettings::default(),
            milter: MilterSettings::default(),
            trust: TrustSettings::default(),
            dns: DnsSettings::default(),
            dkim: DkimSettings::default(),
            arc: ArcSettings::default(),
            policy: PolicySettings::default(),
            quarantine: QuarantineSettings::default(),
            outcome: OutcomeSettings::default(),
            store: StoreSettings::default(),
            report: ReportSettings::default(),
            delivery: DeliverySettings::default(),
            metrics: MetricsSettings::default(),
            log: LogSettings {
                level: LogLevel::Info,
                format: LogFormat::Text,
            },
            exceptions: Vec::new(),
            stricter: Vec::new(),
        }
    }

    /// Reads a settings file's text; what it doesn't name has its default.
    pub fn parse(text: &str, host_name: &str) -> Result<(Self, Lines), Vec<Problem>> {
        let mut reader = Reader::new(text);
        let config = read::config(&mut reader, Self::defaults(host_name));
        reader.finish().map(|lines| (config, lines))
    }
}

/// Loads `file`, or `DEFAULT_FILE` when none is named. The latter may be absent.
pub fn load(file: Option<&Path>, host_name: &str) -> Result<Loaded, LoadError> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Loaded {
                config: Config::defaults(host_name),
                file: None,
                lines: Lines::new(),
            });
        }
        Err(error) => return Err(LoadError::Unreadable(path.to_owned(), error)),
    };
    match Config::parse(&text, host_name) {
        Ok((config, lines)) => Ok(Loaded {
            config,
            file: Some(path.to_owned()),
            lines,
        }),
        Err(problems) => Err(LoadError::Wrong(path.to_owned(), problems)),
    }
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(path, error) => {
                write!(f, "cannot read the settings in {}: {error}", path.display())
            }
            Self::Wrong(path, problems) => {
                for (at, problem) in problems.iter().enumerate() {
                    let end = if at > 0 { "\n" } else { "" };
                    write!(f, "{end}{}:{problem}", path.display())?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for LoadError {}
