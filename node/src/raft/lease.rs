//! The leader's lease: for a moment after a quorum answered it, a leader may read without asking again (I4).
//!
//! Whoever answers a leader's message promises not to vote for another node, and not to stand itself, for
//! `election_timeout_max` from then on; a node that restarts keeps the promise that its former life may have made
//! ([`Promise`]). So from the moment a message was *sent* that a quorum has answered, nobody else can have been
//! elected for at least that long. The lease is the shorter `election_timeout_min`, so that clocks that run at
//! different speeds do no harm.
//!
//! What it rests on, and what ends it early:
//! - Clocks that measure time spans alike, within the distance of the two timeouts. Wall clocks are never asked.
//! - The monotonic clock stands still while the machine sleeps, the boot clock does not: a difference ends the lease.
//!   A hypervisor that stops a guest with all of its clocks is the one pause that nobody inside can see; who must expect
//!   that for longer than an election takes sets `read_proof = "quorum"`.
//! - Handing leadership over: the successor is elected within the promise. So the lease is given up before.
//!
//! A paused process does no harm: it looks at the clock after the question came and before it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use conclave_faults::{Bug, planted};
use conclave_storage::StateReader;
use conclave_storage::types::{LeaderId, RaftMetrics, TypeConfig};
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use openraft::async_runtime::instant::Instant as _;
use openraft::type_config::alias::WatchReceiverOf;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use super::answers::Answers;

/// Raft's whole state of the moment.
pub(crate) type MetricsWatch = WatchReceiverOf<TypeConfig, RaftMetrics>;

/// What reading the clocks may take.
const READING_MAX: Duration = Duration::from_millis(1);
/// More than this between the clocks, that was not there before, is sleep and not the time between two readings.
const SLEEP_MIN: Duration = Duration::from_millis(5);
/// A term that is never reached: no lease in any.
const NO_TERM: u64 = u64::MAX;

/// Whether this node may read as the leader. Asking it costs no more than a look at the clocks.
pub struct Lease {
    metrics: MetricsWatch,
    /// From the sending of a message that a quorum answered. `None`: every read asks a quorum.
    length: Option<Duration>,
    reader: StateReader,
    told: CommitTold,
    answers: Arc<Answers>,
    /// Leases of terms up to this one were given up.
    given_up: AtomicU64,
    /// `None`: the machine is simulated, and never sleeps.
    sleep: Option<SleepWatch>,
}

impl Lease {
    /// `sleeps`: this machine may.
    pub fn new(
        metrics: MetricsWatch,
        reader: StateReader,
        length: Option<Duration>,
        told: CommitTold,
        answers: Arc<Answers>,
        sleeps: bool,
    ) -> Self {
        let sleep = sleeps.then(|| SleepWatch::new(Clocks::at_start()));
        Self { metrics, length, reader, told, answers, given_up: AtomicU64::new(0), sleep }
    }

    /// If this node leads at this moment and knows all that earlier leaders acknowledged: for how long that has been
    /// proven.
    pub fn proven_for(&self) -> Option<Duration> {
        let length = self.length?;
        let (counted, acknowledged) = {
            let raft = self.metrics.borrow_watched();
            let term = raft.current_term;
            let given_up = term <= self.given_up.load(Ordering::Acquire);
            let leads =
                raft.state == ServerState::Leader && (!given_up || planted::is(Bug::LeaseKeptInHandover));
            // The first entry of a leader's own term stands behind everything of the terms before.
            let applied_under = raft.last_applied.as_ref().map(|last| *last.committed_leader_id());
            let own = leader_of(&raft)?;
            if !leads || applied_under != Some(own) {
                return None;
            }
            // This node is itself one of the quorum that promised. What Raft reports lags behind what it decides; a vote
            // for another is known here before it leaves the node.
            if !self.reader.latest_vote().is_for(own) {
                return None;
            }
            // Raft's own time is too young at times (`answers`), but of the same moment as the membership.
            let counted = self.answers.quorum(own, raft.membership_config.membership(), Instant::now())?;
            (counted, raft.last_quorum_acked?)
        };
        // The clocks are read last: a pause before this line makes the proof older, never younger.
        let age = match planted::is(Bug::AnswersUncounted) {
            true => acknowledged.elapsed(),
            false => counted.elapsed().max(acknowledged.elapsed()),
        };
        let awake = match &self.sleep {
            Some(sleep) => sleep.awake_for(Clocks::read()?),
            None => Duration::MAX,
        };
        let holds = age < length && age < awake;
        (holds || planted::is(Bug::LeaseNeverExpires)).then_some(age)
    }

    /// Whether a quorum has answered this node, as the leader, a message that it sent after `moment`.
    pub fn is_followed_since(&self, moment: Instant) -> bool {
        let raft = self.metrics.borrow_watched();
        let counted = leader_of(&raft)
            .and_then(|own| self.answers.quorum(own, raft.membership_config.membership(), Instant::now()));
        counted.is_some_and(|answered| answered >= moment)
    }

    /// With the lease proven: the index up to which this node must have applied before it may read.
    ///
    /// Whatever anybody may have seen of the state counts: followers can have applied what this leader told them to be
    /// committed before it has done so itself, and views here see an entry before it counts as applied.
    pub fn read_index(&self) -> u64 {
        self.reader.visible_index().max(self.told.index())
    }

