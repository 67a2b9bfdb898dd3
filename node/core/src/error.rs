//! Why a rule says no, by blame. No web type here: the server maps each kind to a status in one place.

use crate::view::ViewError;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller's input is wrong; the sentence says how to mend it. Never repeats a value.
    #[error("{0}")]
    Invalid(String),
    /// The caller is not known or not allowed.
    #[error("permission denied")]
    Denied,
    /// The caller is not allowed, and may know why; the sentence never repeats a secret.
    #[error("{0}")]
    Refused(String),
    /// The token that was asked about is none.
    #[error("bad token")]
    BadToken,
    /// There is nothing at the path. `Some`: a hint for the caller.
    #[error("nothing is stored at this path")]
    NotFound,
    /// The path exists but not this operation on it.
    #[error("unsupported operation")]
    Unsupported,
    /// The request as a whole is too large.
    #[error("{0}")]
    TooLarge(String),
    /// A server that is none of the cluster did not do what the answer needs.
    #[error("{0}")]
    Upstream(String),
    /// There are as many leases as a quota allows. The path is for the caller alone.
    #[error("lease count quota exceeded")]
    LeaseQuota { quota: String, path: String },
    /// A sealed record does not open: damaged, or put where it does not belong.
    #[error("a stored record failed authentication: {0}")]
    Corrupt(String),
    #[error(transparent)]
    View(#[from] ViewError),
}

impl Error {
    pub fn invalid(sentence: impl Into<String>) -> Self {
        Self::Invalid(sentence.into())
    }

    pub fn refused(sentence: impl Into<String>) -> Self {
        Self::Refused(sentence.into())
    }
}
