//! Names of policies.

use crate::error::Error;

/// The policy that allows everything. Only `init` and the holders of key shares give it away.
pub const ROOT: &str = "root";
/// The policy that a token has unless it is made without it. It may be changed but not deleted.
pub const DEFAULT: &str = "default";
/// The policy of a token that does nothing but hand over one wrapped answer. Nobody else can have it.
pub const RESPONSE_WRAPPING: &str = "response-wrapping";

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// The name under which a policy is kept: in lower case, as in Vault. Only ASCII has cases that everybody agrees on, so
/// that nothing else is taken.
///
/// # Errors
/// [`Error::Invalid`]: empty, too long, or with signs that names in lists and paths cannot have.
pub fn normalised(name: &str) -> Result<String, Error> {
    let is_usable = |byte: u8| {
        byte.is_ascii_graphic() && !matches!(byte, b',' | b'"' | b'\'' | b'\\' | b'*' | b'%' | b'?' | b'#')
    };
    let is_canonical = !name.split('/').any(|part| matches!(part, "" | "." | ".."));
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_usable) || !is_canonical {
        return Err(Error::invalid(format!(
            "the name of a policy has 1 to {NAME_BYTES_MAX} ASCII letters, digits and signs, without blanks, commas, quotes and wildcards"
        )));
    }
    Ok(name.to_ascii_lowercase())
}

/// Whether nobody may write it.
pub fn is_fixed(name: &str) -> bool {
    matches!(name, ROOT | RESPONSE_WRAPPING)
}

/// Whether nobody may delete it.
pub fn is_kept(name: &str) -> bool {
    is_fixed(name) || name == DEFAULT
}

/// Whether it may be given to a token that a caller makes. `root` has rules of its own.
pub fn is_assignable(name: &str) -> bool {
    name != RESPONSE_WRAPPING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_in_lower_case() {
        assert_eq!(normalised("Team-A/read_only.v2").unwrap(), "team-a/read_only.v2");
        assert_eq!(normalised("ROOT").unwrap(), ROOT);
    }

    #[test]
    fn names_that_could_be_taken_for_others_are_refused() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for name in [
            "",
            " root",
            "root\u{a0}",
            "r\u{43e}\u{43e}t",
            "a,b",
            "a*",
            "a//b",
            "/a",
            "a/",
            "../a",
            "\u{130}d",
            &long,
        ] {
            assert!(normalised(name).is_err(), "{name}");
        }
    }

    #[test]
    fn who_may_touch_what() {
        assert!(is_fixed(ROOT) && is_fixed(RESPONSE_WRAPPING) && !is_fixed(DEFAULT));
        assert!(is_kept(DEFAULT) && !is_kept("mine"));
        assert!(!is_assignable(RESPONSE_WRAPPING) && is_assignable(DEFAULT));
    }
}
