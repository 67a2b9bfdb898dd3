//! A stale answer is not older than it says, says it, and shows something that was there.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Freshness, Operation};
use crate::order::Order;
use crate::register::{Read, Register};
use crate::verdict::Verdict;

/// Nodes state whole milliseconds and round down.
const ROUNDING_US: u64 = 1000;

#[must_use]
pub fn check(registers: &BTreeMap<&str, Register<'_>>) -> Verdict {
    let mut verdict = Verdict::new("stale");
    for register in registers.values() {
        let order = Order::of(register);
        for read in &register.reads {
            let Freshness::Stale { bound_ms } = read.freshness else { continue };
            verdict.checked += 1;
            judge(register, &order, read, bound_ms, &mut verdict);
        }
        one_value_a_version(register, &mut verdict);
    }
    verdict
}

fn judge<'h>(
    register: &Register<'h>,
    order: &Order<'_, 'h>,
    read: &Read<'h>,
    bound_ms: u64,
    verdict: &mut Verdict,
) {
    let key = register.key;
    let (Some(stale_for_ms), Some(moment_us)) = (read.stale_for_ms, moment_us(read)) else {
        return verdict.violated(key, "does not say how old it may be", [read.operation]);
    };
    if stale_for_ms > bound_ms {
        let reason = format!("is {stale_for_ms} ms old, though {bound_ms} ms was the bound");
        verdict.violated(key, reason, [read.operation]);
    }
    if let Some(value) = read.value {
        match register.writer_of(value) {
            None => {
                return verdict.violated(
                    key,
                    format!("shows value {value}, which nobody wrote or whose write was refused"),
                    [read.operation],
                );
            }
            Some(write) if write.invoked_us > read.operation.returned_us => {
                let operations = write.attempts.iter().copied().chain([read.operation]);
                return verdict.violated(
                    key,
                    format!("shows value {value} before it was written"),
                    operations,
                );
            }
            Some(_) => {}
        }
    }
    if let Some(outdated) = order.outdated(read, moment_us) {
        let reason = format!("is older than the {stale_for_ms} ms it states: it {}", outdated.reason);
        verdict.violated(key, reason, outdated.operations.into_iter().chain([read.operation]));
    }
}

/// The moment at which what the answer shows may have been current at the earliest.
pub(crate) fn moment_us(read: &Read<'_>) -> Option<u64> {
    let age_us = read.stale_for_ms?.saturating_mul(1000).saturating_add(ROUNDING_US);
    Some(read.operation.invoked_us.saturating_sub(age_us))
}

/// A stale answer may show a change that was not committed; it is found out when another takes the version.
fn one_value_a_version(register: &Register<'_>, verdict: &mut Verdict) {
    let mut values: HashMap<u64, (u64, &Operation)> = HashMap::new();
    for write in register.writes.iter().filter(|write| write.effective_by_us().is_some()) {
        if let Some(version) = write.version() {
            values.entry(version).or_insert((write.value, write.attempts[0]));
        }
    }
    for read in register.reads.iter().filter(|read| !read.is_linearizable()) {
        let (Some(value), Some(version)) = (read.value, read.version) else { continue };
        let (known, proof) = *values.entry(version).or_insert((value, read.operation));
        if known != value {
            let reason = format!("version {version} is shown as {value} and was {known}");
            verdict.violated(register.key, reason, [proof, read.operation]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Answer, Outcome};
    use crate::register::registers;
    use crate::testing::{delete, ok, read, refused, stale, unknown, version, write};

    #[track_caller]
    fn expect(history: &[Operation], violations: usize) {
        let verdict = check(&registers(history));
        assert_eq!(verdict.violations.len(), violations, "{verdict:#?}");
    }

    #[test]
    fn an_answer_may_be_as_old_as_it_says() {
        let writes = [ok(0..10, write(1)), ok(20..30, write(2))];
        expect(&[&writes[..], &[stale(60..70, 1, 30)]].concat(), 0);
        expect(&[&writes[..], &[stale(60..70, 1, 28)]].concat(), 1);
        expect(&[&writes[..], &[stale(60..70, 2, 0)]].concat(), 0);
        expect(&[&writes[..], &[stale(60..70, None, 28)]].concat(), 1);
    }

    #[test]
    fn it_says_how_old_and_keeps_the_bound() {
        expect(&[stale(0..10, None, 100)], 0);
        expect(&[stale(0..10, None, 101)], 1);
        let mut silent = stale(0..10, None, 0);
        silent.outcome = Outcome::Ok(Answer::default());
        expect(&[silent], 1);
    }

    #[test]
    fn nothing_is_shown_that_nobody_wrote() {
        expect(&[stale(20..30, 1, 5)], 1);
        expect(&[refused(0..10, write(1)), stale(20..30, 1, 5)], 1);
        expect(&[stale(20..30, 1, 5), ok(40..50, write(1))], 1);
        expect(&[unknown(0..10, write(1)), stale(20..30, 1, 5)], 0);
    }

    #[test]
    fn a_delete_counts_like_a_write() {
        let history = [ok(0..10, write(1)), ok(20..30, delete())];
        expect(&[&history[..], &[stale(60..70, 1, 10)]].concat(), 1);
        expect(&[&history[..], &[stale(60..70, 1, 35)]].concat(), 0);
        expect(&[&history[..], &[stale(60..70, None, 10)]].concat(), 0);
    }

    #[test]
    fn what_a_linearizable_read_has_shown_is_known_from_then_on() {
        let history =
            [version(ok(0..10, write(1)), 1), unknown(20..30, write(2)), version(read(40..50, 2), 2)];
        expect(&[&history[..], &[version(stale(70..80, 1, 10), 1)]].concat(), 1);
        expect(&[&history[..], &[version(stale(70..80, 1, 25), 1)]].concat(), 0);
    }

    #[test]
    fn a_version_shows_one_value_to_all() {
        let history = [version(ok(0..10, write(1)), 1), unknown(0..10, write(2))];
        expect(&[&history[..], &[version(stale(5..10, 2, 5), 1)]].concat(), 1);
        expect(&[&history[..], &[version(stale(5..10, 2, 5), 2)]].concat(), 0);
    }
}
