//! Connections to the cluster port that have not shown yet who they are.
//!
//! Anybody can open one, so they are counted apart from those of members. When there are too many, the oldest makes
//! room, of the same source if that source has its share: a member's handshake takes milliseconds and comes through
//! while strangers' are pushed out, however many of them there are.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Unfinished handshakes at most.
const HANDSHAKES_MAX: usize = 256;
/// Those of one address. Several members may share one.
const HANDSHAKES_PER_SOURCE_MAX: usize = 64;

/// All unfinished handshakes, the oldest first. Cheap to clone.
#[derive(Clone, Default)]
pub struct Handshakes {
    waiting: Arc<Mutex<VecDeque<Waiting>>>,
}

struct Waiting {
    source: IpAddr,
    pushed_out: CancellationToken,
}

/// One unfinished handshake, until this is dropped.
pub struct Handshake {
    all: Handshakes,
    pushed_out: CancellationToken,
}

impl Handshakes {
    /// Notes a new connection, for which an older one may have to go.
    pub fn begin(&self, address: SocketAddr) -> Handshake {
        // One host has 2^64 addresses of version 6.
        let source = network_of(address.ip());
        let mut waiting = self.waiting.lock();
        let of_source = waiting.iter().filter(|waiting| waiting.source == source).count();
        let oldest = if of_source >= HANDSHAKES_PER_SOURCE_MAX {
            waiting.iter().position(|waiting| waiting.source == source)
        } else {
            (waiting.len() >= HANDSHAKES_MAX).then_some(0)
        };
        if let Some(oldest) = oldest.and_then(|oldest| waiting.remove(oldest)) {
            oldest.pushed_out.cancel();
        }
        let pushed_out = CancellationToken::new();
        waiting.push_back(Waiting { source, pushed_out: pushed_out.clone() });
        Handshake { all: self.clone(), pushed_out }
    }
}

impl Handshake {
    /// Resolves when this one has to make room.
    pub async fn pushed_out(&self) {
        self.pushed_out.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.all.waiting.lock().retain(|waiting| waiting.pushed_out != self.pushed_out);
    }
}

/// What one stranger is taken to hold: an address, or a network of 64 bits.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            IpAddr::from(octets)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 1)
    }

    fn is_out(handshake: &Handshake) -> bool {
        handshake.pushed_out.is_cancelled()
    }

    #[test]
    fn one_source_pushes_out_only_its_own() {
        let all = Handshakes::default();
        let member = all.begin(from("10.0.0.1"));
        let strangers: Vec<_> =
            (0..3 * HANDSHAKES_PER_SOURCE_MAX).map(|_| all.begin(from("10.0.0.9"))).collect();
        assert!(!is_out(&member));
        let left = strangers.iter().filter(|stranger| !is_out(stranger)).count();
        assert_eq!(left, HANDSHAKES_PER_SOURCE_MAX);
        assert!(!is_out(strangers.last().unwrap()), "the newest was pushed out");
    }

    #[test]
    fn many_sources_push_out_the_oldest_of_all() {
        let all = Handshakes::default();
        let strangers: Vec<_> = (0..=HANDSHAKES_MAX)
            .map(|at| all.begin(from(&format!("10.0.{}.{}", at / 200, at % 200))))
            .collect();
        assert!(is_out(&strangers[0]));
        assert!(strangers[1..].iter().all(|stranger| !is_out(stranger)));
    }

    #[test]
    fn a_finished_handshake_makes_room() {
        let all = Handshakes::default();
        let first = all.begin(from("10.0.0.9"));
        for _ in 0..2 * HANDSHAKES_MAX {
            drop(all.begin(from("10.0.0.9")));
        }
        assert!(!is_out(&first));
        drop(first);
        assert!(all.waiting.lock().is_empty());
    }

    #[test]
    fn all_addresses_of_one_network_of_version_6_are_one_source() {
        assert_eq!(network_of("2001:db8::1".parse().unwrap()), network_of("2001:db8::2:1".parse().unwrap()));
        assert_ne!(
            network_of("2001:db8::1".parse().unwrap()),
            network_of("2001:db8:0:1::1".parse().unwrap())
        );
        assert_eq!(network_of("::ffff:10.0.0.1".parse().unwrap()), network_of("10.0.0.1".parse().unwrap()));
    }
}
