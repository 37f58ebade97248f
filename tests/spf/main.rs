//! SPF from outside: the OpenSPF suite, differential peers, and random input.

mod openspf;
mod zone_data;
