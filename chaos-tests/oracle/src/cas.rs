//! Check-and-set wins once: of all writes to one key that named the same version, at most one took effect, and it made
//! the next version.

use std::collections::BTreeMap;

use crate::history::Operation;
use crate::register::{Register, Write};
use crate::verdict::Verdict;

#[must_use]
pub fn check(registers: &BTreeMap<&str, Register<'_>>) -> Verdict {
    let mut verdict = Verdict::new("cas");
    for register in registers.values() {
        let mut winners: BTreeMap<u64, &Write<'_>> = BTreeMap::new();
        for write in &register.writes {
            let Some(cas) = write.cas.filter(|_| write.effective_by_us().is_some()) else { continue };
            verdict.checked += 1;
            let told = write.acknowledged_version.or(write.seen.and_then(|seen| seen.version));
            if let Some(version) = told.filter(|&version| version != cas.saturating_add(1)) {
                let reason = format!("check-and-set against version {cas} made version {version}");
                verdict.violated(register.key, reason, evidence(write));
            }
            match winners.get(&cas) {
                Some(other) => {
                    let reason = format!("two writes won with check-and-set against version {cas}");
                    verdict.violated(register.key, reason, evidence(other).chain(evidence(write)));
                }
                None => drop(winners.insert(cas, write)),
            }
        }
    }
    verdict
}

/// What shows that `write` took effect.
fn evidence<'h>(write: &Write<'h>) -> impl Iterator<Item = &'h Operation> {
    let seen = write.seen.filter(|_| write.acknowledged_us.is_none());
    write.attempts.clone().into_iter().chain(seen.map(|seen| seen.operation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::registers;
    use crate::testing::{cas, ok, read, refused, unknown, version, write};

    #[track_caller]
    fn expect(history: &[Operation], violations: usize) {
        let verdict = check(&registers(history));
        assert_eq!(verdict.violations.len(), violations, "{verdict:#?}");
    }

    #[test]
    fn one_of_several_wins() {
        expect(&[ok(0..10, cas(1, 0)), refused(0..10, cas(2, 0)), unknown(0..10, cas(3, 0))], 0);
        expect(&[ok(0..10, cas(1, 0)), ok(0..10, cas(2, 1)), ok(0..10, write(3))], 0);
    }

    #[test]
    fn two_winners_are_shown() {
        let history = [ok(0..10, cas(1, 4)), ok(20..30, write(9)), ok(40..50, cas(2, 4))];
        let verdict = check(&registers(&history));
        assert_eq!(verdict.violations[0].operations, [history[0].clone(), history[2].clone()]);
    }

    #[test]
    fn an_unknown_write_whose_value_was_read_has_won() {
        expect(&[ok(0..10, cas(1, 0)), unknown(0..10, cas(2, 0)), read(20..30, 2)], 1);
        expect(&[ok(0..10, cas(1, 0)), unknown(0..10, cas(2, 0)), read(20..30, 1)], 0);
    }

    #[test]
    fn the_winner_makes_the_next_version() {
        expect(&[version(ok(0..10, cas(1, 3)), 4)], 0);
        expect(&[version(ok(0..10, cas(1, 3)), 5)], 1);
        expect(&[unknown(0..10, cas(1, 3)), version(read(20..30, 1), 5)], 1);
    }
}
