//! What the tests need of an MTA, whichever it is.

use crate::mailbox::Mail;
use crate::smtp::{Client, Session};
use crate::wait;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The file of alignd's socket in `Mta::sockets`.
pub const ALIGND: &str = "milter.sock";
/// The file of another milter's socket there.
pub const OTHER: &str = "other.sock";

/// A running MTA that ends with the value.
pub trait Mta: Send + Sync {
    /// An SMTP session as `client`, who has said HELO.
    fn session(&self, client: &Client) -> Session;

    /// Where its SMTP server listens for programs of the same host.
    fn smtp(&self) -> SocketAddrV4;

    /// sendmail(1) of the same host.
    fn command(&self) -> Command;

    /// Hands mail over as a program of the same host does.
    fn submit(&self, from: &str, message: &[u8]) {
        let mut sendmail = self
            .command()
            .args(["-f", from, "reader@receiver.example"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nsenter (util-linux) can be run");
        let mut input = sendmail.stdin.take().expect("it is piped");
        input.write_all(message).expect("sendmail reads");
        drop(input);
        let ended = sendmail.wait().expect("it is our child");
        assert!(ended.success(), "sendmail: {ended}");
    }

    /// The directory where milters have their sockets.
    fn sockets(&self) -> PathBuf;

    /// A process in its namespaces.
    fn namespace(&self) -> u32;

    /// A command beside its processes: nsenter and its arguments, what is to run comes behind them.
    fn inside(&self) -> Command {
        // Process 1 of the namespace is the one child of the process that made it.
        let outer = self.namespace();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"));
        let mut nsenter = Command::new("nsenter");
        nsenter
            .args(["--mount", "--pid", "--root", "--target"])
            .arg(children.expect("it is our child").trim());
        nsenter
    }

    /// Stops it, as an operator does; its queue stays.
    fn go_down(&self) {
        let pid = fs::read_to_string(self.pid_file()).expect("it runs");
        let pid = pid.lines().next().expect("a process id").trim().to_owned();
        let kill = |signal: &str| {
            let mut kill = self.inside();
            kill.args(["kill", signal, &pid]).stderr(Stdio::null());
            let ended = kill.status().expect("nsenter (util-linux) can be run");
            ended.success()
        };
        assert!(kill("-TERM"), "it runs");
        wait::until("the MTA has stopped", || (!kill("-0")).then_some(()));
    }

    /// Starts it again.
    fn come_up(&self);

    /// Its first line is the process of the MTA that starts all the others.
    fn pid_file(&self) -> PathBuf;

    /// The mail log so far.
    fn log(&self) -> String;

    /// Its network namespace.
    fn network(&self) -> File {
        let file = format!("/proc/{}/ns/net", self.namespace());
        File::open(file).expect("our own child's namespace can be opened")
    }

    /// The message with this queue id as it lies in the hold queue, if it does.
    fn held(&self, queue_id: &str) -> Option<Mail>;

    /// The reason a milter gave for holding it, where the MTA keeps that.
    fn held_because(&self, queue_id: &str) -> Option<String>;

    /// Lets a held message go, as an operator does by hand.
    fn release(&self, queue_id: &str);

    /// Takes it out of the hold queue, as an operator does by hand; it stays in the queue.
    fn let_go(&self, queue_id: &str);

    /// Puts a message that is in the queue on hold, as an operator does by hand.
    fn put_on_hold(&self, queue_id: &str);

    /// Deletes a held message, as an operator does by hand.
    fn delete(&self, queue_id: &str);

    /// Puts it in as new, as an operator of Postfix does by hand.
    fn put_in_again(&self, queue_id: &str);

    /// Tries everything in the queue that isn't held.
    fn run_queue(&self);

    /// Everything delivered so far.
    fn mailbox(&self) -> Vec<Mail>;

    /// The mail with this queue id as it was delivered; waits for it.
    fn delivered(&self, queue_id: &str) -> Mail {
        let id = format!(" id {queue_id}");
        let is_it = |mail: &Mail| mail.fields("Received").iter().any(|r| r.contains(&id));
        wait::until(&format!("delivery of {queue_id}"), || {
            self.mailbox().into_iter().find(is_it)
        })
    }
}
