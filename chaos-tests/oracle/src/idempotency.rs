//! A write takes effect at most once, however often it was sent under its idempotency key, by the client or on the way.
//!
//! Four signs that it did more than once: its acknowledgements name two versions; its value was read as two versions; its
//! value came back after another was read; or there are more versions than writes.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Operation, Outcome};
use crate::register::{Read, Register, Write};
use crate::verdict::Verdict;

#[must_use]
pub fn check(registers: &BTreeMap<&str, Register<'_>>) -> Verdict {
    let mut verdict = Verdict::new("idempotency");
    let mut used: HashMap<&str, (&str, &Write<'_>)> = HashMap::new();
    for register in registers.values() {
        verdict.checked += register.writes.len();
        for write in &register.writes {
            let Some(name) = write.idempotency_key else { continue };
            if let Some((_, other)) = used.insert(name, (register.key, write)) {
                let reason = format!("{name} names two different writes, and both may have been done");
                if write.acknowledged_us.is_some() && other.acknowledged_us.is_some() {
                    verdict.violated(
                        register.key,
                        reason,
                        write.attempts.iter().chain(&other.attempts).copied(),
                    );
                }
            }
        }
        two_versions(register, &mut verdict);
        if register.ambiguous.is_none() {
            came_back(register, &mut verdict);
        }
        too_many_versions(register, &mut verdict);
    }
    verdict
}

/// What was answered about the version of each value, by acknowledgements and reads of every freshness.
fn two_versions(register: &Register<'_>, verdict: &mut Verdict) {
    let acknowledged = register.writes.iter().flat_map(|write| {
        write.attempts.iter().filter_map(|attempt| match &attempt.outcome {
            Outcome::Ok(answer) => Some((write.value, answer.version?, *attempt)),
            _ => None,
        })
    });
    let read = register.reads.iter();
    let read = read.filter_map(|read| Some((read.value?, read.version?, read.operation)));
    let mut first: HashMap<u64, (u64, &Operation)> = HashMap::new();
    for (value, version, operation) in acknowledged.chain(read) {
        let (known, proof) = *first.entry(value).or_insert((version, operation));
        if known != version {
            let reason = format!("the write of {value} made versions {known} and {version}");
            verdict.violated(register.key, reason, [proof, operation]);
        }
    }
}

/// A linearizable read of another value that lies between two of the same value. Where something may be undeleted, finding
/// nothing in between proves nothing.
fn came_back(register: &Register<'_>, verdict: &mut Verdict) {
    let undeletes = register.marks.iter().any(|mark| mark.act != crate::register::Act::Delete);
    let mut reads: Vec<&Read<'_>> = register.linearizable_reads().collect();
    reads.sort_by_key(|read| read.operation.invoked_us);
    let mut spans: BTreeMap<u64, (&Operation, &Operation)> = BTreeMap::new();
    for read in &reads {
        let Some(value) = read.value else { continue };
        let (first, last) = spans.entry(value).or_insert((read.operation, read.operation));
        if read.operation.returned_us < first.returned_us {
            *first = read.operation;
        }
        *last = read.operation;
    }
    for (value, (first, last)) in spans {
        let from = reads.partition_point(|read| read.operation.invoked_us <= first.returned_us);
        let between = reads[from..].iter().take_while(|read| read.operation.invoked_us < last.invoked_us);
        let other = between
            .filter(|read| read.operation.returned_us < last.invoked_us)
            .find(|read| read.value != Some(value) && (read.value.is_some() || !undeletes));
        if let Some(other) = other {
            let reason = format!("value {value} came back after it had been replaced");
            verdict.violated(register.key, reason, [first, other.operation, last]);
        }
    }
}

fn too_many_versions(register: &Register<'_>, verdict: &mut Verdict) {
    let acknowledged = register.writes.iter().filter_map(|write| {
        Some((write.acknowledged_version?, write.attempts.iter().find(|attempt| {
            matches!(&attempt.outcome, Outcome::Ok(answer) if answer.version == write.acknowledged_version)
        })?))
    });
    let read = register.reads.iter().filter_map(|read| Some((read.version?, &read.operation)));
    let Some((version, operation)) = acknowledged.chain(read).max_by_key(|(version, _)| *version) else {
        return;
    };
    let asked = |write: &&Write<'_>| write.invoked_us <= operation.returned_us;
    let writes = register.writes.iter().filter(asked).count() as u64;
    if version > writes {
        let reason = format!("version {version} after no more than {writes} writes");
        verdict.violated(register.key, reason, [*operation]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::registers;
    use crate::testing::{delete, ok, once, read, stale, undelete, unknown, version, write};

    #[track_caller]
    fn expect(history: &[Operation], violations: usize) {
        let verdict = check(&registers(history));
        assert_eq!(verdict.violations.len(), violations, "{verdict:#?}");
    }

    #[test]
    fn a_repeat_is_answered_as_the_first_was() {
        let first = version(ok(0..10, once("a", 1)), 1);
        expect(&[first.clone(), version(ok(20..30, once("a", 1)), 1)], 0);
        expect(&[first, ok(12..15, write(2)), version(ok(20..30, once("a", 1)), 3)], 1);
    }

    #[test]
    fn a_value_has_one_version_wherever_it_is_read() {
        let first = unknown(0..10, once("a", 1));
        let others = ok(0..10, write(2));
        let read = version(read(20..30, 1), 1);
        expect(&[first.clone(), others.clone(), read.clone(), version(stale(40..50, 1, 9), 1)], 0);
        expect(&[first, others, read, version(stale(40..50, 1, 9), 2)], 1);
    }

    #[test]
    fn a_value_that_was_replaced_does_not_come_back() {
        let history = [unknown(0..10, once("a", 1)), ok(0..10, write(2)), read(20..30, 1), read(40..50, 2)];
        expect(&history, 0);
        expect(&[&history[..], &[read(60..70, 1)]].concat(), 1);
        expect(&[&history[..], &[read(45..70, 1)]].concat(), 0);
    }

    #[test]
    fn but_it_may_be_undeleted() {
        let history = [ok(0..10, write(1)), read(12..15, 1), ok(20..30, delete()), read(40..50, None)];
        let back = read(80..90, 1);
        expect(&[&history[..], std::slice::from_ref(&back)].concat(), 1);
        expect(&[&history[..], &[unknown(60..70, undelete(1)), back]].concat(), 0);
    }

    #[test]
    fn there_are_no_more_versions_than_writes() {
        let repeats = [unknown(0..10, once("a", 1)), unknown(20..30, once("a", 1))];
        expect(&[&repeats[..], &[version(ok(40..50, write(2)), 2)]].concat(), 0);
        expect(&[&repeats[..], &[version(ok(40..50, write(2)), 3)]].concat(), 1);
    }

    #[test]
    fn one_name_is_not_acknowledged_for_two_writes() {
        expect(&[ok(0..10, once("a", 1)), unknown(20..30, once("a", 2))], 0);
        expect(&[ok(0..10, once("a", 1)), ok(20..30, once("a", 2))], 1);
    }
}
