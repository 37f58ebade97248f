//! The SMTP session with the smarthost: one recipient a transaction, the connection kept between mails.
//!
//! Owns the order of commands, what each answer means for the mail, and the time each may take. lettre
//! does the wire (framing, dot-stuffing, TLS, SASL); its types stop here. RFC 5321, RFC 3207, RFC 4954.

use super::answer::clean;
use super::{Delivery, DeliverySettings, Server, TlsMode, Whose};
use crate::report::destination::PlainAddress;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Rset};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;

/// A way to the smarthost, connected when it is first used.
pub struct Smtp {
    server: Server,
    tls: Tls,
    credentials: Option<Credentials>,
    hello: ClientId,
    timeouts: Timeouts,
    session: Option<Session>,
}

/// How long each step may take. The defaults are RFC 5321 §4.5.3.2's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect, with TLS.
    pub connect: Duration,
    /// For the greeting and for a command.
    pub command: Duration,
    /// For the content and the answer to its end.
    pub content: Duration,
}

/// Why there is no way to the smarthost. The operator must act.
#[derive(Debug)]
pub enum SmtpError {
    /// A file of the settings cannot be read.
    Unreadable {
        setting: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// `delivery.tls_ca` holds no certificate, or the system none either.
    Certificates(String),
    /// The password would go to whoever answers.
    PasswordUnprotected,
}

enum Tls {
    Never,
    /// `true`: from the first octet.
    Checked(TlsParameters, bool),
    Opportunistic(TlsParameters),
}

struct Session {
    connection: AsyncSmtpConnection,
    /// Mails that it has carried.
    mails: u32,
}

/// What went wrong at one step.
enum Trouble {
    /// The server refused: its code and words.
    Said { code: u16, answer: String },
    /// No answer that can be understood: the connection is of no use any more.
    Lost(String),
}

impl Smtp {
    /// Reads what the settings name. `host_name` is what EHLO says.
    pub fn open(
        settings: &DeliverySettings,
        host_name: &str,
        timeouts: Timeouts,
    ) -> Result<Self, SmtpError> {
        let host = &settings.smtp.host;
        let tls = match settings.tls {
            TlsMode::None => Tls::Never,
            TlsMode::Required => Tls::Checked(checked(host, settings.tls_ca.as_deref())?, false),
            TlsMode::Implicit => Tls::Checked(checked(host, settings.tls_ca.as_deref())?, true),
            TlsMode::Opportunistic => Tls::Opportunistic(unchecked(host)?),
        };
        let credentials = match (&settings.username, &settings.password_file) {
            (Some(_), Some(_)) if !settings.protects_password() => {
                return Err(SmtpError::PasswordUnprotected);
            }
            (Some(username), Some(file)) => {
                let password = read("delivery.password_file", file)?;
                let password = String::from_utf8_lossy(&password).trim_end().to_owned();
                Some(Credentials::new(username.clone(), password))
            }
            (Some(_) | None, _) => None,
        };
        Ok(Self {
            server: settings.smtp.clone(),
            tls,
            credentials,
            hello: ClientId::Domain(host_name.to_owned()),
            timeouts,
            session: None,
        })
    }

    /// Hands one mail over, its lines ended by CRLF.
    pub async fn send(
        &mut self,
        return_path: &PlainAddress,
        recipient: &PlainAddress,
        mail: &[u8],
    ) -> Delivery {
        let mut session = match self.session_for(return_path).await {
            Ok(session) => session,
            Err(trouble) => return trouble.deferred(Whose::Server),
        };
        let (delivery, usable) = transaction(&mut session, recipient, mail, self.timeouts).await;
        session.mails = session.mails.saturating_add(1);
        if usable && session.mails < MAX_MAILS {
            self.session = Some(session);
        } else if usable {
            self.part(session).await;
        }
        delivery
    }

