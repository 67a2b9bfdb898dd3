//! A list holds every name that was surely there, and none that was surely not.
//!
//! A name is there from its first write on: of data or, in KV v2, of metadata. In KV v1 a delete takes it away; a soft
//! delete of KV v2 does not. What overlaps the list, or has an unknown outcome, may go either way.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Action, Operation, Outcome};
use crate::place::{METADATA, Place};
use crate::register::{Act, Register};
use crate::verdict::Verdict;

/// Lists must be linearizable.
#[must_use]
pub fn check(history: &[Operation], registers: &BTreeMap<&str, Register<'_>>) -> Verdict {
    let mut verdict = Verdict::new("list");
    let mut folders: BTreeMap<&str, BTreeMap<&str, Presence<'_>>> = BTreeMap::new();
    for (key, register) in registers {
        let secret = match Place::of(key) {
            Place::Metadata { path } => path,
            _ => key,
        };
        if let Some((folder, name)) = secret.rsplit_once('/') {
            folders.entry(folder).or_default().entry(name).or_default().add(key, register);
        }
    }
    let nothing = BTreeMap::new();
    for operation in history {
        let (Action::List { folder }, Outcome::Ok(answer)) = (&operation.action, &operation.outcome) else {
            continue;
        };
        verdict.checked += 1;
        let names = folders.get(folder.as_str()).unwrap_or(&nothing);
        let listed: BTreeSet<&str> = answer.names.iter().map(String::as_str).collect();
        for (name, presence) in names.iter().filter(|(name, _)| !listed.contains(*name)) {
            if let Some(write) = presence.surely_there(operation) {
                let reason = format!("the name {name} is missing, though it was written and not deleted");
                verdict.violated(folder, reason, [write, operation]);
            }
        }
        for name in listed {
            match names.get(name).map(|presence| presence.surely_absent(operation)) {
                None => verdict.violated(folder, format!("shows {name}, which nobody wrote"), [operation]),
                Some(Some(None)) => {
                    verdict.violated(folder, format!("shows {name} before it was written"), [operation]);
                }
                Some(Some(Some(delete))) => {
                    let reason = format!("shows {name}, which was deleted before");
                    verdict.violated(folder, reason, [delete, operation]);
                }
                Some(None) => {}
            }
        }
    }
    verdict
}

/// When a name came and went.
#[derive(Default)]
struct Presence<'h> {
    writes: Vec<Change<'h>>,
    deletes: Vec<Change<'h>>,
}

#[derive(Clone, Copy)]
struct Change<'h> {
    invoked_us: u64,
    /// When it had taken effect at the latest, if anything proves that it did.
    effective_by_us: Option<u64>,
    operation: &'h Operation,
}

impl<'h> Presence<'h> {
    fn add(&mut self, key: &str, register: &Register<'h>) {
        self.writes.extend(register.writes.iter().map(|write| Change {
            invoked_us: write.invoked_us,
            effective_by_us: write.effective_by_us(),
            operation: write.attempts[0],
        }));
        if matches!(Place::of(key), Place::Plain { .. }) {
            let deletes = register.marks.iter().filter(|mark| mark.act == Act::Delete);
            self.deletes.extend(deletes.map(|mark| Change {
                invoked_us: mark.invoked_us,
                effective_by_us: mark.acknowledged_us,
                operation: mark.operation,
            }));
        }
        debug_assert!(!key.starts_with(METADATA) || register.marks.is_empty(), "notes are not deleted");
    }

    /// A write that no delete can have followed by the time of `list`.
    fn surely_there(&self, list: &Operation) -> Option<&'h Operation> {
        let before = |write: &&Change<'_>| write.effective_by_us.is_some_and(|us| us < list.invoked_us);
        let write = self.writes.iter().filter(before).max_by_key(|write| write.invoked_us)?;
        let mut asked = self.deletes.iter().filter(|delete| delete.invoked_us <= list.returned_us);
        let hidden = asked.any(|delete| delete.effective_by_us.is_none_or(|us| us >= write.invoked_us));
        (!hidden).then_some(write.operation)
    }

    /// Whether the name cannot be there, and which delete took it away; none if it had not been written yet.
    fn surely_absent(&self, list: &Operation) -> Option<Option<&'h Operation>> {
        let mut asked = self.writes.iter().filter(|write| write.invoked_us <= list.returned_us).peekable();
        if asked.peek().is_none() {
            return Some(None);
        }
        let before = |delete: &&Change<'_>| delete.effective_by_us.is_some_and(|us| us < list.invoked_us);
        let delete = self.deletes.iter().filter(before).max_by_key(|delete| delete.invoked_us)?;
        let all_before = asked.all(|write| write.effective_by_us.is_some_and(|us| us < delete.invoked_us));
        all_before.then_some(Some(delete.operation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::registers;
    use crate::testing::{delete, list, ok, on, refused, unknown, write};

    #[track_caller]
    fn expect(history: &[Operation], violations: usize) {
        let verdict = check(history, &registers(history));
        assert_eq!(verdict.violations.len(), violations, "{verdict:#?}");
    }

    #[test]
    fn a_name_that_was_written_is_listed_from_then_on() {
        let written = on("f/a", ok(0..10, write(1)));
        expect(&[written.clone(), list(20..30, "f", &["a"])], 0);
        expect(&[written.clone(), list(20..30, "f", &[])], 1);
        expect(&[written, list(5..30, "f", &[])], 0);
        expect(&[on("f/a", unknown(0..10, write(1))), list(20..30, "f", &[])], 0);
    }

    #[test]
    fn a_name_that_nobody_wrote_is_not_listed() {
        expect(&[list(20..30, "f", &["a"])], 1);
        expect(&[on("f/a", refused(0..10, write(1))), list(20..30, "f", &["a"])], 1);
        expect(&[on("f/a", unknown(0..10, write(1))), list(20..30, "f", &["a"])], 0);
        expect(&[list(0..10, "f", &["a"]), on("f/a", ok(20..30, write(1)))], 1);
        expect(&[on("g/a", ok(0..10, write(1))), list(20..30, "f", &["a"])], 1);
    }

    #[test]
    fn a_delete_of_kv_1_takes_the_name_away() {
        let history = [on("plain/f/a", ok(0..10, write(1))), on("plain/f/a", ok(20..30, delete()))];
        expect(&[&history[..], &[list(40..50, "plain/f", &[])]].concat(), 0);
        expect(&[&history[..], &[list(40..50, "plain/f", &["a"])]].concat(), 1);
        expect(&[&history[..], &[list(25..50, "plain/f", &["a"])]].concat(), 0);
        let again = on("plain/f/a", unknown(22..24, write(2)));
        expect(&[&history[..], &[again, list(40..50, "plain/f", &["a"])]].concat(), 0);
    }

    #[test]
    fn a_soft_delete_of_kv_2_leaves_the_name() {
        let history = [on("f/a", ok(0..10, write(1))), on("f/a", ok(20..30, delete()))];
        expect(&[&history[..], &[list(40..50, "f", &["a"])]].concat(), 0);
        expect(&[&history[..], &[list(40..50, "f", &[])]].concat(), 1);
    }

    #[test]
    fn metadata_makes_a_name_too() {
        let note = on("meta/f/a", ok(0..10, write(1)));
        expect(&[note.clone(), list(20..30, "f", &["a"])], 0);
        expect(&[note, list(20..30, "f", &[])], 1);
    }
}
