//! The search against the plainest possible one, and the cases worth a name.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::history::{Action, Answer, Outcome};
use crate::register::registers;
use crate::testing::{cas, delete, destroy, ok, read, undelete, unknown, version, write};

fn check_all(history: &[Operation]) -> Verdict {
    check(&registers(history))
}

#[track_caller]
fn linearizable(history: &[Operation]) {
    let verdict = check_all(history);
    assert!(verdict.is_clean(), "{verdict:#?}");
}

/// The history is refused, and these operations are shown as the reason.
#[track_caller]
fn contradicts(history: &[Operation], shown: &[usize]) {
    let verdict = check_all(history);
    assert_eq!(verdict.violations.len(), 1, "{verdict:#?}");
    let expected: Vec<&Operation> = shown.iter().map(|&at| &history[at]).collect();
    assert_eq!(verdict.violations[0].operations.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_read_returns_what_was_written_before_it_was_asked() {
    linearizable(&[ok(0..10, write(1)), read(20..30, 1)]);
    linearizable(&[ok(0..10, write(1)), ok(0..10, write(2)), read(20..30, 1)]);
}

#[test]
fn a_stale_read_after_an_acknowledged_write_is_refused() {
    contradicts(&[ok(0..10, write(1)), ok(20..30, write(2)), read(40..50, 1)], &[0, 1, 2]);
}

#[test]
fn a_lost_write_is_refused() {
    contradicts(&[ok(0..10, write(1)), version(read(20..30, None), 0)], &[0, 1]);
}

#[test]
fn an_acknowledged_version_must_be_the_next() {
    linearizable(&[version(ok(0..10, write(1)), 1), version(ok(20..30, write(2)), 2)]);
    contradicts(&[version(ok(0..10, write(1)), 1), version(ok(20..30, write(2)), 3)], &[1]);
    contradicts(&[version(ok(0..10, write(1)), 2), version(ok(20..30, write(2)), 2)], &[0]);
}

#[test]
fn one_version_is_not_made_twice() {
    contradicts(&[version(ok(0..10, write(1)), 1), version(ok(5..30, write(2)), 1)], &[0, 1]);
}

#[test]
fn two_cas_writes_with_one_version_do_not_both_win() {
    linearizable(&[ok(0..10, cas(1, 0)), ok(0..10, cas(2, 1))]);
    contradicts(&[ok(0..10, cas(1, 0)), ok(0..10, cas(2, 0))], &[0, 1]);
}

#[test]
fn an_unknown_write_may_take_effect_late_or_never() {
    linearizable(&[unknown(0..10, write(1)), ok(20..30, write(2)), read(40..50, 1)]);
    linearizable(&[unknown(0..10, write(1)), ok(20..30, write(2)), read(40..50, 2)]);
}

#[test]
fn an_unknown_write_takes_effect_once_and_not_before_it_was_asked() {
    let twice = [unknown(0..10, write(1)), read(20..30, 1), ok(40..50, write(2)), read(60..70, 1)];
    contradicts(&twice, &[0, 1, 2, 3]);
    contradicts(&[read(0..10, 1), unknown(20..30, write(1))], &[0, 1]);
}

#[test]
fn a_gap_between_versions_is_filled_by_unknown_writes_and_by_nothing_else() {
    let gap = |filler| {
        [
            version(ok(0..10, write(1)), 1),
            filler,
            version(ok(40..50, write(2)), 3),
            version(read(60..70, 2), 3),
        ]
    };
    linearizable(&gap(unknown(20..30, write(9))));
    linearizable(&gap(unknown(20..30, cas(9, 1))));
    contradicts(&gap(unknown(20..30, cas(9, 2))), &[2]);
    contradicts(&gap(unknown(55..58, write(9))), &[2]);
    contradicts(&gap(unknown(20..30, delete())), &[2]);
}

#[test]
fn a_delete_hides_and_an_undelete_shows_again() {
    let history = [
        ok(0..10, write(1)),
        ok(20..30, delete()),
        version(read(40..50, None), 1),
        ok(60..70, undelete(1)),
        version(read(80..90, 1), 1),
    ];
    linearizable(&history);
    contradicts(&[history[0].clone(), history[1].clone(), history[4].clone()], &[0, 1, 2]);
    contradicts(&[history[0].clone(), history[2].clone()], &[1]);
}

#[test]
fn an_unknown_delete_and_undelete_explain_each_one_change() {
    let history = [
        ok(0..10, write(1)),
        unknown(20..30, delete()),
        read(40..50, None),
        unknown(60..70, undelete(1)),
        read(80..90, 1),
    ];
    linearizable(&history);
    let again = [&history[..], &[read(100..110, None)]].concat();
    contradicts(&again, &[0, 2, 4, 5]);
}

#[test]
fn a_delete_after_an_unseen_write_leaves_its_version() {
    linearizable(&[
        version(ok(0..10, write(1)), 1),
        unknown(20..30, write(2)),
        ok(40..50, delete()),
        version(read(60..70, None), 2),
    ]);
}

#[test]
fn an_unseen_write_may_be_needed_before_a_change_though_no_answer_there_names_a_version() {
    linearizable(&[
        version(ok(0..10, write(1)), 1),
        unknown(20..30, write(2)),
        unknown(40..50, delete()),
        read(60..70, None),
        version(read(80..90, None), 2),
    ]);
    // The unknown write against version 0 fits nowhere but first.
    linearizable(&[unknown(0..10, cas(1, 0)), ok(20..40, write(2)), version(ok(20..40, cas(3, 2)), 3)]);
    // The undelete finds another version than it names, so the delete stands.
    linearizable(&[
        ok(0..40, delete()),
        unknown(20..30, write(1)),
        version(ok(20..30, cas(2, 0)), 1),
        ok(50..60, undelete(1)),
        read(70..80, None),
    ]);
}

#[test]
fn a_destroyed_version_stays_gone() {
    let written = version(ok(0..10, write(1)), 1);
    let none = |ms| version(read(ms, None), 1);
    linearizable(&[written.clone(), ok(20..30, destroy(1)), ok(40..50, undelete(1)), none(60..70)]);
    contradicts(&[written.clone(), ok(20..30, destroy(1)), version(read(60..70, 1), 1)], &[0, 1, 2]);
    linearizable(&[written.clone(), unknown(20..30, destroy(1)), read(40..50, 1), none(60..70)]);
    contradicts(&[written, ok(20..30, destroy(2)), none(60..70)], &[2]);
}

#[test]
fn repeats_under_one_idempotency_key_are_one_write() {
    let once = |mut operation: Operation| {
        if let Action::Write { idempotency_key, .. } = &mut operation.action {
            *idempotency_key = Some("once".to_owned());
        }
        operation
    };
    let history = [
        once(unknown(0..10, write(1))),
        version(ok(20..30, write(2)), 2),
        version(once(ok(40..50, write(1))), 1),
        read(60..70, 2),
    ];
    linearizable(&history);
    contradicts(
        &[history[0].clone(), history[1].clone(), history[2].clone(), read(60..70, 1)],
        &[0, 1, 2, 3],
    );
}

#[test]
fn a_search_that_runs_out_of_steps_is_undecided() {
    let history: Vec<Operation> = (1..9).map(|value| ok(0..10, write(value))).collect();
    let history = [history, vec![read(20..30, 1), read(40..50, 1)]].concat();
    assert!(check_within(&registers(&history), 1000).is_clean());
    let verdict = check_within(&registers(&history), 1);
    assert_eq!((verdict.violations.len(), verdict.undecided.len()), (0, 1));
}

#[test]
fn a_value_that_was_written_twice_decides_nothing() {
    let verdict = check_all(&[ok(0..10, write(1)), ok(0..10, write(1))]);
    assert_eq!((verdict.violations.len(), verdict.undecided.len()), (0, 1));
}

/// A register as KV describes it, in the fewest words.
#[derive(Clone, Copy, Default)]
struct Plain {
    version: u64,
    newest: Option<u64>,
    deleted: bool,
    gone: bool,
}

impl Plain {
    /// Does it and answers, or refuses.
    fn take(&mut self, action: &Action) -> Option<Answer> {
        let mut answer = Answer::default();
        match action {
            Action::Read { .. } => {
                answer.value = self.newest.filter(|_| !self.deleted && !self.gone);
                answer.version = Some(self.version);
            }
            Action::Write { cas: Some(cas), .. } if *cas != self.version => return None,
            Action::Write { value, .. } => {
                *self = Self { version: self.version + 1, newest: Some(*value), ..Self::default() };
                answer.version = Some(self.version);
            }
            Action::Delete { .. } => self.deleted = self.newest.is_some(),
            Action::Undelete { version, .. } => self.deleted &= *version != self.version,
            Action::Destroy { version, .. } => self.gone |= *version == self.version,
            Action::ReadVersion { .. } | Action::List { .. } | Action::Access(_) => {}
        }
        Some(answer)
    }
}

/// Every order of every subset.
fn has_order(open: &[&Operation], plain: Plain) -> bool {
    let known = |operation: &Operation| matches!(operation.outcome, Outcome::Ok(_));
    if !open.iter().any(|operation| known(operation)) {
        return true;
    }
    let by_us = open.iter().filter(|o| known(o)).map(|o| o.returned_us).min().unwrap_or(u64::MAX);
    (0..open.len()).filter(|&at| open[at].invoked_us <= by_us).any(|at| {
        let mut rest = open.to_vec();
        let operation = rest.remove(at);
        let mut plain = plain;
        let Some(answer) = plain.take(&operation.action) else { return false };
        let agrees = match &operation.outcome {
            Outcome::Ok(told) => {
                let reads = matches!(operation.action, Action::Read { .. });
                (!reads || told.value == answer.value)
                    && (told.version.is_none() || told.version == answer.version)
            }
            _ => true,
        };
        agrees && has_order(&rest, plain)
    })
}

/// A few operations that took effect one after the other, told with doubt and sometimes wrongly.
fn small_history(rng: &mut StdRng) -> Vec<Operation> {
    let versioned = rng.random_bool(0.7);
    let undeletes = versioned && rng.random_bool(0.5);
    let destroys = versioned && rng.random_bool(0.4);
    let told = rng.random_range(0.2..1.0);
    let width = rng.random_range(1..80);
    let mut plain = Plain::default();
    let mut history = Vec::new();
    for value in 1..=rng.random_range(2..9) {
        let moment = 100 + value * 20;
        let action = match rng.random_range(0..12) {
            0..5 => read(0..1, None).action,
            5..8 => write(value),
            8..10 if versioned => cas(value, plain.version.saturating_sub(u64::from(rng.random_bool(0.2)))),
            10 if undeletes => undelete(plain.version),
            11 if destroys => destroy(plain.version + rng.random_range(0..5) / 4),
            _ => delete(),
        };
        let known = rng.random_bool(0.75);
        // What is unknown was done, or not, or is done by those who come later, which the search has to find out.
        let mut outcome = Outcome::Unknown;
        if known || rng.random_bool(0.6) {
            match plain.take(&action) {
                Some(answer) if known => {
                    let version = answer.version.filter(|_| versioned && rng.random_bool(told));
                    outcome = Outcome::Ok(Answer { version, ..answer });
                }
                None if known => outcome = Outcome::Failed { status: 400 },
                _ => {}
            }
        }
        if let (Outcome::Ok(answer), true) = (&mut outcome, rng.random_bool(0.25)) {
            match rng.random_range(0..3) {
                0 => answer.value = Some(rng.random_range(1..=value)),
                1 => answer.value = None,
                _ => answer.version = answer.version.map(|version| version + rng.random_range(0..2)),
            }
        }
        let invoked_us = moment - rng.random_range(0..width).min(moment);
        let returned_us = moment + rng.random_range(0..width);
        let client = u32::try_from(value).unwrap();
        history.push(Operation { client, node: 1, invoked_us, returned_us, action, outcome });
    }
    history
}

#[test]
fn the_search_agrees_with_trying_every_order() {
    const HISTORIES: usize = 100_000;
    let mut rng = StdRng::seed_from_u64(7);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..HISTORIES {
        let history = small_history(&mut rng);
        let open: Vec<&Operation> = history
            .iter()
            .filter(|operation| !matches!(operation.outcome, Outcome::Failed { .. }))
            .filter(|o| !(matches!(o.action, Action::Read { .. }) && o.outcome == Outcome::Unknown))
            .collect();
        let expected = has_order(&open, Plain::default());
        let verdict = check_all(&history);
        assert!(verdict.undecided.is_empty());
        assert_eq!(verdict.violations.is_empty(), expected, "{history:#?}");
        if expected {
            accepted += 1;
        } else {
            refused += 1;
            let shown: Vec<&Operation> = verdict.violations[0].operations.iter().collect();
            assert!(!shown.is_empty(), "a refusal shows why");
        }
    }
    assert!(accepted > HISTORIES / 10 && refused > HISTORIES / 10, "{accepted} accepted, {refused} refused");
}
