//! The switch of the planted bugs: at most one is on, chosen when the process starts.

use crate::bugs::{BUGS, Bug};

/// Names the bug that is on.
pub const VARIABLE: &str = "CONCLAVE_PLANTED_BUG";
/// Whether this build has the bugs at all.
pub const BUILT_IN: bool = cfg!(feature = "planted-bugs");

/// [`VARIABLE`] names no bug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownBug(String);

impl std::fmt::Display for UnknownBug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = BUGS.iter().map(|bug| bug.name).collect();
        write!(f, "{VARIABLE} names no planted bug: {}. There are: {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownBug {}

/// The bug of this name.
///
/// # Errors
/// [`UnknownBug`].
pub fn find(name: &str) -> Result<Bug, UnknownBug> {
    let found = BUGS.iter().find(|bug| bug.name == name);
    found.map(|found| found.bug).ok_or_else(|| UnknownBug(name.to_owned()))
}

/// Whether this bug is on.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is(_bug: Bug) -> bool {
    false
}

/// The bug that is on.
///
/// # Errors
/// [`UnknownBug`]: a server must not start with it, or a harness would test it for nothing.
#[cfg(not(feature = "planted-bugs"))]
pub const fn active() -> Result<Option<Bug>, UnknownBug> {
    Ok(None)
}

#[cfg(feature = "planted-bugs")]
pub use switch::{active, is};

#[cfg(feature = "planted-bugs")]
mod switch {
    use std::sync::OnceLock;

    use super::{Bug, UnknownBug, VARIABLE, find};

    static ACTIVE: OnceLock<Result<Option<Bug>, UnknownBug>> = OnceLock::new();

    /// Whether this bug is on.
    ///
    /// # Panics
    /// The variable names no bug, and the program has not asked [`active`] first.
    #[must_use]
    pub fn is(bug: Bug) -> bool {
        active().expect("a program refuses to start with an unknown bug") == Some(bug)
    }

    /// The bug that is on.
    ///
    /// # Errors
    /// [`UnknownBug`]: a server must not start with it, or a harness would test it for nothing.
    pub fn active() -> Result<Option<Bug>, UnknownBug> {
        ACTIVE
            .get_or_init(|| match std::env::var(VARIABLE) {
                Ok(name) if !name.is_empty() => find(&name).map(Some),
                _ => Ok(None),
            })
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_found_by_its_name_and_an_unknown_name_lists_them_all() {
        for planted in BUGS {
            assert_eq!(find(planted.name), Ok(planted.bug));
        }
        let refusal = find("ack-before-fsinc").unwrap_err().to_string();
        assert!(refusal.contains("ack-before-fsinc"), "{refusal}");
        assert!(BUGS.iter().all(|planted| refusal.contains(planted.name)), "{refusal}");
    }
}
