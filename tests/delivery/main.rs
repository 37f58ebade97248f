//! Delivery of report mail: against a server that misbehaves on demand, and through a real Postfix.

mod misbehaviour;
mod signing;

#[path = "../support/dkim.rs"]
mod dkim;
#[path = "../support/python.rs"]
mod python;
#[path = "../support/smtp_server.rs"]
mod smtp_server;
