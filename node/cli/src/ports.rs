//! TCP ports of this machine for servers that are started a little later.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Above the well-known ports, and below those that Linux gives to outgoing connections
/// (`net.ipv4.ip_local_port_range` begins at 32768): a port that is free now is not taken by somebody's connection
/// before the server opens it, or while the server is stopped for a moment.
const QUIET: Range<u16> = 10_000..32_768;
/// So many attempts fail only where nearly all of these ports are in use.
const ATTEMPTS: usize = 1_000;

/// `count` different ports that nobody uses now, chosen at random, so that two programs that ask at the same time
/// hardly ever get the same.
///
/// # Errors
/// What the last attempt met, when too many ports are in use.
pub fn unused(count: usize) -> io::Result<Vec<u16>> {
    let mut held: Vec<(u16, TcpListener)> = Vec::with_capacity(count);
    let mut refused = io::ErrorKind::AddrInUse.into();
    for _ in 0..ATTEMPTS {
        if held.len() == count {
            break;
        }
        let port = rand::random_range(QUIET);
        // Held until all are found, so that none is given twice.
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => held.push((port, listener)),
            Err(error) => refused = error,
        }
    }
    if held.len() < count { Err(refused) } else { Ok(held.into_iter().map(|(port, _)| port).collect()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn unused_ports_are_all_different_and_out_of_the_way_of_connections() {
        let ports = unused(10).unwrap();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 10);
        assert!(ports.iter().all(|port| QUIET.contains(port)));
    }
}
