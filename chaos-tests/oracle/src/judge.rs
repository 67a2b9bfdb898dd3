//! All checkers on one history, and one report.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::history::{Operation, Outcome};
use crate::place::Place;
use crate::register::{Register, registers};
use crate::verdict::Verdict;
use crate::{acknowledged, cas, expiry, idempotency, linearizable, list, monotonic, stale, versions};
use crate::{lockout, revocation, token_life, wrapping};

/// Violations of one checker that are written out; the others are counted.
const PRINTED_MAX: usize = 20;

/// What is said about a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub operations: usize,
    pub keys: usize,
    pub ok: usize,
    pub refused: usize,
    pub unknown: usize,
    pub verdicts: Vec<Verdict>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    Clean,
    Violated,
    /// Something could not be decided, which is no better.
    Undecided,
}

/// Runs all checkers; on a history that cannot be evidence, none.
#[must_use]
pub fn judge(history: &[Operation]) -> Report {
    let all = registers(history);
    let keys = all.len();
    // What goes by itself is no register: only its own checker knows what it may answer.
    let (fleeting, lasting): (BTreeMap<&str, Register<'_>>, BTreeMap<&str, Register<'_>>) =
        all.into_iter().partition(|(key, _)| matches!(Place::of(key), Place::Fleeting { .. }));
    let count =
        |wanted: fn(&Outcome) -> bool| history.iter().filter(|operation| wanted(&operation.outcome)).count();
    let mut verdicts = vec![evidence(history)];
    if verdicts[0].is_clean() {
        verdicts.extend([
            linearizable::check(&lasting),
            acknowledged::check(&lasting),
            cas::check(&lasting),
            idempotency::check(&lasting),
            monotonic::check(history),
            stale::check(&lasting),
            list::check(history, &lasting),
            versions::check(&lasting),
            expiry::check(&fleeting),
            revocation::check(history),
            token_life::check(history),
            lockout::check(history),
            wrapping::check(history),
        ]);
    }
    Report {
        operations: history.len(),
        keys,
        ok: count(|outcome| matches!(outcome, Outcome::Ok(_))),
        refused: count(|outcome| matches!(outcome, Outcome::Failed { .. })),
        unknown: count(|outcome| matches!(outcome, Outcome::Unknown)),
        verdicts,
    }
}

/// Whether the history can be evidence at all: time runs forwards, and a client asks one thing at a time.
fn evidence(history: &[Operation]) -> Verdict {
    let mut verdict = Verdict::new("evidence");
    verdict.checked = history.len();
    let mut by_client: BTreeMap<u32, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        by_client.entry(operation.client).or_default().push(operation);
        if operation.returned_us < operation.invoked_us {
            verdict.undecided("", format!("returned before it was asked: {operation}"));
        }
    }
    for operations in by_client.values_mut() {
        operations.sort_by_key(|operation| (operation.invoked_us, operation.returned_us));
        let overlap = operations.windows(2).find(|pair| pair[1].invoked_us < pair[0].returned_us);
        if let Some(pair) = overlap {
            verdict
                .undecided("", format!("one client asked two things at once: {} and {}", pair[0], pair[1]));
        }
    }
    verdict
}

impl Report {
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        if self.verdicts.iter().any(|verdict| !verdict.violations.is_empty()) {
            Judgement::Violated
        } else if self.operations == 0 || self.verdicts.iter().any(|verdict| !verdict.is_clean()) {
            Judgement::Undecided
        } else {
            Judgement::Clean
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} operations on {} keys: {} done, {} refused, {} unknown",
            self.operations, self.keys, self.ok, self.refused, self.unknown
        )?;
        for verdict in &self.verdicts {
            let (violated, undecided) = (verdict.violations.len(), verdict.undecided.len());
            writeln!(
                f,
                "{:<13} {:>9} checked {:>6} violated {:>6} undecided",
                verdict.checker, verdict.checked, violated, undecided
            )?;
        }
        for verdict in &self.verdicts {
            for violation in verdict.violations.iter().take(PRINTED_MAX) {
                write!(f, "\n{} violated on {violation}", verdict.checker)?;
            }
            for undecided in verdict.undecided.iter().take(PRINTED_MAX) {
                writeln!(f, "\n{} undecided on {}: {}", verdict.checker, undecided.key, undecided.reason)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ok, read, write};

    #[test]
    fn one_violation_is_enough_and_is_written_out() {
        let report = judge(&[ok(0..10, write(1)), read(20..30, 2)]);
        assert_eq!(report.judgement(), Judgement::Violated);
        assert!(report.to_string().contains("read k -> ok, value 2"), "{report}");
    }

    #[test]
    fn what_is_not_decided_is_not_clean() {
        let clean = [ok(0..10, write(1)), read(20..30, 1)];
        assert_eq!(judge(&clean).judgement(), Judgement::Clean);
        assert_eq!(judge(&clean[..1]).judgement(), Judgement::Undecided);
        assert_eq!(judge(&[]).judgement(), Judgement::Undecided);
    }

    #[test]
    fn a_client_that_does_two_things_at_once_is_no_evidence() {
        let mut history = [ok(0..10, write(1)), read(5..30, 1), read(40..50, 1)];
        assert_eq!(judge(&history).judgement(), Judgement::Clean);
        history[1].client = history[0].client;
        assert_eq!(judge(&history).judgement(), Judgement::Undecided);
    }

    #[test]
    fn time_does_not_run_backwards() {
        let mut history = [ok(0..10, write(1)), read(20..30, 1)];
        history[0].returned_us = 0;
        history[0].invoked_us = 1;
        assert_eq!(judge(&history).judgement(), Judgement::Undecided);
    }
}
