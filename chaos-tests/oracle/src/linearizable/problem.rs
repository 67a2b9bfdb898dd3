//! One register's history, prepared for the search: what must have happened, and what may have.
//!
//! # Why unknown outcomes do not make the search explode
//!
//! A plain search tries every subset of the unknown operations at every place. Four facts make that needless. In each,
//! "an order" is one that explains all answers, with unknown operations placed after they were asked or left out.
//!
//! 1. *An unknown write whose value a linearizable read returned* took effect before that read returned. It is as good as
//!    acknowledged then, with the version that the read told. It becomes one of the operations that must be placed.
//! 2. *An unknown write that no read returned, without versions* can be left out. No read stands between it and the next
//!    write or delete, for it would have returned the value; and neither of these depends on what it replaces.
//! 3. *An unknown write that no read returned, with versions* matters only because it counts: it fills a gap between
//!    version numbers. Two such without check-and-set differ only in when they were asked. If an order uses the later and
//!    not the earlier, put the earlier in its place; if it uses both the other way round, swap them: what was asked earlier
//!    may stand wherever the other did, and the other moves to a later place. So they are used in the order in which they
//!    were asked, and how many were used is all that has to be remembered. With check-and-set against version c they fit
//!    only between c and c + 1, where at most one can stand: the earliest is kept. Using it there spares one of the others.
//! 4. *Unknown deletes* differ only in when they were asked: by the same exchange they are used in that order, and so are
//!    unknown undeletes of one version. A destruction cannot be taken back, so of one version the earliest is kept.
//!
//! Moreover each is placed as late as it can be. A filler moves past everything but an operation that needs a certain
//! version, a write (whose own version it shifts) and a delete (whose effect it would undo), known or not. An unknown delete
//! and an unknown destruction move up to the first read that finds nothing, and an unknown undelete up to the first read that finds the value again: whatever
//! else comes first makes it needless. So they are no moves of their own but part of the move that needs them.

use std::collections::HashMap;

use crate::register::{Act, Register};

/// An operation that did take effect, between `invoked_us` and `returned_us`.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub invoked_us: u64,
    /// `u64::MAX` never occurs here: what has no such end need not be placed.
    pub returned_us: u64,
    pub what: What,
}

#[derive(Debug, Clone, Copy)]
pub enum What {
    /// `value`: none if no linearizable read returned it. `before`: the version that must be the current one.
    Write {
        value: Option<u64>,
        before: Required,
    },
    Delete,
    Undelete {
        version: u64,
    },
    Destroy {
        version: u64,
    },
    Read {
        value: Option<u64>,
        version: Option<u64>,
    },
}

/// What an answer says of the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
    Any,
    Exactly(u64),
    /// The check-and-set and the version in the answer exclude each other.
    Contradictory,
}

#[derive(Debug, Default)]
pub struct Problem {
    /// By `invoked_us`.
    pub steps: Vec<Step>,
    /// For each place in `steps`: the lowest version that it or a later step still needs to find.
    pub needed_from: Vec<u64>,
    /// The last place in `steps` of a read that returned this value.
    pub last_read: HashMap<u64, u32>,
    /// The versions up to which it can matter that fillers stand before a delete or a write, ascending: those at which a
    /// read found nothing, those that an unknown check-and-set made, which fits nowhere else, and those around a version
    /// that an undelete names, which it then finds or misses.
    pub stops: Vec<u64>,
    pub versioned: bool,
    /// Whether an undelete or a destruction names a version.
    pub can_undelete: bool,
    /// When unknown writes that nobody read were asked, ascending.
    pub fillers: Vec<u64>,
    /// The same for those with check-and-set: the earliest for each expected version.
    pub cas_fillers: HashMap<u64, u64>,
    /// When unknown deletes were asked, ascending.
    pub deletes: Vec<u64>,
    /// When unknown undeletes of each version were asked, ascending.
    pub undeletes: HashMap<u64, Vec<u64>>,
    /// When an unknown destruction of each version was asked first: more than one does no more than one.
    pub destroys: HashMap<u64, u64>,
}

impl What {
    /// The version beyond which it can no longer be placed.
    pub fn needs(&self) -> u64 {
        match self {
            Self::Write { before: Required::Exactly(version), .. } => *version,
            Self::Read { version: Some(version), .. } => *version,
            _ => u64::MAX,
        }
    }
}

