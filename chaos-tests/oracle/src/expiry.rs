//! What is deleted by itself after a time is there until then and gone afterwards, whoever leads and whatever his clock says.

use std::collections::BTreeMap;

use crate::history::Operation;
use crate::place::Place;
use crate::register::{Act, Read, Register};
use crate::verdict::Verdict;

/// How far the cluster's time may be from a true clock over the life of a version: a change of leaders costs some.
pub const SLACK_MS: u64 = 2_000;
const US_PER_MS: u64 = 1_000;

/// Of keys whose [`Place`] is fleeting.
#[must_use]
pub fn check(registers: &BTreeMap<&str, Register<'_>>) -> Verdict {
    let mut verdict = Verdict::new("expiry");
    for register in registers.values() {
        let Place::Fleeting { after_ms, .. } = Place::of(register.key) else { continue };
        let span = Span { after_us: after_ms * US_PER_MS, slack_us: SLACK_MS * US_PER_MS };
        for read in register.linearizable_reads() {
            verdict.checked += 1;
            let found = match read.value {
                Some(value) => span.outlived(register, read, value),
                None => span.vanished(register, read),
            };
            if let Some((reason, operations)) = found {
                verdict.violated(register.key, reason, operations.into_iter().chain([read.operation]));
            }
        }
    }
    verdict
}

struct Span {
    after_us: u64,
    slack_us: u64,
}

impl Span {
    fn outlived<'h>(
        &self,
        register: &Register<'h>,
        read: &Read<'h>,
        value: u64,
    ) -> Option<(String, Vec<&'h Operation>)> {
        let Some(write) = register.writer_of(value) else {
            return Some((format!("shows value {value}, which nobody wrote"), Vec::new()));
        };
        let gone_us = write.effective_by_us()?.saturating_add(self.after_us + self.slack_us);
        let late_us = read.operation.invoked_us.checked_sub(gone_us).filter(|late_us| *late_us > 0)?;
        let late_ms = late_us / US_PER_MS + SLACK_MS;
        Some((format!("is still there {late_ms} ms after its time"), write.attempts.clone()))
    }

    fn vanished<'h>(&self, register: &Register<'h>, read: &Read<'h>) -> Option<(String, Vec<&'h Operation>)> {
        let safe_us = read.operation.returned_us.saturating_add(self.slack_us);
        let write = register.writes.iter().find(|write| {
            write.effective_by_us().is_some_and(|us| us < read.operation.invoked_us)
                && safe_us < write.invoked_us.saturating_add(self.after_us)
        })?;
        let hidden = register.marks.iter().any(|mark| {
            let over = mark.acknowledged_us.is_some_and(|us| us < write.invoked_us);
            !matches!(mark.act, Act::Undelete { .. })
                && !over
                && mark.invoked_us <= read.operation.returned_us
        });
        let age_ms = read.operation.returned_us.saturating_sub(write.invoked_us) / US_PER_MS;
        (!hidden).then(|| {
            let reason = format!(
                "is gone after {age_ms} ms at most, and was to last {} ms",
                self.after_us / US_PER_MS
            );
            (reason, write.attempts.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::registers;
    use crate::testing::{delete, ok, on, read, unknown, write};

    #[track_caller]
    fn expect(history: &[Operation], violations: usize) {
        let history: Vec<Operation> =
            history.iter().map(|operation| on("lasts-5000/k", operation.clone())).collect();
        let verdict = check(&registers(&history));
        assert_eq!(
            (verdict.violations.len(), verdict.checked),
            (violations, history.len() - 1),
            "{verdict:#?}"
        );
    }

    #[test]
    fn it_is_gone_after_its_time() {
        expect(&[ok(0..10, write(1)), read(7_005..7_020, 1)], 0);
        expect(&[ok(0..10, write(1)), read(7_011..7_020, 1)], 1);
        expect(&[ok(0..10, write(1)), read(7_011..7_020, None)], 0);
    }

    #[test]
    fn it_is_there_until_its_time() {
        expect(&[ok(0..10, write(1)), read(2_000..2_900, None)], 1);
        expect(&[ok(0..10, write(1)), read(2_000..3_100, None)], 0);
        expect(&[ok(0..10, write(1)), read(5..20, None)], 0);
        expect(&[unknown(0..10, write(1)), read(2_000..2_900, None)], 0);
    }

    #[test]
    fn a_write_that_was_only_seen_counts_from_when_it_was_seen() {
        expect(&[unknown(0..10, write(1)), read(3_000..3_010, 1)], 0);
        let history = [unknown(0..10, write(1)), read(30..40, 1), read(7_030..7_050, 1)];
        expect(&history, 0);
        expect(&[unknown(0..10, write(1)), read(30..40, 1), read(7_041..7_050, 1)], 1);
    }

    #[test]
    fn somebody_may_have_deleted_it() {
        let history = [ok(0..10, write(1)), ok(20..30, delete()), read(2_000..2_900, None)]
            .map(|operation| on("lasts-5000/k", operation));
        assert!(check(&registers(&history)).is_clean());
    }

    #[test]
    fn nothing_is_shown_that_nobody_wrote() {
        expect(&[ok(0..10, write(1)), read(20..30, 2)], 1);
    }
}
