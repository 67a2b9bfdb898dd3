//! When a request is sent again, and after how long. Pure: no clock, no socket.
//!
//! The rule that must not bend: a change whose fate is unknown is repeated only under an idempotency key.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};

/// Times that every node is tried, by default.
pub(crate) const ROUNDS_MAX: usize = 6;
/// The first wait between two rounds; the following ones double.
const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// The longest that a server's `Retry-After` is followed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// How an attempt at one node failed.
pub(crate) enum Outcome {
    /// No connection: the node has not seen the request.
    NotSent,
    /// The connection broke, or time ran out, while an answer was due.
    Lost,
    /// The node answered with this status.
    Status { status: u16, retry_after: Option<Duration> },
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Tell the caller.
    Final,
    /// Try the other nodes, but do not come back to this one.
    OtherNodes,
    /// Try the other nodes, then all again, no sooner than after this.
    Again { after: Duration },
}

/// `repeatable`: a read, or a change with an idempotency key.
pub(crate) fn judge(outcome: &Outcome, repeatable: bool) -> Verdict {
    match outcome {
        Outcome::NotSent => Verdict::Again { after: Duration::ZERO },
        Outcome::Lost if repeatable => Verdict::Again { after: Duration::ZERO },
        Outcome::Status { status: 502..=504, retry_after: Some(after) } if repeatable => {
            Verdict::Again { after: (*after).min(RETRY_AFTER_MAX) }
        }
        // A sealed node says 503 and stays so: only another node can help.
        Outcome::Status { status: 503, retry_after: None } if repeatable => Verdict::OtherNodes,
        Outcome::Status { status: 502 | 504, retry_after: None } if repeatable => {
            Verdict::Again { after: Duration::ZERO }
        }
        Outcome::Lost | Outcome::Status { .. } => Verdict::Final,
    }
}

/// The waits between the rounds; when they are used up, the caller is told.
pub(crate) fn waits(rounds_max: usize) -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(WAIT_MIN)
        .with_max_delay(WAIT_MAX)
        .with_max_times(rounds_max.saturating_sub(1))
        .with_jitter()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Verdict = Verdict::Again { after: Duration::ZERO };

    fn status(status: u16, retry_after_seconds: Option<u64>) -> Outcome {
        Outcome::Status { status, retry_after: retry_after_seconds.map(Duration::from_secs) }
    }

    #[test]
    fn what_no_node_has_seen_is_always_sent_again() {
        assert_eq!(judge(&Outcome::NotSent, true), AT_ONCE);
        assert_eq!(judge(&Outcome::NotSent, false), AT_ONCE);
    }

    #[test]
    fn a_change_of_unknown_fate_is_sent_again_only_under_a_key() {
        for outcome in [Outcome::Lost, status(502, None), status(503, Some(1)), status(504, None)] {
            assert!(matches!(judge(&outcome, true), Verdict::Again { .. }));
            assert_eq!(judge(&outcome, false), Verdict::Final);
        }
    }

    #[test]
    fn retry_after_is_followed_within_a_bound() {
        assert_eq!(judge(&status(503, Some(1)), true), Verdict::Again { after: Duration::from_secs(1) });
        assert_eq!(judge(&status(503, Some(86_400)), true), Verdict::Again { after: RETRY_AFTER_MAX });
    }

    #[test]
    fn a_sealed_node_sends_the_client_to_the_others() {
        assert_eq!(judge(&status(503, None), true), Verdict::OtherNodes);
        assert_eq!(judge(&status(503, None), false), Verdict::Final);
    }

    #[test]
    fn a_plain_no_is_final() {
        for code in [307, 400, 403, 404, 405, 412, 429, 500, 501] {
            assert_eq!(judge(&status(code, Some(1)), true), Verdict::Final, "{code}");
        }
    }

    #[test]
    fn waits_grow_and_end() {
        let all: Vec<_> = waits(ROUNDS_MAX).collect();
        assert_eq!(all.len(), ROUNDS_MAX - 1);
        // Each carries up to its own length of jitter.
        assert!(all[0] >= WAIT_MIN && all[0] <= WAIT_MIN * 2);
        assert!(all.iter().all(|wait| *wait <= WAIT_MAX * 2));
        assert_eq!(waits(1).count(), 0);
    }
}
