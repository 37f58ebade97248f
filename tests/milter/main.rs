//! The milter as an MTA sees it: over real sockets, packet by packet.
//!
//! `raw` is a client that sends and reads packets and nothing else; the files beside it are one
//! subject each.

#[path = "../support/arc_sealer.rs"]
mod arc_sealer;
mod bombs;
mod crowd;
mod daemon;
#[path = "../support/dkim_signer.rs"]
mod dkim_signer;
mod faults;
mod holding;
mod hostile;
mod limits;
mod mail;
mod mta;
mod octets;
mod outside;
mod patience;
mod raw;
mod returning;
mod rules;
mod running;
mod sealed;
mod sequences;
#[path = "../support/signal.rs"]
mod signal;
mod trust;
mod wire;