    /// Says good-bye, if there is anyone to say it to.
    pub async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            self.part(session).await;
        }
    }

    async fn part(&self, mut session: Session) {
        // There is nothing left to be done about an answer, and nobody is to wait long for it.
        let limit = self.timeouts.command.min(GOOD_BYE);
        _ = step(limit, session.connection.quit()).await;
    }

    /// A session that has accepted MAIL: the kept one if it still does, else a new one.
    async fn session_for(&mut self, return_path: &PlainAddress) -> Result<Session, Trouble> {
        if let Some(mut session) = self.session.take() {
            match self.mail(&mut session, return_path).await {
                Ok(()) => return Ok(session),
                // Servers close idle connections, and say 421 or nothing at all.
                Err(Trouble::Lost(_) | Trouble::Said { code: 421, .. }) => {}
                Err(said) => return Err(said),
            }
        }
        let connection = self.connect().await?;
        let mut session = Session {
            connection,
            mails: 0,
        };
        self.mail(&mut session, return_path).await?;
        Ok(session)
    }

    async fn mail(&self, session: &mut Session, return_path: &PlainAddress) -> Result<(), Trouble> {
        let command = Command(format!("MAIL FROM:<{return_path}>"));
        step(self.timeouts.command, session.connection.command(command)).await?;
        Ok(())
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Trouble> {
        let mut connection = match &self.tls {
            Tls::Never => self.plain().await?,
            Tls::Checked(parameters, true) => self.reach(Some(parameters.clone())).await?,
            Tls::Checked(parameters, false) => {
                let mut connection = self.plain().await?;
                if !connection.can_starttls() {
                    let text =
                        "the server offers no STARTTLS, which delivery.tls = \"required\" needs";
                    return Err(Trouble::Lost(text.to_owned()));
                }
                self.encrypt(&mut connection, parameters).await?;
                connection
            }
            Tls::Opportunistic(parameters) => {
                let mut connection = self.plain().await?;
                let encrypted = match connection.can_starttls() {
                    true => self.encrypt(&mut connection, parameters).await,
                    false => Ok(()),
                };
                match encrypted {
                    Ok(()) => connection,
                    // RFC 7435 §3: a broken offer is no better and no worse than none.
                    Err(_) => self.plain().await?,
                }
            }
        };
        if let Some(credentials) = &self.credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let auth = connection.auth(&mechanisms, credentials);
            step(self.timeouts.command, auth).await?;
        }
        Ok(connection)
    }

    async fn plain(&self) -> Result<AsyncSmtpConnection, Trouble> {
        self.reach(None).await
    }

    async fn reach(&self, tls: Option<TlsParameters>) -> Result<AsyncSmtpConnection, Trouble> {
        let server = (self.server.host.as_str(), self.server.port);
        let limit = self.timeouts.connect.saturating_add(self.timeouts.command);
        let connect = Some(self.timeouts.connect);
        let connection =
            AsyncSmtpConnection::connect_tokio1(server, connect, &self.hello, tls, None);
        step(limit, connection).await
    }

    async fn encrypt(
        &self,
        connection: &mut AsyncSmtpConnection,
        parameters: &TlsParameters,
    ) -> Result<(), Trouble> {
        let starttls = connection.starttls(parameters.clone(), &self.hello);
        step(self.timeouts.connect, starttls).await
    }
}

/// From RCPT to the answer to the final dot, after MAIL. Tells whether the session can go on.
async fn transaction(
    session: &mut Session,
    recipient: &PlainAddress,
    mail: &[u8],
    timeouts: Timeouts,
) -> (Delivery, bool) {
    let connection = &mut session.connection;
    let rcpt = Command(format!("RCPT TO:<{recipient}>"));
    let prepared = match step(timeouts.command, connection.command(rcpt)).await {
        Ok(_) => step(timeouts.command, connection.command(Data))
            .await
            .and_then(expect_354),
        Err(trouble) => Err(trouble),
    };
    if let Err(trouble) = prepared {
        let usable = trouble.leaves_the_session()
            && step(timeouts.command, connection.command(Rset))
                .await
                .is_ok();
        return (trouble.for_recipient(), usable);
    }
    // lettre ends the content with CRLF, dot, CRLF.
    let mail = mail.strip_suffix(b"\r\n").unwrap_or(mail);
    match step(timeouts.content, connection.message(mail)).await {
        Ok(response) => {
            let answer = words(&response);
            (Delivery::Sent { answer }, true)
        }
        Err(Trouble::Lost(answer)) => {
            let delivery = Delivery::Deferred {
                answer: clean(&format!(
                    "no answer to the mail, which may have arrived: {answer}"
                )),
                whose: Whose::Server,
                maybe_sent: true,
            };
            (delivery, false)
        }
        Err(trouble) => {
            let usable = trouble.leaves_the_session();
            (trouble.for_recipient(), usable)
        }
    }
}

