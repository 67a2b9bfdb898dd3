//! The cluster's time: what leaders stamp into entries and readers compare expiries with.
//!
//! Every node holds the greatest time that a leader has told it, and lets it run on with its monotonic clock. So a new leader goes on from the old leader's time whatever its own wall clock says, and a wall
//! clock that is wrong, or that is set while the node runs, changes nothing. A node that has not heard from a leader since
//! it started is told by those who elect it. The wall clock counts only if none of them knows either: after a stop of the
//! whole cluster nothing else tells how long it was. Time never runs backwards here.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Unix milliseconds of the wall clock; given from outside, so that tests choose it.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The system's wall clock.
pub fn system_clock() -> WallClock {
    Arc::new(wall_clock_ms)
}

/// What this machine's clock says, Unix milliseconds.
pub fn wall_clock_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// A node's idea of the cluster's time.
pub struct ClusterClock {
    wall: WallClock,
    anchor: Mutex<Anchor>,
}

#[derive(Clone, Copy)]
struct Anchor {
    time_ms: u64,
    at: Instant,
    /// Whether the time came from a leader of this run, and not from this node's wall clock or disk.
    led: bool,
}

impl ClusterClock {
    pub fn new(wall: WallClock) -> Self {
        Self { wall, anchor: Mutex::new(Anchor { time_ms: 0, at: Instant::now(), led: false }) }
    }

    /// Takes note of the time that the leader says it is now. Unix milliseconds.
    ///
    /// Not for the times of replicated entries: those may be hours old when a node catches up.
    pub fn observe(&self, time_ms: u64) {
        let now = Instant::now();
        let mut anchor = self.anchor.lock();
        if time_ms > anchor.elapsed_to(now) {
            *anchor = Anchor { time_ms, at: now, led: true };
        }
        anchor.led = true;
    }

    /// The cluster's time, in Unix milliseconds, if this node has it from a leader of its run.
    pub fn led_ms(&self) -> Option<u64> {
        let anchor = *self.anchor.lock();
        anchor.led.then(|| anchor.elapsed_to(Instant::now()))
    }

    /// The cluster's time as far as this node knows, in Unix milliseconds; its state stands at `state_ms`.
    pub fn now_ms(&self, state_ms: u64) -> u64 {
        self.read(&self.anchor.lock(), state_ms, Instant::now())
    }

    /// The cluster's time, decided by a proven leader whose state stands at `state_ms`. Unix milliseconds.
    ///
    /// From the first call on the time only runs on: the wall clock may be set while this node leads.
    pub fn lead_ms(&self, state_ms: u64) -> u64 {
        let now = Instant::now();
        let mut anchor = self.anchor.lock();
        let time_ms = self.read(&anchor, state_ms, now);
        // Moving the anchor drops the fraction of a millisecond: done at each call, the time would stand still.
        if time_ms > anchor.elapsed_to(now) {
            *anchor = Anchor { time_ms, at: now, led: true };
        }
        anchor.led = true;
        time_ms
    }

    fn read(&self, anchor: &Anchor, state_ms: u64, now: Instant) -> u64 {
        let time_ms = anchor.elapsed_to(now).max(state_ms);
        if anchor.led { time_ms } else { time_ms.max((self.wall)()) }
    }
}

impl Anchor {
    fn elapsed_to(&self, now: Instant) -> u64 {
        let elapsed = u64::try_from(now.duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        self.time_ms.saturating_add(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const NOON_MS: u64 = 1_800_000_000_000;
    const HOUR_MS: u64 = 3_600_000;
    /// More than a test can take between two readings.
    const SLACK_MS: u64 = 60_000;

    fn clock_at(wall_ms: u64) -> (ClusterClock, Arc<AtomicU64>) {
        let wall = Arc::new(AtomicU64::new(wall_ms));
        let read = wall.clone();
        (ClusterClock::new(Arc::new(move || read.load(Ordering::Relaxed))), wall)
    }

    #[test]
    fn a_first_leader_takes_the_wall_clock() {
        let (clock, _) = clock_at(NOON_MS);
        assert_eq!(clock.lead_ms(0), NOON_MS);
    }

    #[test]
    fn a_wall_clock_an_hour_off_changes_nothing_once_a_leader_was_heard() {
        for wall_ms in [NOON_MS + HOUR_MS, NOON_MS - HOUR_MS] {
            let (clock, _) = clock_at(wall_ms);
            clock.observe(NOON_MS);
            let now_ms = clock.lead_ms(NOON_MS);
            assert!((NOON_MS..NOON_MS + SLACK_MS).contains(&now_ms), "{now_ms}");
        }
    }

    #[test]
    fn only_a_time_that_came_from_a_leader_is_told_to_others() {
        let (clock, _) = clock_at(NOON_MS + HOUR_MS);
        clock.now_ms(NOON_MS);
        assert_eq!(clock.led_ms(), None);
        clock.observe(NOON_MS);
        assert!(clock.led_ms().is_some_and(|ms| (NOON_MS..NOON_MS + SLACK_MS).contains(&ms)));
    }

    #[test]
    fn setting_the_wall_clock_while_leading_changes_nothing() {
        let (clock, wall) = clock_at(NOON_MS);
        clock.lead_ms(0);
        wall.store(NOON_MS + HOUR_MS, Ordering::Relaxed);
        assert!(clock.lead_ms(0) < NOON_MS + SLACK_MS);
    }

    #[test]
    fn a_follower_that_only_looks_still_follows_the_leader_later() {
        let (clock, _) = clock_at(NOON_MS + HOUR_MS);
        assert_eq!(clock.now_ms(0), NOON_MS + HOUR_MS);
        clock.observe(NOON_MS);
        assert!(clock.now_ms(0) < NOON_MS + SLACK_MS);
    }

    #[test]
    fn time_runs_on_however_often_it_is_asked() {
        let (clock, _) = clock_at(NOON_MS);
        let started = Instant::now();
        while started.elapsed() < std::time::Duration::from_millis(30) {
            clock.lead_ms(0);
        }
        assert!(clock.lead_ms(0) >= NOON_MS + 25);
    }

    #[test]
    fn time_never_runs_backwards() {
        let (clock, _) = clock_at(NOON_MS - HOUR_MS);
        assert_eq!(clock.lead_ms(NOON_MS), NOON_MS);
        clock.observe(NOON_MS - HOUR_MS);
        assert!(clock.lead_ms(0) >= NOON_MS);
    }
}
