//! Which of two things surely came first, and whether an answer is older than it may be.
//!
//! Certain is what the order of real time or the numbers of versions say; everything else is given the benefit of the
//! doubt. That makes the rules here weaker than linearizability, but they need no search, hold for stale reads too, and
//! what they find is a pair of operations.

use crate::history::Operation;
use crate::register::{Act, Read, Register, Write};

/// A register's certain effects, to be asked often.
#[derive(Debug)]
pub struct Order<'r, 'h> {
    register: &'r Register<'h>,
    /// What a version is known from and since when, by time; each with the highest so far.
    versions: Vec<Known<'h>>,
    /// When writes were asked, by the time at which they had taken effect; each with the latest so far.
    writes: Vec<Known<'h>>,
    /// The same for deletes, if nothing can have brought back what they hid.
    deletes: Vec<Known<'h>>,
    /// Until when deletes, and destructions, can have taken effect, by the time they were asked; each with the latest so far.
    hidden_until: Vec<(u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Known<'h> {
    since_us: u64,
    /// The greatest of all that are known by then.
    number: u64,
    operation: &'h Operation,
}

/// Why an answer is too old.
#[derive(Debug)]
pub struct Outdated<'h> {
    pub reason: String,
    /// What it should have shown, and where what it shows comes from.
    pub operations: Vec<&'h Operation>,
}

impl<'r, 'h> Order<'r, 'h> {
    #[must_use]
    pub fn of(register: &'r Register<'h>) -> Self {
        let effective = || register.writes.iter().filter_map(|write| Some((write.effective_by_us()?, write)));
        let made = effective()
            .filter_map(|(since_us, write)| Some((since_us, write.version()?, proof(write, since_us))));
        let told = register.linearizable_reads();
        let told = told.filter_map(|read| Some((read.operation.returned_us, read.version?, read.operation)));
        let asked = effective().map(|(since_us, write)| (since_us, write.invoked_us, proof(write, since_us)));
        let deletes = register.marks.iter().filter(|mark| mark.act == Act::Delete);
        let hides = register.marks.iter().filter(|mark| !matches!(mark.act, Act::Undelete { .. }));
        let can_undelete = register.marks.iter().any(|mark| matches!(mark.act, Act::Undelete { .. }));
        let deleted = deletes.filter(|_| !can_undelete);
        let deleted =
            deleted.filter_map(|mark| Some((mark.acknowledged_us?, mark.invoked_us, mark.operation)));
        let mut hidden_until: Vec<(u64, u64)> =
            hides.map(|mark| (mark.invoked_us, mark.acknowledged_us.unwrap_or(u64::MAX))).collect();
        hidden_until.sort_unstable();
        let mut latest = 0;
        for (_, until) in &mut hidden_until {
            latest = latest.max(*until);
            *until = latest;
        }
        Self {
            register,
            versions: greatest_so_far(made.chain(told)),
            writes: greatest_so_far(asked),
            deletes: greatest_so_far(deleted),
            hidden_until,
        }
    }

    /// Whether `read` shows something that had surely been replaced before `moment_us`.
    #[must_use]
    pub fn outdated(&self, read: &Read<'h>, moment_us: u64) -> Option<Outdated<'h>> {
        self.by_version(read, moment_us).or_else(|| match read.value {
            Some(value) => self.by_value(value, moment_us),
            None => self.by_absence(read, moment_us),
        })
    }

    fn by_version(&self, read: &Read<'h>, moment_us: u64) -> Option<Outdated<'h>> {
        let version = read.version?;
        let newest = before(&self.versions, moment_us).filter(|newest| newest.number > version)?;
        let reason = format!("shows version {version}, though version {} was there before", newest.number);
        Some(Outdated { reason, operations: vec![newest.operation] })
    }

    fn by_value(&self, value: u64, moment_us: u64) -> Option<Outdated<'h>> {
        let writer = self.register.writer_of(value)?;
        let effective_us = writer.effective_by_us()?;
        let replaced = [&self.writes, &self.deletes].into_iter();
        let later =
            replaced.filter_map(|known| before(known, moment_us)).find(|by| by.number > effective_us)?;
        let mut operations = vec![later.operation];
        operations.extend(writer.seen.map(|seen| seen.operation));
        operations.extend(&writer.attempts);
        Some(Outdated { reason: format!("shows value {value}, which had been replaced before"), operations })
    }

    fn by_absence(&self, read: &Read<'h>, moment_us: u64) -> Option<Outdated<'h>> {
        let newest = before(&self.writes, moment_us)?;
        let asked = self.hidden_until.partition_point(|(asked, _)| *asked <= read.operation.returned_us);
        let hidden_until = asked.checked_sub(1).map(|at| self.hidden_until[at].1);
        if hidden_until.is_some_and(|until| until >= newest.number) {
            return None;
        }
        let reason = "shows nothing, though a value was there before and no later delete hid it".to_owned();
        Some(Outdated { reason, operations: vec![newest.operation] })
    }
}

/// The operation that shows that `write` had taken effect by then.
fn proof<'h>(write: &Write<'h>, since_us: u64) -> &'h Operation {
    let acknowledged = write
        .attempts
        .iter()
        .find(|attempt| write.acknowledged_us == Some(since_us) && attempt.returned_us == since_us);
    match (acknowledged, write.seen) {
        (Some(attempt), _) => attempt,
        (None, Some(seen)) => seen.operation,
        (None, None) => write.attempts[0],
    }
}

fn greatest_so_far<'h>(known: impl Iterator<Item = (u64, u64, &'h Operation)>) -> Vec<Known<'h>> {
    let known = known.map(|(since_us, number, operation)| Known { since_us, number, operation });
    let mut known: Vec<Known<'h>> = known.collect();
    known.sort_by_key(|known| (known.since_us, known.number));
    for at in 1..known.len() {
        if known[at - 1].number > known[at].number {
            known[at] = Known { since_us: known[at].since_us, ..known[at - 1] };
        }
    }
    known
}

/// The greatest that was known before `moment_us`.
fn before<'k, 'h>(known: &'k [Known<'h>], moment_us: u64) -> Option<&'k Known<'h>> {
    known[..known.partition_point(|known| known.since_us < moment_us)].last()
}
