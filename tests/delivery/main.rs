//! Delivery of report mail: against a server that misbehaves on demand, and through a real Postfix.

mod bounces;
mod kills;
mod misbehaviour;
mod outbox;
mod program;
mod signing;
mod slow_dns;
mod status;
mod window;

#[path = "../support/dkim.rs"]
mod dkim;
#[path = "../support/kept_reports.rs"]
mod kept_reports;
#[path = "../support/plain_verdict.rs"]
mod plain_verdict;
#[path = "../support/python.rs"]
mod python;
#[path = "../support/smtp_server.rs"]
mod smtp_server;
#[path = "../support/wait.rs"]
mod wait;