/// RFC 5321 §4.3.2: DATA is answered by 354; anything else that is no refusal is no SMTP.
fn expect_354(response: Response) -> Result<Response, Trouble> {
    if u16::from(response.code()) == 354 {
        return Ok(response);
    }
    Err(Trouble::Lost(format!(
        "an answer to DATA that is not 354: {}",
        words(&response)
    )))
}

async fn step<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
) -> Result<T, Trouble> {
    match timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Trouble::of(&error)),
        Err(_) => Err(Trouble::Lost(format!(
            "no answer within {} s",
            limit.as_secs()
        ))),
    }
}

fn words(response: &Response) -> String {
    let text: Vec<&str> = response.message().collect();
    clean(&format!("{} {}", response.code(), text.join(" ")))
}

impl Trouble {
    fn of(error: &lettre::transport::smtp::Error) -> Self {
        let source = error.source().map(ToString::to_string);
        match error.status() {
            Some(code) => Self::Said {
                code: code.into(),
                answer: clean(&format!("{code} {}", source.unwrap_or_default())),
            },
            None => Self::Lost(clean(&error.to_string())),
        }
    }

    /// RFC 5321 §3.8: after 421 the server closes the channel.
    fn leaves_the_session(&self) -> bool {
        match self {
            Self::Said { code, .. } => *code != 421,
            Self::Lost(_) => false,
        }
    }

    fn deferred(self, whose: Whose) -> Delivery {
        let (Self::Said { answer, .. } | Self::Lost(answer)) = self;
        Delivery::Deferred {
            answer,
            whose,
            maybe_sent: false,
        }
    }

    /// What it means after MAIL was accepted, RFC 5321 §4.2.1: 5yz is for good, for this mail.
    fn for_recipient(self) -> Delivery {
        match self {
            Self::Said { code: 421, .. } | Self::Lost(_) => self.deferred(Whose::Server),
            Self::Said { code, answer } if code >= 500 => Delivery::Refused { answer },
            Self::Said { .. } => self.deferred(Whose::Recipient),
        }
    }
}

/// A command line that lettre has no type for without its own addresses.
struct Command(String);

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\r\n", self.0)
    }
}

fn checked(host: &str, ca: Option<&Path>) -> Result<TlsParameters, SmtpError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(file) = ca {
        let pem = read("delivery.tls_ca", file)?;
        let problem = |text: &str| SmtpError::Certificates(format!("{}: {text}", file.display()));
        if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
            return Err(problem("no certificate in PEM"));
        }
        let certificate =
            Certificate::from_pem(&pem).map_err(|error| problem(&error.to_string()))?;
        builder = builder.add_root_certificate(certificate);
    }
    build(builder.build())
}

fn unchecked(host: &str) -> Result<TlsParameters, SmtpError> {
    let builder = TlsParameters::builder(host.to_owned())
        .certificate_store(CertificateStore::None)
        .dangerous_accept_invalid_certs(true)
        .dangerous_accept_invalid_hostnames(true);
    build(builder.build())
}

fn build(
    built: Result<TlsParameters, lettre::transport::smtp::Error>,
) -> Result<TlsParameters, SmtpError> {
    built.map_err(|error| SmtpError::Certificates(error.to_string()))
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, SmtpError> {
    std::fs::read(path).map_err(|source| SmtpError::Unreadable {
        setting,
        path: path.to_owned(),
        source,
    })
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(60),
            command: Duration::from_secs(5 * 60),
            content: Duration::from_secs(10 * 60),
        }
    }
}

impl fmt::Debug for Smtp {
    /// Never the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SmtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable {
                setting,
                path,
                source,
            } => write!(
                f,
                "{setting}: {}: {source}; make it readable for alignd's user",
                path.display()
            ),
            Self::Certificates(problem) => write!(
                f,
                "certificates for delivery.tls: {problem}; install ca-certificates, or set delivery.tls_ca"
            ),
            Self::PasswordUnprotected => f.write_str(
                "delivery.username: the password would go to whoever answers; set delivery.tls = \"required\" or \"implicit\"",
            ),
        }
    }
}

impl std::error::Error for SmtpError {}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// Mails over one connection; Postfix counts them for its limits, too.
const MAX_MAILS: u32 = 100;
/// How long the answer to QUIT is waited for.
const GOOD_BYE: Duration = Duration::from_secs(5);
