//! From indymilter's callbacks to the session and back: translation only.
//!
//! Owns the order in which an MTA may say things (ABORT forgets the message but not HELO, the next MAIL
//! is a new message whatever came before), the progress packets, and that a panic costs one message
//! its answer, not the connection. Knows nothing of what is found out.

use super::Service;
use super::asking::panic_text;
use super::client::{Client, MAX_NAME, bounded};
use super::judge::{Answer, judge};
use super::link::Link;
use super::negotiate::Negotiated;
use super::reply;
use super::session::{Connection, Reading, Transaction};
use crate::dns::Resolver;
use futures_util::FutureExt;
use indymilter::{Callbacks, Context, ContextActions, EomActions, EomContext};
use indymilter::{Macros, ProtoOpts, SocketInfo, Status};
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, interval_at};
use tracing::{debug, error, warn};

/// One MTA connection, from the first packet to the last.
pub struct Conversation<R> {
    service: Arc<Service<R>>,
    link: Arc<Link>,
    negotiated: Negotiated,
    connection: Connection,
    stage: Stage<R>,
}

enum Stage<R> {
    /// No message in hand.
    Idle,
    Transaction(Box<Transaction<R>>),
    /// Whoever takes the octets of the body shares it.
    Reading(Arc<Mutex<Reading<R>>>),
    /// The message in hand met a panic: it will be deferred.
    Broken,
}

/// The callbacks of one connection.
pub fn callbacks<R: Resolver + 'static>(
    service: &Arc<Service<R>>,
    link: Arc<Link>,
) -> Callbacks<Conversation<R>> {
    let service = Arc::clone(service);
    Callbacks::new()
        .on_negotiate(move |cx, actions, options| {
            let negotiated = Negotiated::from_offer(actions, options);
            cx.requested_actions = negotiated.actions();
            cx.requested_opts = negotiated.options();
            cx.requested_macros = negotiated.macros();
            let conversation = Conversation::new(&service, &link, negotiated);
            cx.data = Some(conversation);
            Box::pin(async { Status::Continue })
        })
        .on_connect(|cx, name, socket| {
            quiet(cx, ProtoOpts::NOREPLY_CONNECT, |c, m| {
                c.connect(&name, &socket, m)
            })
        })
        .on_helo(|cx, name| quiet(cx, ProtoOpts::NOREPLY_HELO, |c, _| c.helo(&name)))
        .on_mail(|cx, words| {
            quiet(cx, ProtoOpts::NOREPLY_MAIL, |c, m| {
                c.mail(words.first().map(AsRef::as_ref), m)
            })
        })
        .on_rcpt(|cx, words| {
            quiet(cx, ProtoOpts::NOREPLY_RCPT, |c, _| {
                c.rcpt(words.first().map(AsRef::as_ref))
            })
        })
        .on_data(|cx| quiet(cx, ProtoOpts::NOREPLY_DATA, Conversation::data))
        .on_header(|cx, name, value| {
            quiet(cx, ProtoOpts::NOREPLY_HEADER, |c, _| {
                c.header(&name, &value)
            })
        })
        .on_eoh(|cx| {
            quiet(cx, ProtoOpts::NOREPLY_EOH, |c, _| {
                c.end_of_header();
                c.body_may_come();
            })
        })
        .on_body(|cx, octets| {
            let status = quiet(cx, ProtoOpts::NOREPLY_BODY, |c, _| c.body(&octets));
            match &cx.data {
                // Octets that come with the end of the message have no reply of their own.
                Some(c) if c.link.at_end_of_message() => done(Status::Continue),
                Some(c) if c.may_skip_body() => done(Status::Skip),
                Some(_) | None => status,
            }
        })
        .on_eom(|cx| Box::pin(end_of_message(cx)))
        .on_abort(|cx| {
            if let Some(conversation) = &mut cx.data {
                conversation.give_up("abort");
            }
            done(Status::Continue)
        })
        .on_close(|cx| {
            if let Some(conversation) = &mut cx.data {
                conversation.give_up("close");
            }
            done(Status::Continue)
        })
}

type Callback<'cx> = indymilter::CallbackFuture<'cx>;

fn done<'cx>(status: Status) -> Callback<'cx> {
    Box::pin(std::future::ready(status))
}

/// Runs one step, which has nothing to say to the MTA, and sees to its panics.
fn quiet<'cx, R: Resolver + 'static>(
    cx: &mut Context<Conversation<R>>,
    no_reply: ProtoOpts,
    step: impl FnOnce(&mut Conversation<R>, &Macros),
) -> Callback<'cx> {
    let Some(conversation) = &mut cx.data else {
        return done(Status::Continue);
    };
    let macros = &cx.macros;
    let stepped = catch_unwind(AssertUnwindSafe(|| step(conversation, macros)));
    if let Err(panic) = stepped {
        told_broken(&panic_text(panic.as_ref()), None);
        conversation.stage = Stage::Broken;
    }
    if conversation.negotiated.options().contains(no_reply) {
        Box::pin(Silence)
    } else {
        done(Status::Continue)
    }
}

