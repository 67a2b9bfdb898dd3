//! Wrong passwords lock a user out: from then on and for the lockout's time even the right one is refused, whoever leads. A user
//! with fewer wrong ones is never locked out, and nobody is for longer.
//!
//! A user's name says his rules: `locks-3-12000/ann` is locked out by 3 wrong passwords for 12,000 ms. How long wrong ones
//! are counted must be longer than the history.

use std::collections::BTreeMap;

use crate::access::Access;
use crate::history::{Action, Operation, Outcome};
use crate::tokens::SLACK_MS;
use crate::verdict::Verdict;

/// First part of the name of a mount of users, with the threshold and milliseconds behind it.
pub const LOCKS: &str = "locks-";
const US_PER_MS: u64 = 1_000;
const SLACK_US: u64 = SLACK_MS * US_PER_MS;
/// How a wrong password is refused, and how somebody who is locked out.
const STATUS_WRONG: u16 = 400;
const STATUS_LOCKED: u16 = 403;

#[must_use]
pub fn check(history: &[Operation]) -> Verdict {
    let mut verdict = Verdict::new("lockout");
    let mut users: BTreeMap<&str, Vec<Login<'_>>> = BTreeMap::new();
    for operation in history {
        let Action::Access(Access::Login { user, right }) = &operation.action else { continue };
        if let Some(end) = End::of(&operation.outcome) {
            users.entry(user).or_default().push(Login { operation, right: *right, end });
        }
    }
    for (name, mut logins) in users {
        let Some(rules) = Rules::of(name) else {
            verdict.undecided(name, "the name does not say when its user is locked out");
            continue;
        };
        logins.sort_by_key(|login| login.operation.invoked_us);
        let user = User { name, rules, logins };
        user.logins.iter().for_each(|login| user.judge(login, &mut verdict));
    }
    verdict
}

/// How a login may have changed or shown what is counted against its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    In,
    /// The password was wrong, and counted.
    Wrong,
    Locked,
    Unknown,
}

impl End {
    fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Ok(_) => Some(Self::In),
            Outcome::Failed { status: STATUS_WRONG } => Some(Self::Wrong),
            Outcome::Failed { status: STATUS_LOCKED } => Some(Self::Locked),
            // The server's own trouble: nothing was done.
            Outcome::Failed { .. } => None,
            Outcome::Unknown => Some(Self::Unknown),
        }
    }
}

#[derive(Clone, Copy)]
struct Login<'h> {
    operation: &'h Operation,
    right: bool,
    end: End,
}

#[derive(Clone, Copy)]
struct Rules {
    threshold: usize,
    lasts_us: u64,
}

impl Rules {
    fn of(user: &str) -> Option<Self> {
        let (threshold, lasts_ms) = user.split_once('/')?.0.strip_prefix(LOCKS)?.split_once('-')?;
        let lasts_us = lasts_ms.parse::<u64>().ok()?.checked_mul(US_PER_MS)?;
        Some(Self { threshold: threshold.parse().ok().filter(|threshold| *threshold > 0)?, lasts_us })
    }
}

struct User<'h> {
    name: &'h str,
    rules: Rules,
    /// By the time they were asked.
    logins: Vec<Login<'h>>,
}

impl<'h> User<'h> {
    fn judge(&self, login: &Login<'h>, verdict: &mut Verdict) {
        let (right, end) = (login.right, login.end);
        if end == End::Unknown {
            return;
        }
        if !right && end == End::In {
            verdict.violated(self.name, "was let in with a wrong password", [login.operation]);
        }
        if right && end == End::Wrong {
            verdict.violated(self.name, "was told that the right password is wrong", [login.operation]);
        }
        if let Some(guesses) = self.surely_locked(login) {
            verdict.checked += 1;
            if end != End::Locked {
                let count = guesses.len();
                let what = if right { "was let in" } else { "was not refused unheard" };
                let reason = format!("{what} after {count} wrong passwords, within the lockout's time");
                verdict.violated(self.name, reason, guesses.into_iter().chain([login.operation]));
            }
        } else if end == End::Locked {
            verdict.checked += 1;
            self.judge_lock(login, verdict);
        } else {
            verdict.checked += usize::from(right);
        }
    }