    /// Gives up the lease, whatever the term, until [`Lease::resume_after`].
    pub fn give_up(&self) {
        self.given_up.store(NO_TERM, Ordering::Release);
    }

    /// Allows leases again, in later terms than `term`.
    pub fn resume_after(&self, term: u64) {
        self.given_up.store(term, Ordering::Release);
    }
}

/// The leader that this node believes in. The vote among the metrics is what is on disk, and lags behind.
pub(crate) fn leader_of(raft: &RaftMetrics) -> Option<LeaderId> {
    raft.current_leader.map(|node_id| LeaderId { term: raft.current_term, node_id })
}

/// How far this node has told any other, as the leader, that the log is committed.
#[derive(Clone, Default)]
pub struct CommitTold(Arc<AtomicU64>);

impl CommitTold {
    /// To be called before a message with this commit index leaves the node.
    pub fn note(&self, index: u64) {
        self.0.fetch_max(index, Ordering::AcqRel);
    }

    fn index(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// What this node's former life may have promised to a leader: neither to vote for another nor to stand itself.
#[derive(Clone, Copy)]
pub struct Promise {
    until: Option<Instant>,
}

impl Promise {
    /// Of a node that started then; `length` is the longest a promise can last. `None`: it cannot have promised.
    pub fn since(started: Instant, length: Option<Duration>) -> Self {
        Self { until: length.map(|length| started + length) }
    }

    pub fn binds(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until) && !planted::is(Bug::PromiseForgotten)
    }

    /// Returns when the node is free to vote and to stand.
    pub async fn over(&self) {
        if let Some(until) = self.until.filter(|_| !planted::is(Bug::PromiseForgotten)) {
            tokio::time::sleep_until(until).await;
        }
    }
}

/// Both clocks at about one moment, in nanoseconds.
#[derive(Clone, Copy)]
struct Clocks {
    /// Stands still while the machine sleeps.
    monotonic: u64,
    /// Runs on.
    boot: u64,
}

impl Clocks {
    /// `None`: the process was paused between the readings, so that they do not belong together.
    fn read() -> Option<Self> {
        let before = nanoseconds(ClockId::Boottime);
        let monotonic = nanoseconds(ClockId::Monotonic);
        let boot = nanoseconds(ClockId::Boottime);
        let together = boot.saturating_sub(before) <= READING_MAX.as_nanos() as u64;
        together.then_some(Self { monotonic, boot })
    }

    fn at_start() -> Self {
        loop {
            if let Some(clocks) = Self::read() {
                return clocks;
            }
        }
    }
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let nanoseconds = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    u64::try_from(nanoseconds).unwrap_or(0)
}

/// Notices that the machine slept.
struct SleepWatch {
    /// How far the boot clock is ahead of the monotonic one, in nanoseconds.
    slept: AtomicU64,
    /// When sleep was noticed last, on the monotonic clock.
    noticed: AtomicU64,
}

impl SleepWatch {
    fn new(clocks: Clocks) -> Self {
        let slept = clocks.boot.saturating_sub(clocks.monotonic);
        Self { slept: AtomicU64::new(slept), noticed: AtomicU64::new(0) }
    }

    /// For how long the machine has been awake, as far as this watch knows.
    fn awake_for(&self, now: Clocks) -> Duration {
        let slept = now.boot.saturating_sub(now.monotonic);
        let known = self.slept.load(Ordering::Acquire);
        if slept > known.saturating_add(SLEEP_MIN.as_nanos() as u64) {
            // In this order: whoever sees the new difference also sees when it was noticed.
            self.noticed.fetch_max(now.monotonic, Ordering::Release);
            self.slept.store(slept, Ordering::Release);
        }
        Duration::from_nanos(now.monotonic.saturating_sub(self.noticed.load(Ordering::Acquire)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(monotonic: u64, slept: u64) -> Clocks {
        Clocks { monotonic, boot: monotonic + slept }
    }

    #[test]
    fn a_machine_that_never_slept_since_the_start_is_awake() {
        let watch = SleepWatch::new(at(10 * SECOND, 3 * SECOND));
        assert_eq!(watch.awake_for(at(11 * SECOND, 3 * SECOND)), Duration::from_secs(11));
    }

    #[test]
    fn sleep_is_noticed_at_the_first_look_and_counts_from_there() {
        let watch = SleepWatch::new(at(10 * SECOND, 0));
        assert_eq!(watch.awake_for(at(11 * SECOND, SECOND)), Duration::ZERO);
        assert_eq!(watch.awake_for(at(12 * SECOND, SECOND)), Duration::from_secs(1));
        assert_eq!(watch.awake_for(at(13 * SECOND, 2 * SECOND)), Duration::ZERO, "a second sleep");
    }

    #[test]
    fn the_time_between_two_readings_is_no_sleep() {
        let watch = SleepWatch::new(at(10 * SECOND, 0));
        assert!(watch.awake_for(at(11 * SECOND, SLEEP_MIN.as_nanos() as u64 / 2)) > Duration::ZERO);
    }
}