/// How most steps end: a box of something without a size takes no memory.
struct Silence;

impl Future for Silence {
    type Output = Status;

    fn poll(self: Pin<&mut Self>, _cx: &mut std::task::Context<'_>) -> Poll<Status> {
        Poll::Ready(Status::Noreply)
    }
}

impl<R: Resolver + 'static> Conversation<R> {
    fn new(service: &Arc<Service<R>>, link: &Arc<Link>, negotiated: Negotiated) -> Self {
        if !negotiated.missing().is_empty() {
            let missing = format!("{:?}", negotiated.missing());
            warn!(missing, "the MTA doesn't allow header changes");
        }
        if negotiated.options().contains(ProtoOpts::NOREPLY_BODY) {
            link.leave_body_unanswered();
        }
        Self {
            service: Arc::clone(service),
            link: Arc::clone(link),
            negotiated,
            connection: Connection {
                client: Client::unknown(),
                helo: None,
                daemon_name: None,
            },
            stage: Stage::Idle,
        }
    }

    fn connect(&mut self, name: &CStr, socket: &SocketInfo, macros: &Macros) {
        self.give_up("connect");
        self.connection = Connection {
            client: Client::read(name, socket, macros.get(c"{client_addr}")),
            helo: None,
            daemon_name: text(macros, c"{daemon_name}"),
        };
    }

    fn helo(&mut self, name: &CStr) {
        self.connection.helo = Some(bounded(name, MAX_NAME));
    }

    fn mail(&mut self, path: Option<&CStr>, macros: &Macros) {
        self.give_up("mail");
        self.link.begin();
        let path = path.map(CStr::to_string_lossy).unwrap_or_default();
        let authenticated = text(macros, c"{auth_authen}").is_some();
        let queue_id = text(macros, c"i");
        let connection = &self.connection;
        let begun = connection.mail(&path, authenticated, queue_id, &self.service);
        self.stage = Stage::Transaction(Box::new(begun));
    }

    fn rcpt(&mut self, path: Option<&CStr>) {
        if let Stage::Transaction(transaction) = &mut self.stage {
            let path = path.map(CStr::to_string_lossy).unwrap_or_default();
            transaction.rcpt(&path);
            self.header_may_come();
        }
    }

    fn data(&mut self, macros: &Macros) {
        if let Stage::Transaction(transaction) = &mut self.stage {
            transaction.queue_id(|| text(macros, c"i"));
            self.header_may_come();
        }
    }

    /// A field that didn't go past indymilter.
    fn header(&mut self, name: &CStr, value: &CStr) {
        self.take_fields();
        let value = self.negotiated.with_leading_space(value.to_bytes());
        if let Stage::Transaction(transaction) = &mut self.stage {
            transaction.header(name.to_bytes(), &value);
            self.header_may_come();
        }
    }

    /// Fields that the MTA wants no reply to need not pass through indymilter's tasks one by one.
    fn header_may_come(&self) {
        if self
            .negotiated
            .options()
            .contains(ProtoOpts::NOREPLY_HEADER)
        {
            self.link.want_fields();
        }
    }

    /// Takes the fields that went past indymilter.
    fn take_fields(&mut self) {
        let fields = self.link.take_fields();
        if let Stage::Transaction(transaction) = &mut self.stage {
            let mut texts = fields.split(|octet| *octet == 0);
            while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
                let value = self.negotiated.with_leading_space(value);
                transaction.header(name, &value);
            }
        }
    }

    fn end_of_header(&mut self) {
        self.take_fields();
        // While the stage is away, a panic finds nothing half done.
        self.stage = match std::mem::replace(&mut self.stage, Stage::Broken) {
            Stage::Transaction(transaction) => {
                Stage::Reading(Arc::new(Mutex::new(transaction.end_of_header())))
            }
            other => other,
        };
    }

    /// Body octets that didn't go past indymilter.
    fn body(&mut self, octets: &[u8]) {
        self.end_of_header();
        if let Stage::Reading(reading) = &self.stage {
            take_body(reading, octets);
        }
        self.body_may_come();
    }

    /// Body packets that the MTA wants no reply to need not pass through indymilter's tasks, nor be there whole.
    fn body_may_come(&self) {
        if let Stage::Reading(reading) = &self.stage
            && !self.link.replies_to_body()
            && !self.link.at_end_of_message()
        {
            let reading = Arc::clone(reading);
            self.link
                .want_body(Box::new(move |octets| take_body(&reading, octets)));
        }
    }

    /// Whether the MTA can be told to keep the rest of the body to itself.
    fn may_skip_body(&self) -> bool {
        let options = self.negotiated.options();
        let can_be_told =
            options.contains(ProtoOpts::SKIP) && !options.contains(ProtoOpts::NOREPLY_BODY);
        match &self.stage {
            Stage::Reading(reading) => {
                let reading = reading.lock();
                can_be_told && reading.is_ok_and(|reading| reading.is_done_with_body())
            }
            Stage::Idle | Stage::Transaction(_) | Stage::Broken => false,
        }
    }

    /// The message in hand, if there is one, ends without an answer of ours.
    fn give_up(&mut self, at: &'static str) {
        drop(self.link.take_fields());
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => {}
            Stage::Transaction(_) | Stage::Reading(_) | Stage::Broken => {
                metrics::counter!("alignd_messages_aborted_total").increment(1);
                debug!(at, "a message ends before its end");
            }
        }
        self.link.end();
    }
}