impl Problem {
    #[must_use]
    pub fn of(register: &Register<'_>) -> Self {
        let versioned = register.is_versioned();
        let can_undelete = register.marks.iter().any(|mark| mark.act != Act::Delete);
        let mut problem = Self { versioned, can_undelete, ..Self::default() };
        for write in &register.writes {
            if let Some(returned_us) = write.effective_by_us() {
                let told = write.acknowledged_version.or(write.seen.and_then(|seen| seen.version));
                let what =
                    What::Write { value: write.seen.map(|_| write.value), before: required(write.cas, told) };
                problem.steps.push(Step { invoked_us: write.invoked_us, returned_us, what });
            } else if let Some(cas) = write.cas {
                let earliest = problem.cas_fillers.entry(cas).or_insert(write.invoked_us);
                *earliest = write.invoked_us.min(*earliest);
            } else if versioned {
                problem.fillers.push(write.invoked_us);
            }
        }
        for mark in &register.marks {
            let invoked_us = mark.invoked_us;
            match (mark.acknowledged_us, mark.act) {
                (Some(returned_us), Act::Delete) => {
                    problem.steps.push(Step { invoked_us, returned_us, what: What::Delete });
                }
                (Some(returned_us), Act::Undelete { version }) => {
                    problem.steps.push(Step { invoked_us, returned_us, what: What::Undelete { version } });
                }
                (Some(returned_us), Act::Destroy { version }) => {
                    problem.steps.push(Step { invoked_us, returned_us, what: What::Destroy { version } });
                }
                (None, Act::Destroy { version }) => {
                    let earliest = problem.destroys.entry(version).or_insert(invoked_us);
                    *earliest = invoked_us.min(*earliest);
                }
                (None, Act::Delete) => problem.deletes.push(invoked_us),
                (None, Act::Undelete { version }) => {
                    problem.undeletes.entry(version).or_default().push(invoked_us);
                }
            }
        }
        for read in register.linearizable_reads() {
            problem.steps.push(Step {
                invoked_us: read.operation.invoked_us,
                returned_us: read.operation.returned_us,
                what: What::Read { value: read.value, version: read.version },
            });
        }
        problem.stop();
        problem.sort();
        problem
    }

    fn stop(&mut self) {
        for step in &self.steps {
            match step.what {
                What::Read { value: None, version: Some(version) } => self.stops.push(version),
                What::Undelete { version } | What::Destroy { version } => self.stops.extend(around(version)),
                _ => {}
            }
        }
        self.stops.extend(self.undeletes.keys().flat_map(|&version| around(version)));
        self.stops.extend(self.destroys.keys().flat_map(|&version| around(version)));
        self.stops.extend(self.cas_fillers.keys().map(|&version| version.saturating_add(1)));
        self.stops.sort_unstable();
        self.stops.dedup();
    }

    fn sort(&mut self) {
        self.steps.sort_by_key(|step| (step.invoked_us, step.returned_us));
        self.fillers.sort_unstable();
        self.deletes.sort_unstable();
        self.undeletes.values_mut().for_each(|invoked| invoked.sort_unstable());
        self.needed_from = vec![u64::MAX; self.steps.len() + 1];
        for (at, step) in self.steps.iter().enumerate().rev() {
            self.needed_from[at] = self.needed_from[at + 1].min(step.what.needs());
            if let What::Read { value: Some(value), .. } = step.what {
                let at = u32::try_from(at).expect("a register has fewer operations than 2^32");
                self.last_read.entry(value).or_insert(at);
            }
        }
    }
}

/// From the version before, onto which a write makes it, to the next, which a delete has when the undelete misses it.
fn around(version: u64) -> std::ops::RangeInclusive<u64> {
    version.saturating_sub(1)..=version.saturating_add(1)
}

fn required(cas: Option<u64>, told: Option<u64>) -> Required {
    match (cas, told) {
        (None, None) => Required::Any,
        (Some(cas), None) => Required::Exactly(cas),
        (_, Some(0)) => Required::Contradictory,
        (Some(cas), Some(told)) if cas != told - 1 => Required::Contradictory,
        (_, Some(told)) => Required::Exactly(told - 1),
    }
}
