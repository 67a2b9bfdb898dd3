//! A history sorted by key: each secret is a register of its own, so each can be judged on its own.
//!
//! Repeats under one idempotency key are one write here: it took effect at most once, after the first of them was asked
//! and before the first acknowledgement returned. What was certainly refused is left out. A value that was read proves
//! that its write took effect, whatever the writer was told, and when at the latest: before that read returned.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Action, Freshness, Operation, Outcome};

/// Everything that happened to one key.
#[derive(Debug, Clone)]
pub struct Register<'h> {
    pub key: &'h str,
    pub writes: Vec<Write<'h>>,
    pub marks: Vec<Mark<'h>>,
    /// Answered reads of every freshness.
    pub reads: Vec<Read<'h>>,
    /// Answered reads of a version by its number.
    pub version_reads: Vec<Read<'h>>,
    /// Which of the writes wrote a value.
    source: HashMap<u64, usize>,
    /// A value that more than one write wrote: nothing can be said about its readers.
    pub ambiguous: Option<u64>,
}

/// One write, however often it was sent.
#[derive(Debug, Clone)]
pub struct Write<'h> {
    pub value: u64,
    pub cas: Option<u64>,
    pub idempotency_key: Option<&'h str>,
    pub invoked_us: u64,
    /// When the first acknowledgement was there.
    pub acknowledged_us: Option<u64>,
    pub acknowledged_version: Option<u64>,
    pub seen: Option<Seen<'h>>,
    /// Without those that were refused.
    pub attempts: Vec<&'h Operation>,
}

/// The first linearizable answer that held a write's value.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'h> {
    pub returned_us: u64,
    pub version: Option<u64>,
    pub operation: &'h Operation,
}

/// A soft delete of the newest version, its undoing, or the destruction of a version.
#[derive(Debug, Clone)]
pub struct Mark<'h> {
    pub act: Act,
    pub invoked_us: u64,
    pub acknowledged_us: Option<u64>,
    pub operation: &'h Operation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Delete,
    Undelete { version: u64 },
    Destroy { version: u64 },
}

#[derive(Debug, Clone)]
pub struct Read<'h> {
    pub value: Option<u64>,
    pub version: Option<u64>,
    pub freshness: Freshness,
    pub stale_for_ms: Option<u64>,
    pub operation: &'h Operation,
}

impl Write<'_> {
    /// When it had taken effect at the latest, if anything proves that it did.
    #[must_use]
    pub fn effective_by_us(&self) -> Option<u64> {
        let seen = self.seen.map(|seen| seen.returned_us);
        self.acknowledged_us.into_iter().chain(seen).min()
    }

    /// The version it made, as far as anything says so.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        let seen = self.seen.and_then(|seen| seen.version);
        self.acknowledged_version.or(seen).or(self.cas.map(|cas| cas.saturating_add(1)))
    }
}

impl Read<'_> {
    #[must_use]
    pub fn is_linearizable(&self) -> bool {
        self.freshness == Freshness::Linearizable
    }
}

impl<'h> Register<'h> {
    fn new(key: &'h str) -> Self {
        Self {
            key,
            writes: Vec::new(),
            marks: Vec::new(),
            reads: Vec::new(),
            version_reads: Vec::new(),
            source: HashMap::new(),
            ambiguous: None,
        }
    }

