//! The register as the rules of KV say it behaves: a version, a value, and whether that version is deleted.

use super::problem::{Problem, Required, What};

/// One secret at one moment, and how many of the unknown operations were used to get here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub register: Content,
    pub used: Used,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Content {
    version: u64,
    newest: Newest,
    deleted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Newest {
    Nothing,
    Value(u64),
    /// Something that no read returns any more.
    Unseen,
    /// A version whose data was destroyed.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    fillers: usize,
    deletes: usize,
    /// Of the newest version: those of older ones have no effect any more.
    undeletes: usize,
}

impl Newest {
    fn of(value: Option<u64>) -> Self {
        value.map_or(Self::Unseen, Self::Value)
    }
}

impl Used {
    /// Whether whoever has used `self` can do all that one who has used `other` can.
    pub fn at_most(&self, other: &Self) -> bool {
        self.fillers <= other.fillers && self.deletes <= other.deletes && self.undeletes <= other.undeletes
    }
}

impl State {
    pub const EMPTY: Self = Self {
        register: Content { version: 0, newest: Newest::Nothing, deleted: false },
        used: Used { fillers: 0, deletes: 0, undeletes: 0 },
    };

    pub fn version(&self) -> u64 {
        self.register.version
    }

    /// The value of the newest version, also while that is deleted.
    pub fn value(&self) -> Option<u64> {
        match self.register.newest {
            Newest::Value(value) => Some(value),
            Newest::Nothing | Newest::Unseen | Newest::Gone => None,
        }
    }

    /// The same after the last read of its value: whichever value that was, what follows is the same.
    pub fn read_out(mut self) -> Self {
        if self.value().is_some() {
            self.register.newest = Newest::Unseen;
        }
        self
    }

    pub fn is_deleted(&self) -> bool {
        self.register.deleted
    }

    /// The same where nothing speaks of versions.
    pub fn without_version(mut self) -> Self {
        self.register.version = 0;
        self
    }

    /// Whether there is something, though no read returns it any more.
    pub fn is_unseen(&self) -> bool {
        self.register.newest == Newest::Unseen && !self.register.deleted
    }

    /// Whether a read that finds the register as it is answers so.
    pub fn answers(&self, value: Option<u64>, version: Option<u64>) -> bool {
        let content = &self.register;
        let found = match (content.deleted, content.newest, value) {
            (true, _, None) | (false, Newest::Nothing | Newest::Gone, None) => true,
            (false, Newest::Value(newest), Some(value)) => newest == value,
            _ => false,
        };
        found && version.is_none_or(|version| version == content.version)
    }

    /// The states in which `what` can leave the register, with as few unknown operations as possible first.
    /// `by_us`: what was asked later cannot stand here. `needed`: a version that must not be passed.
    pub fn after(self, what: What, problem: &Problem, by_us: u64, needed: u64, out: &mut Vec<Self>) {
        match what {
            What::Write { before: Required::Contradictory, .. } => {}
            What::Write { value, before: Required::Exactly(version) } => {
                let filled = version
                    .checked_sub(self.version())
                    .and_then(|missing| self.filled(missing, problem, by_us));
                out.extend(filled.map(|state| state.written(Newest::of(value))));
            }
            What::Write { value, before: Required::Any } => {
                self.with_fillers(problem, by_us, needed, out, |state| {
                    Some(state.written(Newest::of(value)))
                });
            }
            What::Delete => self.with_fillers(problem, by_us, needed, out, |state| Some(state.deleted())),
            What::Undelete { version } => {
                out.push(if version == self.version() { self.undeleted() } else { self });
            }
            What::Destroy { version } => self.with_fillers(problem, by_us, needed, out, |state| {
                Some(if version == state.version() { state.destroyed() } else { state })
            }),
            What::Read { value: Some(value), version } => {
                let state = self.aided_by_undelete(problem, by_us);
                out.extend(state.filter(|state| state.answers(Some(value), version)));
            }
            What::Read { value: None, version: Some(version) } => {
                let missing = version.checked_sub(self.version());
                let state = missing.and_then(|missing| self.filled(missing, problem, by_us));
                out.extend(state.and_then(|state| state.aided_by_delete(problem, by_us)));
                out.extend(state.and_then(|state| state.aided_by_destruction(problem, by_us)));
            }
            What::Read { value: None, version: None } => {
                self.with_fillers(problem, by_us, needed, out, |state| state.aided_by_delete(problem, by_us));
                self.with_fillers(problem, by_us, needed, out, |state| {
                    state.aided_by_destruction(problem, by_us)
                });
            }
        }
    }

    fn with_fillers(
        self,
        problem: &Problem,
        by_us: u64,
        needed: u64,
        out: &mut Vec<Self>,
        then: impl Fn(Self) -> Option<Self>,
    ) {
        let stops = &problem.stops[problem.stops.partition_point(|&stop| stop <= self.version())..];
        // If no version is named any more, neither by an undelete, nothing has to be filled.
        let fills = needed != u64::MAX || problem.can_undelete;
        let stops = stops.iter().take_while(|&&stop| fills && stop <= needed);
        let mut state = self;
        out.extend(then(state));
        for stop in stops {
            let Some(filled) = state.filled(stop - state.version(), problem, by_us) else { break };
            state = filled;
            out.extend(then(state));
        }
    }

    /// Raises the version by unknown writes that no read returned.
    fn filled(self, versions: u64, problem: &Problem, by_us: u64) -> Option<Self> {
        let mut state = self;
        for _ in 0..versions {
            let by_cas = problem.cas_fillers.get(&state.version()).is_some_and(|&invoked| invoked <= by_us);
            if !by_cas {
                problem.fillers.get(state.used.fillers).filter(|&&invoked| invoked <= by_us)?;
                state.used.fillers += 1;
            }
            state = state.written(Newest::Unseen);
        }
        Some(state)
    }

    fn written(mut self, newest: Newest) -> Self {
        self.register = Content { version: self.register.version + 1, newest, deleted: false };
        self.used.undeletes = 0;
        self
    }

    fn deleted(mut self) -> Self {
        self.register.deleted = self.register.newest != Newest::Nothing;
        self
    }

    fn undeleted(mut self) -> Self {
        self.register.deleted = false;
        self
    }

    fn destroyed(mut self) -> Self {
        if self.register.newest != Newest::Nothing {
            self.register.newest = Newest::Gone;
        }
        self
    }

    /// Nothing if the register shows nothing anyway: then none is needed.
    fn aided_by_destruction(self, problem: &Problem, by_us: u64) -> Option<Self> {
        let asked = problem.destroys.get(&self.version()).is_some_and(|&invoked| invoked <= by_us);
        (asked && !self.answers(None, None)).then(|| self.destroyed())
    }

    fn aided_by_delete(mut self, problem: &Problem, by_us: u64) -> Option<Self> {
        if !self.answers(None, None) {
            problem.deletes.get(self.used.deletes).filter(|&&invoked| invoked <= by_us)?;
            self.used.deletes += 1;
            self = self.deleted();
        }
        Some(self)
    }

    fn aided_by_undelete(mut self, problem: &Problem, by_us: u64) -> Option<Self> {
        if self.register.deleted {
            let invoked = problem.undeletes.get(&self.version())?;
            invoked.get(self.used.undeletes).filter(|&&invoked| invoked <= by_us)?;
            self.used.undeletes += 1;
            self = self.undeleted();
        }
        Some(self)
    }
}
