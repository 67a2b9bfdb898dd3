//! TCP ports of this machine for servers that are started a little later.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// Above the well-known ports, and below those that Linux gives to outgoing connections
/// (`net.ipv4.ip_local_port_range` begins at 32768): a port that is free now is not taken by somebody's connection
/// before the server opens it, or while the server is stopped for a moment.
const QUIET: Range<u16> = 10_000..32_768;
/// From one process's first port to the next one's.
const STRIDE: u32 = 12;

/// `count` different ports that nobody uses now.
///
/// Programs that ask at the same time begin at different places, which follow from their process ids, and a program
/// never gets a port twice until it has had all of them: a port is used only some time after it was found to be free.
///
/// # Errors
/// What the last attempt met, when too many ports are in use.
pub fn unused(count: usize) -> io::Result<Vec<u16>> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let size = u32::from(QUIET.end - QUIET.start);
    let first = std::process::id().wrapping_mul(STRIDE);
    let mut ports = Vec::with_capacity(count);
    let mut refused = io::ErrorKind::AddrInUse.into();
    for _ in 0..size {
        if ports.len() == count {
            return Ok(ports);
        }
        let place = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % size;
        let port = QUIET.start + u16::try_from(place).expect("smaller than a port");
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_freed) => ports.push(port),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn unused_ports_are_all_different_and_out_of_the_way_of_connections() {
        let ports = [unused(6).unwrap(), unused(6).unwrap()].concat();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 12);
        assert!(ports.iter().all(|port| QUIET.contains(port)));
    }
}
