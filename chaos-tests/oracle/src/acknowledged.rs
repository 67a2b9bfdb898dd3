//! No acknowledged change is lost: what the nodes show in the end is not older than the last acknowledged change.
//!
//! The end of a key is what was read after all who changed it had their answer or had given up. A key with acknowledged
//! writes that nobody read in the end proves nothing, and is undecided.

use std::collections::BTreeMap;

use crate::history::Freshness;
use crate::order::Order;
use crate::register::{Read, Register};
use crate::verdict::Verdict;

#[must_use]
pub fn check(registers: &BTreeMap<&str, Register<'_>>) -> Verdict {
    let mut verdict = Verdict::new("acknowledged");
    for register in registers.values() {
        let attempts = register.writes.iter().flat_map(|write| &write.attempts).copied();
        let marks = register.marks.iter().map(|mark| mark.operation);
        let ended_us = attempts.chain(marks).map(|change| change.returned_us).max().unwrap_or(0);
        let order = Order::of(register);
        let mut finals = 0;
        for read in &register.reads {
            let Some(moment_us) = moment(read).filter(|&moment_us| moment_us > ended_us) else { continue };
            finals += 1;
            if let Some(outdated) = order.outdated(read, moment_us) {
                let operations = outdated.operations.into_iter().chain([read.operation]);
                verdict.violated(
                    register.key,
                    format!(
                        "an acknowledged change is lost: node {} {}",
                        read.operation.node, outdated.reason
                    ),
                    operations,
                );
            }
        }
        verdict.checked += finals;
        let acknowledged = register.writes.iter().filter(|write| write.acknowledged_us.is_some()).count();
        if finals == 0 && acknowledged > 0 {
            let reason = format!("{acknowledged} acknowledged writes, and no read after the last change");
            verdict.undecided(register.key, reason);
        }
    }
    verdict
}

/// From when on a read must show what is there.
pub(crate) fn moment(read: &Read<'_>) -> Option<u64> {
    match read.freshness {
        Freshness::Linearizable => Some(read.operation.invoked_us),
        Freshness::Stale { .. } => crate::stale::moment_us(read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Operation;
    use crate::register::registers;
    use crate::testing::{delete, ok, read, stale, undelete, unknown, version, write};

    #[track_caller]
    fn expect(history: &[Operation], violations: usize, undecided: usize) {
        let verdict = check(&registers(history));
        assert_eq!(
            (verdict.violations.len(), verdict.undecided.len()),
            (violations, undecided),
            "{verdict:#?}"
        );
    }

    #[test]
    fn the_last_acknowledged_write_is_still_there() {
        expect(&[ok(0..10, write(1)), ok(20..30, write(2)), read(40..50, 2)], 0, 0);
        expect(&[ok(0..10, write(1)), ok(5..30, write(2)), read(40..50, 1)], 0, 0);
    }

    #[test]
    fn an_older_value_or_none_means_a_loss() {
        expect(&[ok(0..10, write(1)), ok(20..30, write(2)), read(40..50, 1)], 1, 0);
        expect(&[ok(0..10, write(1)), read(40..50, None)], 1, 0);
    }

    #[test]
    fn versions_order_what_overlapped() {
        let history =
            [version(ok(0..10, write(1)), 1), version(ok(5..30, write(2)), 2), version(read(40..50, 1), 1)];
        expect(&history, 1, 0);
    }

    #[test]
    fn each_node_that_shows_a_loss_is_named() {
        let mut elsewhere = read(60..70, 1);
        elsewhere.node = 3;
        let history = [ok(0..10, write(1)), ok(20..30, write(2)), read(40..50, 2), elsewhere];
        let verdict = check(&registers(&history));
        assert!(verdict.violations[0].reason.contains("node 3"), "{verdict:#?}");
        assert_eq!(verdict.violations[0].operations.len(), 3);
    }

    #[test]
    fn a_delete_explains_nothing_unless_a_write_came_after_it() {
        expect(&[ok(0..10, write(1)), ok(20..30, delete()), read(40..50, None)], 0, 0);
        expect(&[ok(0..10, write(1)), unknown(20..30, delete()), read(40..50, None)], 0, 0);
        expect(&[ok(0..10, delete()), ok(20..30, write(1)), read(40..50, None)], 1, 0);
    }

    #[test]
    fn a_lost_delete_is_a_loss_unless_it_may_have_been_undone() {
        let history = [ok(0..10, write(1)), ok(20..30, delete()), read(60..70, 1)];
        expect(&history, 1, 0);
        expect(&[&history[..2], &[unknown(40..50, undelete(1))], &history[2..]].concat(), 0, 0);
    }

    #[test]
    fn an_unknown_write_may_win_late_but_not_after_it_was_seen_and_replaced() {
        expect(&[unknown(0..10, write(1)), ok(20..30, write(2)), read(40..50, 1)], 0, 0);
        let seen = read(12..15, 1);
        expect(&[unknown(0..10, write(1)), seen, ok(20..30, write(2)), read(40..50, 1)], 1, 0);
    }

    #[test]
    fn without_a_read_in_the_end_nothing_is_proven() {
        expect(&[ok(0..10, write(1)), read(5..30, 1), ok(20..30, write(2))], 0, 1);
        expect(&[ok(0..10, write(1)), stale(40..50, 1, 60)], 0, 1);
        expect(&[ok(0..10, write(1)), stale(40..50, 1, 20)], 0, 0);
        expect(&[unknown(0..10, write(1))], 0, 0);
    }
}
