//! The real binary as an operator meets it: exit codes, words, JSON keys, pages.

mod check;
mod config;
mod digest;
mod exception;
mod golden;
mod help;
mod manual;
mod not_reported;
mod numbers;
mod policy;
mod quarantine;
mod ran;
mod replayed;
mod report;
mod stored;
mod suppress;
mod terminal;

#[path = "../support/dkim_signer.rs"]
mod dkim_signer;
#[path = "../support/plain_verdict.rs"]
mod plain_verdict;
