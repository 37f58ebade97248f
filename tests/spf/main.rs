//! SPF from outside: the OpenSPF suite, differential peers, and random input.

mod bounds;
mod case;
mod corners;
mod disagreements;
mod failing;
mod generated;
mod grammar;
mod mail_auth_disagreements;
mod mail_auth_peer;
mod openspf;
mod openspf_live;
mod peers;
mod pyspf_peer;
mod viaspf_peer;
mod zone_data;
mod zone_server;

#[path = "../support/aside.rs"]
mod aside;
#[path = "../support/dns.rs"]
mod dns;
#[path = "../support/loopback.rs"]
mod loopback;
#[path = "../support/nsd.rs"]
mod nsd;
#[path = "../support/python.rs"]
mod python;
#[path = "../support/recording.rs"]
mod recording;
#[path = "../support/signal.rs"]
mod signal;
#[path = "../support/wait.rs"]
mod wait;
