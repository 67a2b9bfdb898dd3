//! What clients have asked under one rule: a token bucket for each (the generic cell rate algorithm, ITU-T I.371).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use conclave_core::quota::Rule;
use governor::clock::{Clock as _, MonotonicClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

use super::Allowance;

/// Clients that one rule counts apart; more share one count.
const CLIENTS_MAX: usize = 65_536;
/// After so many requests, those who have not asked for long are forgotten.
const TIDY_INTERVAL: u64 = 4_096;
/// Whom all count as for whom there is no place.
const SHARED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

type Buckets = RateLimiter<IpAddr, HashMapStateStore<IpAddr>, MonotonicClock, StateInformationMiddleware>;

pub struct Counter {
    rule: Rule,
    burst: NonZeroU32,
    /// After which a client may ask once more.
    refill: Duration,
    buckets: Buckets,
    /// Since when a client is refused everything.
    blocked: Mutex<HashMap<IpAddr, Instant>>,
    counted: AtomicU64,
}

impl Counter {
    pub fn new(rule: Rule) -> Self {
        let burst = NonZeroU32::new(rule.burst()).unwrap_or(NonZeroU32::MIN);
        let refill = (Duration::from_secs(rule.interval_s) / burst.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(refill).unwrap_or(Quota::per_second(burst)).allow_burst(burst);
        let buckets = RateLimiter::hashmap_with_clock(quota, MonotonicClock).with_middleware();
        Self { rule, burst, refill, buckets, blocked: Mutex::default(), counted: AtomicU64::new(0) }
    }

    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Counts one request.
    ///
    /// # Errors
    /// It came too soon: after how long it may come again.
    pub fn count(&self, client: IpAddr, now: Instant) -> Result<Allowance, Duration> {
        let client = self.place(client, now);
        let block = Duration::from_secs(self.rule.block_interval_s);
        if !block.is_zero()
            && let Some(left) = self.blocked_for(client, block, now)
        {
            return Err(left);
        }
        match self.buckets.check_key(&client) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let reset = self.refill * (self.burst.get() - remaining.min(self.burst.get()));
                Ok(Allowance { limit: self.burst.get(), remaining, reset })
            }
            Err(too_soon) if block.is_zero() => Err(too_soon.wait_time_from(MonotonicClock.now())),
            Err(_) => {
                self.block(client, now);
                Err(block)
            }
        }
    }

    /// The client whose count this is. Strangers must not fill the memory with their addresses.
    fn place(&self, client: IpAddr, now: Instant) -> IpAddr {
        if self.counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(TIDY_INTERVAL) {
            self.buckets.retain_recent();
            let block = Duration::from_secs(self.rule.block_interval_s);
            self.blocked.lock().retain(|_, since| now.saturating_duration_since(*since) < block);
        }
        if self.buckets.len() < CLIENTS_MAX { client } else { SHARED }
    }

    fn blocked_for(&self, client: IpAddr, block: Duration, now: Instant) -> Option<Duration> {
        let since = *self.blocked.lock().get(&client)?;
        block.checked_sub(now.saturating_duration_since(since)).filter(|left| !left.is_zero())
    }

    fn block(&self, client: IpAddr, now: Instant) {
        let mut blocked = self.blocked.lock();
        if blocked.len() < CLIENTS_MAX {
            blocked.insert(client, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

    fn counter(rate: f64, interval_s: u64, block_interval_s: u64) -> Counter {
        let (name, path, role) = ("r".to_owned(), String::new(), String::new());
        Counter::new(Rule { name, path, role, rate, interval_s, block_interval_s })
    }

    #[test]
    fn each_client_has_its_own_count() {
        let (counter, now) = (counter(2.0, 3_600, 0), Instant::now());
        let first = counter.count(HERE, now).unwrap();
        assert_eq!((first.limit, first.remaining), (2, 1));
        assert_eq!(first.reset, Duration::from_secs(1_800));
        assert_eq!(counter.count(HERE, now).unwrap().remaining, 0);
        let wait = counter.count(HERE, now).unwrap_err();
        assert!(wait > Duration::from_secs(1_700) && wait <= Duration::from_secs(1_800), "{wait:?}");
        assert!(counter.count(THERE, now).is_ok());
    }

    #[test]
    fn whoever_asked_too_often_is_blocked_for_as_long_as_the_rule_says() {
        let (counter, now) = (counter(1_000.0, 1, 60), Instant::now());
        let refused = (0..100_000).find_map(|_| counter.count(HERE, now).err());
        assert_eq!(refused, Some(Duration::from_secs(60)));
        // By then the bucket has long been full again.
        let later = now + Duration::from_secs(59);
        assert_eq!(counter.count(HERE, later).unwrap_err(), Duration::from_secs(1));
        assert!(counter.count(THERE, later).is_ok());
        std::thread::sleep(Duration::from_millis(50));
        assert!(counter.count(HERE, now + Duration::from_secs(60)).is_ok());
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let (counter, now) = (counter(1.0, 3_600, 3_600), Instant::now());
        for number in 0..CLIENTS_MAX as u32 + 10_000 {
            let _counted = counter.count(IpAddr::V4(Ipv4Addr::from_bits(number)), now);
        }
        assert!(counter.buckets.len() <= CLIENTS_MAX + 1);
    }
}
