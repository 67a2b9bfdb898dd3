//! Why a request did not succeed, by what the caller can do about it.
//!
//! No sentence here repeats a path, a token or a value: the caller knows the path, and errors end up in logs.

use std::fmt;

use conclave_proto::path::PathError;

use crate::answer::Answer;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client cannot be made from these settings; nothing was sent.
    #[error("{0}")]
    Configuration(String),
    /// The path cannot name anything; nothing was sent.
    #[error(transparent)]
    Path(#[from] PathError),
    /// No node answered, and nothing was changed: either nothing was sent, or it was a read.
    #[error("no node could be reached: {}", sentences(.failures))]
    Unreachable {
        /// The last failure at each node that was tried.
        failures: Vec<NodeFailure>,
    },
    /// A change was sent and no answer came: it may or may not have been done. Sending it again with the same
    /// idempotency key is safe.
    #[error(
        "the outcome is unknown, the change may have been made: {address} took the request but did not answer ({reason})"
    )]
    Unknown {
        address: String,
        reason: String,
        /// The key that the request carried, if it carried one.
        idempotency_key: Option<String>,
    },
    /// A node answered, and said no.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// What answered does not speak this protocol.
    #[error("the answer of {address} cannot be used: {reason}")]
    Answer { address: String, reason: String },
    /// A local file could not be read or written during a transfer.
    #[error("{0}")]
    File(#[from] std::io::Error),
}

impl Error {
    /// The HTTP status, if a node answered.
    pub fn status(&self) -> Option<u16> {
        self.refusal().map(Refusal::status)
    }

    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the request may have changed something in spite of this error.
    pub fn may_have_been_done(&self) -> bool {
        match self {
            Self::Unknown { .. } => true,
            Self::Refused(refusal) => refusal.uncertain,
            _ => false,
        }
    }
}

/// What went wrong at one node, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFailure {
    pub address: String,
    pub reason: String,
}

impl fmt::Display for NodeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.reason)
    }
}

fn sentences(failures: &[NodeFailure]) -> String {
    let all: Vec<_> = failures.iter().map(ToString::to_string).collect();
    all.join("; ")
}

/// A node's no: its status and its sentences.
#[derive(Debug)]
pub struct Refusal {
    pub(crate) address: String,
    pub(crate) errors: Vec<String>,
    pub(crate) answer: Answer,
    pub(crate) uncertain: bool,
}

impl Refusal {
    pub fn status(&self) -> u16 {
        self.answer.status()
    }

    /// The node that refused.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The server's own sentences; empty when it gave none, as for a missing secret.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// The whole answer: some refusals carry data, such as the metadata of a deleted version.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.errors.is_empty() {
            write!(f, "{} answered with status {}", self.address, self.status())
        } else {
            f.write_str(&self.errors.join("; "))
        }
    }
}
