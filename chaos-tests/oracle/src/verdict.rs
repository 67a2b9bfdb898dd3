//! What a checker found, and how it says so: counts, and the few operations that contradict each other.

use std::fmt;

use serde::Serialize;

use crate::history::{Action, Freshness, Operation, Outcome};

/// The findings of one checker on one history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub checker: &'static str,
    /// How many answers were held against the rule. Zero means that the history says nothing about it.
    pub checked: usize,
    pub violations: Vec<Violation>,
    pub undecided: Vec<Undecided>,
}

/// Operations that no correct server could have answered so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    pub key: String,
    pub reason: String,
    /// By the time they were asked.
    pub operations: Vec<Operation>,
}

/// What could not be found out: never a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undecided {
    pub key: String,
    pub reason: String,
}

impl Verdict {
    pub(crate) fn new(checker: &'static str) -> Self {
        Self { checker, checked: 0, violations: Vec::new(), undecided: Vec::new() }
    }

    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.undecided.is_empty()
    }

    pub(crate) fn violated<'h>(
        &mut self,
        key: &str,
        reason: impl Into<String>,
        operations: impl IntoIterator<Item = &'h Operation>,
    ) {
        let mut operations: Vec<Operation> = operations.into_iter().cloned().collect();
        operations.sort_by_key(|operation| (operation.invoked_us, operation.returned_us, operation.client));
        operations.dedup();
        self.violations.push(Violation { key: key.to_owned(), reason: reason.into(), operations });
    }

    pub(crate) fn undecided(&mut self, key: &str, reason: impl Into<String>) {
        self.undecided.push(Undecided { key: key.to_owned(), reason: reason.into() });
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.key, self.reason)?;
        for operation in &self.operations {
            writeln!(f, "  {operation}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u64| format!("{}.{:03}", us / 1000, us % 1000);
        write!(
            f,
            "[{} .. {} ms] client {} at node {}: {}",
            ms(self.invoked_us),
            ms(self.returned_us),
            self.client,
            self.node,
            self.action
        )?;
        match &self.outcome {
            Outcome::Failed { status } => write!(f, " -> refused ({status})"),
            Outcome::Unknown => f.write_str(" -> unknown"),
            Outcome::Ok(answer) => {
                f.write_str(" -> ok")?;
                if matches!(self.action, Action::Read { .. } | Action::ReadVersion { .. }) {
                    match answer.value {
                        Some(value) => write!(f, ", value {value}")?,
                        None => f.write_str(", no value")?,
                    }
                }
                if matches!(self.action, Action::List { .. }) {
                    write!(f, ", names {}", answer.names.join(" "))?;
                }
                for (name, number) in [
                    ("version", answer.version),
                    ("index", answer.index),
                    ("stale for ms", answer.stale_for_ms),
                ] {
                    if let Some(number) = number {
                        write!(f, ", {name} {number}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { key, freshness: Freshness::Linearizable } => write!(f, "read {key}"),
            Self::Read { key, freshness: Freshness::Stale { bound_ms } } => {
                write!(f, "read {key}, stale for at most {bound_ms} ms")
            }
            Self::Write { key, value, cas, idempotency_key } => {
                write!(f, "write {value} to {key}")?;
                if let Some(cas) = cas {
                    write!(f, " if the version is {cas}")?;
                }
                if let Some(name) = idempotency_key {
                    write!(f, ", once as {name}")?;
                }
                Ok(())
            }
            Self::Delete { key } => write!(f, "delete {key}"),
            Self::Undelete { key, version } => write!(f, "undelete version {version} of {key}"),
            Self::Destroy { key, version } => write!(f, "destroy version {version} of {key}"),
            Self::ReadVersion { key, version } => write!(f, "read version {version} of {key}"),
            Self::List { folder } => write!(f, "list {folder}"),
            Self::Access(access) => access.fmt(f),
        }
    }
}
