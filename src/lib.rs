//! alignd: a milter that evaluates SPF, DKIM and DMARC on inbound mail and remembers why.
//!
//! # The map
//! Modules stand in layers; each imports only from those above it in this list, or from its own folder.
//! `tests/layers.rs` holds that rule.
//!
//! - words: [`domain`], [`address`], [`time`], `word`
//! - formats, bytes to types and back: [`message`], [`dns`], [`site_key`]
//! - judgement, reaching DNS only through [`dns::Resolver`]: [`auth`], [`policy`]
//! - facts, what is kept and said: [`verdict`], [`outcome`], [`report`], [`replay`],
//!   [`digest`]
//! - adapters, one outside thing each: [`resolver`], [`store`], [`mta`], [`deliver`], [`key_file`],
//!   [`local_socket`]
//! - operations, the verbs of the program: [`build_report`], [`send_report`], [`quarantine`],
//!   [`tell_outcome`]
//! - entrances, each with a loop of its own: [`milter`], [`schedule`], [`host`], [`inbox`],
//!   [`control`], [`mta_helper`]
//! - the root, which puts all of it together: [`config`], [`daemon`], [`cli`]
//!
//! # One message
//! The MTA speaks to the milter entrance. As soon as an input is known, its look-ups start; body chunks
//! are hashed as they pass and never kept. At the end of the message five calls happen once, in order:
//! conclude, decide, new, record, reply. Data only moves from judgement to store to reply.
//!
//! # One day
//! The schedule looks for UTC days that are over, settled and in their window. Building claims a domain's
//! day, folds it to rows, asks where the report may go, and keeps report and outbox in one transaction;
//! sending takes from the outbox. A crash between two steps repeats the step and changes nothing. Bounces
//! come back through the inbox or the milter.
//!
//! # What always holds
//! - A verdict is durable before the MTA is answered.
//! - A DNS failure is `temperror`: never "no record", never a DMARC fail.
//! - Judgement never fails and never panics on input; it concludes.
//! - Nothing from a message reaches a header, a log or a query unchecked.

pub mod address;
pub mod auth;
pub mod build_report;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod deliver;
pub mod digest;
pub mod dns;
pub mod domain;
pub mod host;
pub mod inbox;
pub mod key_file;
pub mod local_socket;
pub mod message;
pub mod milter;
pub mod mta;
pub mod mta_helper;
pub mod outcome;
pub mod policy;
pub mod quarantine;
pub mod replay;
pub mod report;
pub mod resolver;
pub mod schedule;
pub mod send_report;
pub mod site_key;
pub mod store;
pub mod tell_outcome;
pub mod time;
pub mod verdict;
mod word;
