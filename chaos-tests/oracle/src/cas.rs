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