    /// Wrong passwords because of which the user was locked out all the time while `login` was on its way.
    fn surely_locked(&self, login: &Login<'h>) -> Option<Vec<&'h Operation>> {
        let at = login.operation;
        let counted = self.logins.iter().filter(|other| {
            other.end == End::Wrong
                && !std::ptr::eq(other.operation, at)
                && other.operation.returned_us < at.invoked_us
        });
        let counted: Vec<&Operation> = counted.map(|other| other.operation).collect();
        // The newest of them: none was forgotten before the last if they lie close together.
        let mut guesses = counted[counted.len().checked_sub(self.rules.threshold)?..].to_vec();
        guesses.sort_by_key(|guess| guess.invoked_us);
        let first_us = guesses.first()?.invoked_us;
        let last_us = guesses.last()?.invoked_us;
        let told_us = guesses.iter().map(|guess| guess.returned_us).max()?;
        let span = told_us + SLACK_US < first_us + self.rules.lasts_us;
        let lasts = at.returned_us + SLACK_US < last_us + self.rules.lasts_us;
        // Between the guesses he may have come in. Behind them he could not.
        let forgotten = self.logins.iter().any(|other| {
            let may_have_been = other.right && matches!(other.end, End::In | End::Unknown);
            let over = other.end == End::In && other.operation.returned_us < first_us;
            may_have_been && !over && other.operation.invoked_us <= told_us
        });
        (span && lasts && !forgotten).then_some(guesses)
    }

    /// The user was told to be locked out, which takes enough wrong passwords, not too long ago.
    fn judge_lock(&self, login: &Login<'h>, verdict: &mut Verdict) {
        let at = login.operation;
        // The last time that he came in for sure: what was counted before that was forgotten.
        let came_in = self
            .logins
            .iter()
            .filter(|other| other.end == End::In && other.operation.returned_us < at.invoked_us);
        let forgotten_us = came_in.map(|other| other.operation.invoked_us).max().unwrap_or(0);
        let guesses: Vec<&Login<'_>> = self
            .logins
            .iter()
            .filter(|other| match other.end {
                End::Wrong => other.operation.returned_us >= forgotten_us,
                End::Unknown => !other.right,
                _ => false,
            })
            .filter(|other| other.operation.invoked_us <= at.returned_us)
            .collect();
        let shown = || guesses.iter().map(|guess| guess.operation).chain([at]);
        if guesses.len() < self.rules.threshold {
            let reason = format!("is locked out after {} wrong passwords", guesses.len());
            return verdict.violated(self.name, reason, shown());
        }
        let known = guesses.iter().all(|guess| guess.end == End::Wrong);
        let last_us = guesses.iter().map(|guess| guess.operation.returned_us).max().unwrap_or(0);
        let end_us = last_us + self.rules.lasts_us + SLACK_US;
        if let Some(late_us) = at.invoked_us.checked_sub(end_us).filter(|late_us| known && *late_us > 0) {
            let late_ms = late_us / US_PER_MS + SLACK_MS;
            let reason = format!("is still locked out {late_ms} ms after the lockout's end");
            verdict.violated(self.name, reason, shown());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::testing::{access, refused_with, unknown_access};

    const ANN: &str = "locks-2-9000/ann";

    fn login(right: bool) -> Access {
        Access::Login { user: ANN.to_owned(), right }
    }

    fn wrong(ms: Range<u64>) -> Operation {
        refused_with(STATUS_WRONG, ms, login(false))
    }

    fn came_in(ms: Range<u64>) -> Operation {
        access(ms, login(true))
    }

    fn locked(ms: Range<u64>, right: bool) -> Operation {
        refused_with(STATUS_LOCKED, ms, login(right))
    }

    #[track_caller]
    fn expect(history: &[Operation], violations: usize) {
        let verdict = check(history);
        assert_eq!((verdict.violations.len(), verdict.undecided.len()), (violations, 0), "{verdict:#?}");
    }

    #[test]
    fn after_the_last_wrong_password_the_right_one_is_refused_for_the_lockouts_time() {
        let guesses = [wrong(0..10), wrong(20..30)];
        let then = |last: Operation| [&guesses[..], &[last]].concat();
        expect(&then(locked(40..50, true)), 0);
        expect(&then(came_in(40..50)), 1);
        expect(&[&guesses[..], &[came_in(40..50), came_in(45..55)]].concat(), 2);
        expect(&then(came_in(6_000..7_010)), 1);
        // It may be over, if time is taken with its slack.
        expect(&then(came_in(6_000..7_030)), 0);
        expect(&then(locked(6_000..7_030, true)), 0);
    }

    #[test]
    fn a_further_wrong_one_is_not_even_looked_at() {
        expect(&[wrong(0..10), wrong(20..30), locked(40..50, false)], 0);
        expect(&[wrong(0..10), wrong(20..30), wrong(40..50)], 1);
        // At the same time, it may have been one of the two.
        expect(&[wrong(0..10), wrong(20..30), wrong(25..50)], 0);
    }

    #[test]
    fn fewer_lock_nobody_out() {
        expect(&[wrong(0..10), came_in(20..30)], 0);
        expect(&[wrong(0..10), locked(20..30, true)], 1);
        expect(&[locked(20..30, true)], 1);
        // What is not known may have been counted.
        expect(&[wrong(0..10), unknown_access(12..15, login(false)), locked(20..30, true)], 0);
        expect(&[wrong(0..10), refused_with(503, 12..15, login(false)), locked(20..30, true)], 1);
    }

    #[test]
    fn whoever_comes_in_begins_anew() {
        let before = [wrong(0..10), came_in(20..30), wrong(40..50)];
        expect(&[&before[..], &[came_in(60..70)]].concat(), 0);
        expect(&[&before[..], &[locked(60..70, true)]].concat(), 1);
        expect(&[&before[..], &[wrong(60..70), came_in(80..90)]].concat(), 1);
        // He may have come in between the two.
        let unsure = unknown_access(12..15, login(true));
        expect(&[wrong(0..10), unsure, wrong(20..30), came_in(40..50)], 0);
    }

    #[test]
    fn a_lockout_ends() {
        let guesses = [wrong(0..10), wrong(20..30)];
        expect(&[&guesses[..], &[locked(11_020..11_040, true)]].concat(), 0);
        expect(&[&guesses[..], &[locked(11_040..11_050, true)]].concat(), 1);
        expect(&[&guesses[..], &[came_in(11_040..11_050)]].concat(), 0);
    }

    #[test]
    fn guesses_that_lie_far_apart_prove_nothing() {
        // The first two locked him out, and that was over before the third.
        expect(&[wrong(0..10), wrong(20..30), wrong(9_500..9_510), came_in(9_600..9_610)], 0);
    }

    #[test]
    fn no_password_is_taken_for_another() {
        expect(&[access(0..10, login(false))], 1);
        expect(&[refused_with(STATUS_WRONG, 0..10, login(true))], 1);
    }

    #[test]
    fn without_rules_nothing_is_decided() {
        let login = Access::Login { user: "ann".to_owned(), right: true };
        assert_eq!(check(&[access(0..10, login)]).undecided.len(), 1);
    }
}
