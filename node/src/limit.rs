//! Rate limits at this node: it counts for itself what each client asks of it.
//!
//! The rules come from this node's own state, without a read barrier: that a limit holds a tenth of a second later at one
//! node harms nobody, and a limit that cost a question to the leader would be no protection.

mod counter;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use conclave_core::Error;
use conclave_core::quota::{Quotas, record_key};

use self::counter::Counter;
use crate::cluster::Cluster;
use crate::metrics;

/// How often the rules are looked up at most.
const LOOK_UP_INTERVAL: Duration = Duration::from_millis(100);

/// What a client may still ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests at once.
    pub limit: u32,
    pub remaining: u32,
    /// Until all of them may be made again.
    pub reset: Duration,
}

/// A request that came too soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooSoon {
    pub retry_after: Duration,
    /// Told if the operator wants that.
    pub allowance: Option<Allowance>,
    /// Whether the refusal is to be recorded.
    pub recorded: bool,
}

/// Counts for one node.
pub struct Limits {
    rules: ArcSwap<Rules>,
    began: Instant,
    /// Milliseconds since `began`.
    looked_up_ms: AtomicU64,
}

#[derive(Default)]
struct Rules {
    revision: u64,
    quotas: Quotas,
    /// One for each rule, in the same order.
    counters: Vec<Arc<Counter>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rules: ArcSwap::default(), began: Instant::now(), looked_up_ms: AtomicU64::new(u64::MAX) }
    }
}

impl Limits {
    /// Counts a request that `client` made to `path` at the moment `now`. `role_of`: the role that it would log in with.
    ///
    /// # Errors
    /// [`TooSoon`]: it must not be answered.
    pub fn admit(
        &self,
        cluster: &Cluster,
        path: &str,
        role_of: impl Fn() -> Option<String>,
        client: IpAddr,
        now: Instant,
    ) -> Result<Option<Allowance>, TooSoon> {
        self.look_up(cluster, now);
        let rules = self.rules.load();
        let Some((place, rule)) = rules.quotas.rule_for(path, role_of) else { return Ok(None) };
        let Some(counter) = rules.counters.get(place) else { return Ok(None) };
        let told = |allowance| Some(allowance).filter(|_| rules.quotas.with_headers);
        match counter.count(network_of(client), now) {
            Ok(allowance) => Ok(told(allowance)),
            Err(retry_after) => {
                metrics::limited(&rule.name);
                let limit = rule.burst();
                let allowance = told(Allowance { limit, remaining: 0, reset: retry_after });
                Err(TooSoon { retry_after, allowance, recorded: rules.quotas.with_audit })
            }
        }
    }

    /// Takes over changed rules; whoever comes meanwhile goes by the former ones.
    fn look_up(&self, cluster: &Cluster, now: Instant) {
        let now_ms = now.saturating_duration_since(self.began).as_millis() as u64;
        let before_ms = self.looked_up_ms.load(Ordering::Relaxed);
        let interval_ms = LOOK_UP_INTERVAL.as_millis() as u64;
        let is_due = before_ms == u64::MAX || now_ms >= before_ms + interval_ms;
        let taken =
            || self.looked_up_ms.compare_exchange(before_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        if !is_due || taken().is_err() {
            return;
        }
        match changed(cluster, self.rules.load().revision) {
            Ok(Some((quotas, revision))) => {
                let former = self.rules.load_full();
                self.rules.store(Arc::new(Rules::of(quotas, revision, &former.counters)));
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the rate limits could not be read: the former ones hold"),
        }
    }
}

impl Rules {
    /// A rule that did not change goes on counting where it was.
    fn of(quotas: Quotas, revision: u64, former: &[Arc<Counter>]) -> Self {
        let counters = quotas.rules().iter().map(|rule| {
            let same = former.iter().find(|counter| counter.rule() == rule);
            same.map_or_else(|| Arc::new(Counter::new(rule.clone())), Arc::clone)
        });
        let counters = counters.collect();
        Self { revision, quotas, counters }
    }
}

/// The rules, if they are not those of `revision`. A sealed node cannot read them.
fn changed(cluster: &Cluster, revision: u64) -> Result<Option<(Quotas, u64)>, Error> {
    let Some(unsealed) = cluster.seal.unsealed() else { return Ok(None) };
    cluster.glance_now(|view, _| {
        let stamp = view.stamp(&record_key())?;
        if stamp.map_or(0, |stamp| stamp.revision) == revision {
            return Ok(None);
        }
        Quotas::load(view, &unsealed.barrier).map(Some)
    })
}

/// Whom a client counts as: whoever has one IPv6 address has 2^64 of them (RFC 6177).
fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2:3::4"), network("2001:db8:1:2:ffff::1"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:10.1.2.3"), network("10.1.2.3"));
        assert_ne!(network("10.1.2.3"), network("10.1.2.4"));
    }
}