    /// The write that wrote `value`.
    #[must_use]
    pub fn writer_of(&self, value: u64) -> Option<&Write<'h>> {
        self.source.get(&value).map(|&at| &self.writes[at])
    }

    pub fn linearizable_reads(&self) -> impl Iterator<Item = &Read<'h>> {
        self.reads.iter().filter(|read| read.is_linearizable())
    }

    /// Whether anything speaks of versions. If not, it is a KV v1 secret, or its clients did not record them.
    #[must_use]
    pub fn is_versioned(&self) -> bool {
        self.writes.iter().any(|write| write.cas.is_some() || write.acknowledged_version.is_some())
            || self.reads.iter().any(|read| read.version.is_some())
            || self.marks.iter().any(|mark| mark.act != Act::Delete)
    }

    /// Connects values with those who wrote and read them. To be done again after facts were taken away.
    pub(crate) fn connect(&mut self) {
        self.source.clear();
        for (at, write) in self.writes.iter_mut().enumerate() {
            write.seen = None;
            if self.source.insert(write.value, at).is_some() {
                self.ambiguous = Some(write.value);
            }
        }
        for read in self.reads.iter().filter(|read| read.is_linearizable()) {
            let Some(&at) = read.value.and_then(|value| self.source.get(&value)) else { continue };
            let seen = &mut self.writes[at].seen;
            let returned_us = read.operation.returned_us;
            if seen.is_none_or(|seen| returned_us < seen.returned_us) {
                let version = read.version.or(seen.and_then(|seen| seen.version));
                *seen = Some(Seen { returned_us, version, operation: read.operation });
            } else if let Some(seen) = seen {
                seen.version = seen.version.or(read.version);
            }
        }
    }
}

/// The registers of a history, by key.
#[must_use]
pub fn registers(history: &[Operation]) -> BTreeMap<&str, Register<'_>> {
    let mut registers: BTreeMap<&str, Register<'_>> = BTreeMap::new();
    let mut once: HashMap<(&str, &str, u64, Option<u64>), usize> = HashMap::new();
    for operation in history {
        let Some(key) = operation.action.key() else { continue };
        let register = registers.entry(key).or_insert_with(|| Register::new(key));
        let answer = match &operation.outcome {
            Outcome::Failed { .. } => continue,
            Outcome::Unknown => None,
            Outcome::Ok(answer) => Some(answer),
        };
        let acknowledged_us = answer.map(|_| operation.returned_us);
        let invoked_us = operation.invoked_us;
        let mut mark = |act| register.marks.push(Mark { act, invoked_us, acknowledged_us, operation });
        match &operation.action {
            Action::Delete { .. } => mark(Act::Delete),
            Action::Undelete { version, .. } => mark(Act::Undelete { version: *version }),
            Action::Destroy { version, .. } => mark(Act::Destroy { version: *version }),
            Action::ReadVersion { version, .. } => {
                let Some(answer) = answer else { continue };
                register.version_reads.push(Read {
                    value: answer.value,
                    version: Some(*version),
                    freshness: Freshness::Linearizable,
                    stale_for_ms: None,
                    operation,
                });
            }
            Action::Read { freshness, .. } => {
                let Some(answer) = answer else { continue };
                register.reads.push(Read {
                    value: answer.value,
                    version: answer.version,
                    freshness: *freshness,
                    stale_for_ms: answer.stale_for_ms,
                    operation,
                });
            }
            Action::Write { value, cas, idempotency_key, .. } => {
                let attempt = Write {
                    value: *value,
                    cas: *cas,
                    idempotency_key: idempotency_key.as_deref(),
                    invoked_us,
                    acknowledged_us,
                    acknowledged_version: answer.and_then(|answer| answer.version),
                    seen: None,
                    attempts: vec![operation],
                };
                let first = idempotency_key
                    .as_deref()
                    .map(|name| *once.entry((key, name, *value, *cas)).or_insert(register.writes.len()));
                match first.and_then(|at| register.writes.get_mut(at)) {
                    Some(write) => write.join(attempt),
                    None => register.writes.push(attempt),
                }
            }
            Action::List { .. } | Action::Access(_) => {}
        }
    }
    for register in registers.values_mut() {
        register.connect();
    }
    registers
}

impl Write<'_> {
    fn join(&mut self, attempt: Self) {
        self.invoked_us = self.invoked_us.min(attempt.invoked_us);
        self.acknowledged_us = self.acknowledged_us.into_iter().chain(attempt.acknowledged_us).min();
        self.acknowledged_version = self.acknowledged_version.or(attempt.acknowledged_version);
        self.attempts.extend(attempt.attempts);
    }
}
