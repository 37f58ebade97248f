//! Loopback addresses of one's own: a server under test gets an address of 127/8 that nobody else
//! uses, so that its port can't be taken between choosing and binding it.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// A free port, for TCP and in all likelihood UDP, on an address that only the caller uses.
pub fn free_address() -> SocketAddrV4 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    // 127.64.0.0/10: the process id spreads test binaries, the counter the servers of one.
    let host = (std::process::id().wrapping_mul(509).wrapping_add(count)) & 0x3f_ffff;
    let address = Ipv4Addr::from(0x7f40_0000 | host);
    let listener = TcpListener::bind((address, 0)).expect("the loopback network can be bound");
    let port = listener.local_addr().expect("it is bound").port();
    SocketAddrV4::new(address, port)
}
