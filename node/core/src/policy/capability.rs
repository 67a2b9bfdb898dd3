//! What a rule may grant: one word a kind of request, and sets of them.

use std::fmt;

use crate::plan::Operation;

/// In the order of the alphabet, as they are listed to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    Create,
    Delete,
    Deny,
    List,
    Patch,
    Read,
    Scan,
    Sudo,
    Update,
}

impl Capability {
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Delete,
        Self::Deny,
        Self::List,
        Self::Patch,
        Self::Read,
        Self::Scan,
        Self::Sudo,
        Self::Update,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Deny => "deny",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Read => "read",
            Self::Scan => "scan",
            Self::Sudo => "sudo",
            Self::Update => "update",
        }
    }

    /// By its exact name: `Read` is none.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == name)
    }

    /// What `operation` needs. A write needs `create` only where the engine tells making from changing.
    pub fn needed(operation: Operation, creates: bool) -> Self {
        match operation {
            Operation::Read => Self::Read,
            Operation::Write if creates => Self::Create,
            Operation::Write => Self::Update,
            Operation::Patch => Self::Patch,
            Operation::Delete => Self::Delete,
            Operation::List => Self::List,
            Operation::Scan => Self::Scan,
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u16);

impl Capabilities {
    pub const NONE: Self = Self(0);

    pub fn of(all: &[Capability]) -> Self {
        all.iter().copied().collect()
    }

    pub fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    pub fn insert(&mut self, capability: Capability) {
        self.0 |= capability.bit();
    }

    /// What holds when two rules for one pattern meet: all that either grants, and nothing at all if either denies.
    #[must_use]
    pub fn united(self, other: Self) -> Self {
        Self(self.0 | other.0).effective()
    }

    /// A set with `deny` is `deny` alone.
    #[must_use]
    pub fn effective(self) -> Self {
        if self.has(Capability::Deny) { Self::of(&[Capability::Deny]) } else { self }
    }

    pub fn denies(self) -> bool {
        self.has(Capability::Deny)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.has(*capability))
    }

    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Capability::name).collect()
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(all: I) -> Self {
        let mut set = Self::NONE;
        all.into_iter().for_each(|capability| set.insert(capability));
        set
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_exact_name_and_root_is_none() {
        for capability in Capability::ALL {
            assert_eq!(Capability::find(capability.name()), Some(capability));
            assert_eq!(Capability::find(&capability.name().to_uppercase()), None);
        }
        assert_eq!(Capability::find("root"), None);
        assert!(Capability::ALL.is_sorted_by_key(|capability| capability.name()));
    }

    #[test]
    fn deny_stands_alone_wherever_it_comes_from() {
        let read = Capabilities::of(&[Capability::Read]);
        let deny = Capabilities::of(&[Capability::Deny, Capability::List]);
        assert_eq!(read.united(deny), Capabilities::of(&[Capability::Deny]));
        assert_eq!(deny.united(read), Capabilities::of(&[Capability::Deny]));
        let list = Capabilities::of(&[Capability::List]);
        assert_eq!(read.united(list).names(), ["list", "read"]);
    }
}
