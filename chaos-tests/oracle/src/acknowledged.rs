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