async fn end_of_message<R: Resolver + 'static>(cx: &mut EomContext<Conversation<R>>) -> Status {
    let Some(conversation) = &mut cx.data else {
        return Status::Tempfail;
    };
    conversation.end_of_header();
    let (link, negotiated) = (Arc::clone(&conversation.link), conversation.negotiated);
    let began = Instant::now();
    link.expect_answer();
    let stage = std::mem::replace(&mut conversation.stage, Stage::Idle);
    let reading = match stage {
        // No one else has it any more, and after a panic no one has it.
        Stage::Reading(reading) => Arc::into_inner(reading).and_then(|r| r.into_inner().ok()),
        Stage::Idle | Stage::Transaction(_) | Stage::Broken => None,
    };
    let mut answer = match reading {
        Some(mut reading) => {
            reading.queue_id(|| text(&cx.macros, c"i"));
            answer(reading, &cx.actions, &link).await
        }
        None => Answer::try_later(),
    };
    if answer.hold.is_some() && !negotiated.can_hold() {
        answer.cannot_be_held();
    }
    if let Some(awaited) = answer.awaited.take() {
        link.on_answer(Box::new(move |fate| awaited.settle(fate)));
    }
    let status = reply::give(&answer, negotiated, &cx.actions, &mut cx.reply).await;
    let seconds = began.elapsed().as_secs_f64();
    metrics::histogram!("alignd_end_of_message_seconds").record(seconds);
    status
}

/// Finishes a message, whatever happens.
async fn answer<R: Resolver + 'static>(
    mut reading: Reading<R>,
    actions: &EomActions,
    link: &Link,
) -> Answer {
    let queue_id = reading.facts().envelope.queue_id.clone();
    let service = Arc::clone(reading.service());
    let work = async {
        if let Some(answer) = reading.returned().await {
            return Ok(answer);
        }
        let complete = reading.complete().await.map_err(|broken| broken.0)?;
        judge(complete, &service)
            .await
            .map_err(|_| "the system has no random numbers".to_owned())
    };
    let work = AssertUnwindSafe(work).catch_unwind();
    match attended(work, service.progress, actions, link).await {
        Some(Ok(Ok(answer))) => answer,
        Some(Ok(Err(problem))) => {
            told_broken(&problem, queue_id.as_deref());
            Answer::try_later()
        }
        Some(Err(panic)) => {
            told_broken(&panic_text(panic.as_ref()), queue_id.as_deref());
            Answer::try_later()
        }
        None => {
            metrics::counter!("alignd_messages_aborted_total").increment(1);
            debug!(queue_id, "the MTA hung up at the end of a message");
            Answer::try_later()
        }
    }
}

/// Waits for `work`, telling the MTA every now and then that it isn't forgotten; `None` when the MTA
/// has hung up.
async fn attended<T>(
    work: impl Future<Output = T>,
    every: Duration,
    actions: &EomActions,
    link: &Link,
) -> Option<T> {
    let gone = link.socket().peer_gone();
    let mut progress = interval_at(Instant::now() + every, every);
    tokio::pin!(work, gone);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            () = &mut gone => return None,
            _ = progress.tick() => actions.progress().await.ok()?,
        }
    }
}

fn told_broken(problem: &str, queue_id: Option<&str>) {
    metrics::counter!("alignd_errors_total", "kind" => "panic").increment(1);
    error!(
        queue_id,
        problem, "a message is deferred because of a fault in alignd; please report it"
    );
}

/// A panic in it poisons the message's lock: the message will be deferred.
fn take_body<R: Resolver + 'static>(reading: &Mutex<Reading<R>>, octets: &[u8]) {
    let taken = catch_unwind(AssertUnwindSafe(|| {
        if let Ok(mut reading) = reading.lock() {
            reading.body(octets);
        }
    }));
    if let Err(panic) = taken {
        told_broken(&panic_text(panic.as_ref()), None);
    }
}

fn text(macros: &Macros, name: &CStr) -> Option<String> {
    let value = bounded(macros.get(name)?, MAX_NAME);
    (!value.is_empty()).then_some(value)
}
