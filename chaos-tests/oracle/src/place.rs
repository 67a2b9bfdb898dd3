//! Where a key's secret lives, which its name says: the engine decides what a delete does and what goes by itself.

/// First part of keys of a KV v1 mount.
pub const PLAIN: &str = "plain";
/// First part of keys that stand for the custom metadata of another key's secret.
pub const METADATA: &str = "meta";
/// First part, with milliseconds behind it, of keys whose versions are deleted by themselves.
pub const FLEETING: &str = "lasts-";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'k> {
    /// KV v2: a delete hides the newest version, and the name stays.
    Versioned { path: &'k str },
    /// KV v1: a delete takes the secret away, name and all.
    Plain { path: &'k str },
    /// A note in the custom metadata of the versioned secret at `path`.
    Metadata { path: &'k str },
    /// KV v2 where every version is deleted by itself so long after it was written.
    Fleeting { after_ms: u64, path: &'k str },
}

impl<'k> Place<'k> {
    /// Of a key, and likewise of a folder.
    #[must_use]
    pub fn of(key: &'k str) -> Self {
        let Some((first, path)) = key.split_once('/') else { return Self::Versioned { path: key } };
        let after_ms = first.strip_prefix(FLEETING).and_then(|text| text.parse().ok());
        match (first, after_ms) {
            (PLAIN, _) => Self::Plain { path },
            (METADATA, _) => Self::Metadata { path },
            (_, Some(after_ms)) => Self::Fleeting { after_ms, path },
            _ => Self::Versioned { path: key },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_part_of_a_key_says_where_its_secret_lives() {
        assert_eq!(Place::of("e1/k2"), Place::Versioned { path: "e1/k2" });
        assert_eq!(Place::of("plain/e1/k2"), Place::Plain { path: "e1/k2" });
        assert_eq!(Place::of("meta/e1/k2"), Place::Metadata { path: "e1/k2" });
        assert_eq!(Place::of("lasts-5000/k2"), Place::Fleeting { after_ms: 5000, path: "k2" });
        assert_eq!(Place::of("lasts-long/k2"), Place::Versioned { path: "lasts-long/k2" });
        assert_eq!(Place::of("plainly"), Place::Versioned { path: "plainly" });
    }
}
