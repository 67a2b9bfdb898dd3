//! Who may do what. The only place that makes a [`Permit`], without which no effect can be planned (I3).
//!
//! It decides by what the credential has proven and never by what a request says of itself. There is one identity so
//! far, root's; whatever is not plainly allowed is denied.

use crate::error::Error;
use crate::plan::Operation;

/// A caller whose credential was checked against the current view.
#[derive(Debug, Clone)]
pub struct Identity {
    root: bool,
}

impl Identity {
    /// The holder of a root token, proven by [`crate::seal::token`].
    pub(crate) fn root() -> Self {
        Self { root: true }
    }

    pub fn is_root(&self) -> bool {
        self.root
    }
}

/// Proof that a caller was allowed this operation. Its field is private: only [`authorize`] makes one.
#[derive(Debug)]
pub struct Permit {
    operation: Operation,
}

impl Permit {
    pub fn operation(&self) -> Operation {
        self.operation
    }
}

/// Decides whether `identity` may perform `operation`. Root may do everything; nobody else exists yet.
///
/// # Errors
/// [`Error::Denied`].
pub fn authorize(identity: &Identity, operation: Operation) -> Result<Permit, Error> {
    if identity.root { Ok(Permit { operation }) } else { Err(Error::Denied) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATIONS: [Operation; 6] = [
        Operation::Read,
        Operation::Write,
        Operation::Patch,
        Operation::Delete,
        Operation::List,
        Operation::Scan,
    ];

    #[test]
    fn root_may_do_everything_and_the_permit_names_it() {
        for operation in OPERATIONS {
            assert_eq!(authorize(&Identity::root(), operation).unwrap().operation(), operation);
        }
    }

    #[test]
    fn who_is_not_root_may_do_nothing() {
        for operation in OPERATIONS {
            assert_eq!(authorize(&Identity { root: false }, operation).unwrap_err(), Error::Denied);
        }
    }
}
