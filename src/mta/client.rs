//! `Helper`: the daemon's end of the helper's socket, one connection for each request.
//!
//! Knows no MTA. Every wait has an end, and what comes back is bounded.

use super::wire::{Answer, MAX_ANSWER, Request, shown};
use super::{HeldEntry, MAX_ENTRIES, Part, Place, QueueId, Released, Shown};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Asks `alignd mta-helper`.
#[derive(Debug, Clone)]
pub struct Helper {
    socket: PathBuf,
}

/// The helper didn't do it; the text says whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HelperError {
    /// Nobody listens there, or whoever does says nothing sensible. The operator must act.
    Unreachable(String),
    /// It doesn't serve this user. The operator must act.
    Refused(String),
    /// The mail isn't held, so there is nothing to do: released, deleted or gone already.
    NotHeld(Place),
    /// Later.
    Busy(String),
    /// The MTA didn't do it. The operator must look at the MTA.
    Failed(String),
}

impl Helper {
    /// `socket` is `quarantine.helper_socket`.
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Hands over each mail in the hold queue, whoever put it there. `true`: there are more than `MAX_ENTRIES`.
    pub async fn list(&self, mut each: impl FnMut(HeldEntry)) -> Result<bool, HelperError> {
        let mut answers = self.ask(&Request::List).await?;
        for _ in 0..=MAX_ENTRIES {
            match answers.next().await? {
                Answer::Held(entry) => {
                    let entry = HeldEntry::try_from(entry);
                    each(entry.map_err(|_| answers.nonsense())?);
                }
                Answer::Listed { more } => return Ok(more),
                other => return Err(answers.instead(other)),
            }
        }
        Err(answers.nonsense())
    }

    /// A held message as it lies in the queue.
    pub async fn show(&self, queue_id: &QueueId, part: Part) -> Result<Shown, HelperError> {
        let queue_id = queue_id.to_string();
        let part = part.into();
        let mut answers = self.ask(&Request::Show { queue_id, part }).await?;
        match answers.next().await? {
            Answer::Shown { base64, cut } => shown(&base64, cut).ok_or_else(|| answers.nonsense()),
            other => Err(answers.instead(other)),
        }
    }

    /// Takes it out of the hold queue and begins its delivery. Mail that was held for longer than a third of the
    /// time that Postfix keeps mail in its queue is put in as new.
    pub async fn release(&self, queue_id: &QueueId) -> Result<Released, HelperError> {
        let queue_id = queue_id.to_string();
        self.let_go(&Request::Release { queue_id }).await
    }

    /// Puts held mail in as new, under another id (Postfix alone).
    pub async fn requeue(&self, queue_id: &QueueId) -> Result<Released, HelperError> {
        let queue_id = queue_id.to_string();
        self.let_go(&Request::Requeue { queue_id }).await
    }

    /// Deletes held mail, without a bounce.
    pub async fn delete(&self, queue_id: &QueueId) -> Result<(), HelperError> {
        let queue_id = queue_id.to_string();
        let mut answers = self.ask(&Request::Delete { queue_id }).await?;
        match answers.next().await? {
            Answer::Deleted {} => Ok(()),
            other => Err(answers.instead(other)),
        }
    }

    /// Where it is now.
    pub async fn locate(&self, queue_id: &QueueId) -> Result<Place, HelperError> {
        let queue_id = queue_id.to_string();
        let mut answers = self.ask(&Request::Locate { queue_id }).await?;
        match answers.next().await? {
            Answer::Place(place) => Ok(place.into()),
            other => Err(answers.instead(other)),
        }
    }

    /// Where each of them is now, at most `MAX_FOUND`, in this order; one that moves meanwhile may be missed.
    pub async fn find(&self, queue_ids: &[QueueId]) -> Result<Vec<Place>, HelperError> {
        let queue_ids: Vec<String> = queue_ids.iter().map(QueueId::to_string).collect();
        let asked = queue_ids.len();
        let mut answers = self.ask(&Request::Find { queue_ids }).await?;
        match answers.next().await? {
            Answer::Found(places) if places.len() == asked => {
                Ok(places.into_iter().map(Place::from).collect())
            }
            other => Err(answers.instead(other)),
        }
    }

    async fn let_go(&self, request: &Request) -> Result<Released, HelperError> {
        let mut answers = self.ask(request).await?;
        match answers.next().await? {
            Answer::Released(released) => released.try_into().map_err(|_| answers.nonsense()),
            other => Err(answers.instead(other)),
        }
    }

