//! alignd behind a real Postfix and a real Sendmail, from the SMTP client to the delivered mail and the
//! stored verdict. Each test has an MTA, a DNS server and an alignd of its own, so they run in any order.

mod between;
mod bounces;
mod by_hand;
mod chain;
mod delivery;
mod demo;
mod digest;
mod dns_faults;
mod filters;
mod forged;
mod holding;
mod hostile;
mod house;
mod install;
mod keeping;
mod killed;
mod log;
mod many;
mod operators;
mod queue;
mod release;
mod report;
mod same_verdict;
mod sendmail_host;
mod sessions;
mod skips;
mod smarthost;
mod stops;
mod story;
mod world;

#[path = "../support/accounts.rs"]
mod accounts;
#[path = "../support/alignd.rs"]
mod alignd;
#[path = "../support/amavis.rs"]
mod amavis;
#[path = "../support/aside.rs"]
mod aside;
#[path = "../support/dkim_signer.rs"]
mod dkim_signer;
#[path = "../support/dns.rs"]
mod dns;
#[path = "../support/kept_reports.rs"]
mod kept_reports;
#[path = "../support/loopback.rs"]
mod loopback;
#[path = "../support/mailbox.rs"]
mod mailbox;
#[path = "../support/mta.rs"]
mod mta;
#[path = "../support/nsd.rs"]
mod nsd;
#[path = "../support/other_milter.rs"]
mod other_milter;
#[path = "../support/postfix.rs"]
mod postfix;
#[path = "../support/rspamd.rs"]
mod rspamd;
#[path = "../support/schema.rs"]
mod schema;
#[path = "../support/sendmail.rs"]
mod sendmail;
#[path = "../support/signal.rs"]
mod signal;
#[path = "../support/smtp.rs"]
mod smtp;
#[path = "../support/unprivileged.rs"]
mod unprivileged;
#[path = "../support/wait.rs"]
mod wait;
