//! Linearizability of each secret: is there one order of all that happened to it that explains every answer?
//!
//! The order must agree with real time (what returned before another was asked comes before it) and with the rules of KV
//! version 2: versions count up by one for each write, check-and-set writes only onto the version it names, a delete hides
//! the newest version and an undelete shows it again. Without versions in the history the same rules judge KV version 1.
//! Secrets are independent, so each is judged on its own: a history is linearizable if and only if each of its objects is
//! (Herlihy and Wing), and only this makes long histories feasible.
//!
//! Own code and not a crate. `todc-utils` 0.1.1 has the same algorithm, but its last release is of 2023, it needs
//! every operation to have returned, so that unknown outcomes would have to be tried subset by subset, and it cannot be
//! bounded. `stateright` 0.31 has a tester without memory for places it has seen, made for the short histories of a model
//! checker; neither yields the contradicting operations. What makes our histories hard is their unknown outcomes
//! (`problem.rs`), and that depends on the rules of KV.

mod problem;
mod search;
mod shrink;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::problem::Problem;
use self::search::{Found, search};
use crate::history::Operation;
use crate::register::Register;
use crate::verdict::Verdict;

/// Places the search of one secret may visit. A clean history of n operations needs about n.
pub const SEARCH_STEPS_MAX: u64 = 3_000_000;
/// Violated secrets whose contradiction is looked for; of the others it is only said that there is one.
const SHRUNK_MAX: usize = 8;
/// Operations that are shown of one contradiction that could not be made smaller in time.
const SHOWN_MAX: usize = 60;

/// Judges every register.
#[must_use]
pub fn check(registers: &BTreeMap<&str, Register<'_>>) -> Verdict {
    check_within(registers, SEARCH_STEPS_MAX)
}

/// Judges every register, each in at most `steps_max` places of the search.
#[must_use]
pub fn check_within(registers: &BTreeMap<&str, Register<'_>>, steps_max: u64) -> Verdict {
    let mut verdict = Verdict::new("linearizable");
    for register in registers.values() {
        if let Some(value) = register.ambiguous {
            verdict.undecided(register.key, format!("the value {value} was written by more than one write"));
            continue;
        }
        let problem = Problem::of(register);
        verdict.checked += problem.steps.len();
        match search(&problem, steps_max).0 {
            Found::Order => {}
            Found::Exhausted => {
                verdict
                    .undecided(register.key, format!("no order was found or excluded in {steps_max} steps"));
            }
            Found::NoOrder => {
                let (reason, shown) = match verdict.violations.len() {
                    0..SHRUNK_MAX => explanation(register),
                    _ => ("no order explains the answers".to_owned(), Vec::new()),
                };
                verdict.violated(register.key, reason, shown);
            }
        }
    }
    verdict
}

fn explanation<'h>(register: &Register<'h>) -> (String, Vec<&'h Operation>) {
    let mut shown = shrink::contradiction(register);
    let found = shown.len();
    if found <= SHOWN_MAX {
        return ("no order explains these answers, whatever became of all else".to_owned(), shown);
    }
    shown.sort_by_key(|operation| operation.returned_us);
    let reason = format!("no order explains {found} answers, of which these are the last");
    (reason, shown.split_off(found - SHOWN_MAX))
}