    async fn ask(&self, request: &Request) -> Result<Answers<'_>, HelperError> {
        let line = serde_json::to_string(request).map_err(|_| self.nonsense())? + "\n";
        let connected = async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            stream.write_all(line.as_bytes()).await?;
            Ok(stream)
        };
        let stream = match timeout(PATIENCE, connected).await {
            Ok(stream) => stream.map_err(|error| self.unreachable(&error))?,
            Err(_) => return Err(HelperError::Busy(self.silent())),
        };
        Ok(Answers {
            helper: self,
            stream: BufReader::new(stream),
        })
    }

    fn unreachable(&self, error: &io::Error) -> HelperError {
        let socket = self.socket.display();
        HelperError::Unreachable(format!(
            "quarantine.helper_socket: {socket}: {error}; is alignd-mta-helper.socket started?"
        ))
    }

    fn silent(&self) -> String {
        let (socket, seconds) = (self.socket.display(), PATIENCE.as_secs());
        format!("alignd mta-helper at {socket} said nothing for {seconds} s")
    }

    fn ended(&self) -> HelperError {
        let socket = self.socket.display();
        HelperError::Unreachable(format!(
            "quarantine.helper_socket: alignd mta-helper at {socket} ended amid its answer; its log says why: journalctl -u 'alignd-mta-helper*'"
        ))
    }

    fn nonsense(&self) -> HelperError {
        let socket = self.socket.display();
        HelperError::Unreachable(format!(
            "quarantine.helper_socket: what answers at {socket} is no alignd mta-helper of this version"
        ))
    }
}

/// What comes back.
struct Answers<'h> {
    helper: &'h Helper,
    stream: BufReader<UnixStream>,
}

impl Answers<'_> {
    async fn next(&mut self) -> Result<Answer, HelperError> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.stream).take(MAX_ANSWER);
        let read = timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await;
        match read {
            Ok(Ok(0)) => Err(self.helper.ended()),
            Ok(Ok(_)) => serde_json::from_slice(&line).map_err(|_| {
                let is_whole = line.ends_with(b"\n") || line.len() as u64 >= MAX_ANSWER;
                match is_whole {
                    true => self.nonsense(),
                    false => self.helper.ended(),
                }
            }),
            Ok(Err(error)) => Err(self.helper.unreachable(&error)),
            Err(_) => Err(HelperError::Busy(self.helper.silent())),
        }
    }

    /// What another answer than the one that was asked for means.
    fn instead(&self, answer: Answer) -> HelperError {
        match answer {
            Answer::NotHeld(place) => HelperError::NotHeld(place.into()),
            Answer::Refused(text) => HelperError::Refused(text),
            Answer::Busy(text) => HelperError::Busy(text),
            Answer::Failed(text) => HelperError::Failed(text),
            Answer::NotUnderstood(_)
            | Answer::Held(_)
            | Answer::Listed { .. }
            | Answer::Shown { .. }
            | Answer::Released(_)
            | Answer::Deleted {}
            | Answer::Place(_)
            | Answer::Found(_) => self.nonsense(),
        }
    }

    fn nonsense(&self) -> HelperError {
        self.helper.nonsense()
    }
}

impl fmt::Display for HelperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHeld(place) => write!(f, "the mail is not held: it is {place}"),
            Self::Unreachable(text)
            | Self::Refused(text)
            | Self::Busy(text)
            | Self::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for HelperError {}

/// How long each answer may take: longer than the helper gives a command of the MTA's.
const PATIENCE: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixListener;

    /// What the helper says before it ends, and what is told of it.
    #[tokio::test]
    async fn a_helper_that_ends_is_not_taken_for_another_version() {
        for (answer, expected) in [
            ("", "ended amid its answer"),
            ("{\"found\":[", "ended amid its answer"),
            ("hello\n", "is no alignd mta-helper of this version"),
        ] {
            let home = tempfile::tempdir().unwrap();
            let socket = home.path().join("helper.sock");
            let listener = UnixListener::bind(&socket).unwrap();
            let helper = Helper::new(&socket);
            let ends = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 1_024];
                assert!(stream.read(&mut asked).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            };
            let id = QueueId::parse("4jXW5m5GBtz1Stg").unwrap();
            let ids = [id];
            let (found, ()) = tokio::join!(helper.find(&ids), ends);
            let told = found.unwrap_err().to_string();
            assert!(told.contains(expected), "{answer}: {told}");
        }
    }
}
