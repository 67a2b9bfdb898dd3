//! Who may do what. The only place that makes a [`Permit`], without which no effect can be planned (I3).
//!
//! It decides by what the credential has proven and never by what a request says of itself; whatever is not plainly
//! allowed is denied. `docs/2026-11-23-policies.md` has the rules. The way of a policy:
//!
//! text -> [`Policy::parse`] -> (with the caller's other policies and who he is) [`Acl::compile`] -> [`authorize`].
//!
//! A policy is stored as its text. What is parsed depends on the text alone and may be kept by the record's revision;
//! what is compiled depends on all policies of a caller and on his entity and groups, and may be kept as long as none
//! of these records changed, until [`Acl::expires_ms`].

pub mod acl;
pub mod api;
pub mod builtin;
pub mod capability;
mod constraint;
mod decide;
mod document;
pub mod explain;
mod layout;
pub mod lint;
pub mod name;
mod parse;
pub mod password;
pub mod password_api;
mod pattern;
mod print;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod reference;
mod report;
pub mod store;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

pub use acl::{Acl, Grant, Named, Source};
pub use capability::{Capabilities, Capability};
pub use decide::{Access, Allowed, Denial, Reason};
pub use document::{DOCUMENT_BYTES_MAX, DocumentError};
pub use parse::{Policy, RULES_MAX, Rule};
pub use template::Subject;

use crate::error::Error;
use crate::plan::Operation;

/// A caller whose credential was checked against the current view.
#[derive(Debug, Clone)]
pub struct Identity {
    acl: Arc<Acl>,
}

impl Identity {
    /// The holder of a root token, proven by [`crate::auth::token`].
    pub(crate) fn root() -> Self {
        static ROOT: LazyLock<Arc<Acl>> = LazyLock::new(|| Arc::new(Acl::root()));
        Self { acl: ROOT.clone() }
    }

    /// The holder of a token with these policies. Only who has checked the token may say so, hence not for outsiders.
    pub(crate) fn holding(acl: Arc<Acl>) -> Self {
        Self { acl }
    }

    pub fn is_root(&self) -> bool {
        self.acl.is_root()
    }

    /// What it may do: for answers about rights, which allow nothing.
    pub fn acl(&self) -> &Acl {
        &self.acl
    }

    /// Decides what can be decided before the body is read: a stranger's body is not worth reading. It permits nothing
    /// yet.
    ///
    /// # Errors
    /// [`Error::Denied`]: [`authorize`] would deny it whatever the parameters are.
    pub fn screen(&self, access: &Access<'_>) -> Result<(), Error> {
        self.acl.screen(access).map(drop).map_err(|_| Error::Denied)
    }
}

/// Proof that a caller was allowed this operation. Its fields are private: only [`authorize`] makes one.
#[derive(Debug)]
pub struct Permit {
    operation: Operation,
    page: Option<u64>,
}

impl Permit {
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Names that a page of a list has, in place of what the request asked for; `None`: policies set no limit.
    pub fn page(&self) -> Option<u64> {
        self.page
    }
}

/// Decides whether `identity` may do what `access` says. Root may do everything.
///
/// # Errors
/// [`Error::Denied`], without a reason: whoever may know it asks [`Acl::decide`].
pub fn authorize(identity: &Identity, access: &Access<'_>) -> Result<Permit, Error> {
    match identity.acl.decide(access) {
        Ok(Allowed { page }) => Ok(Permit { operation: access.operation, page }),
        Err(_) => Err(Error::Denied),
    }
}
