//! Names and ids of entities, aliases and groups, and what may be told of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::fields;
use crate::plan::Context;

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 512;
/// Metadata of one entity, alias or group at most: entries, and bytes of a key and of a value.
pub const METADATA_ENTRIES_MAX: usize = 64;
pub const METADATA_KEY_BYTES_MAX: usize = 128;
pub const METADATA_VALUE_BYTES_MAX: usize = 512;
/// Random bytes in the name of an entity or a group that nobody has named.
const GENERATED_NAME_BYTES: usize = 8;

/// Takes a name as it is, or not at all: one that was mended could be somebody else's.
///
/// # Errors
/// [`Error::Invalid`].
pub fn checked(name: &str) -> Result<&str, Error> {
    let is_usable = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.trim() == name
        && !name.chars().any(char::is_control);
    if is_usable {
        return Ok(name);
    }
    Err(Error::invalid(format!(
        "a name has 1 to {NAME_BYTES_MAX} bytes, no control characters, and no blanks at its ends"
    )))
}

/// What a name is found by: two names with the same are the same.
pub fn normal(name: &str) -> String {
    name.to_lowercase()
}

/// The name of something that nobody has named.
pub fn generated(ctx: &mut Context<'_>, what: &str) -> String {
    let mut bytes = [0; GENERATED_NAME_BYTES];
    ctx.rng.fill_bytes(&mut bytes);
    format!("{what}_{}", hex::encode(bytes))
}

/// A new id.
pub fn new_id(ctx: &mut Context<'_>) -> String {
    let mut bytes = [0; 16];
    ctx.rng.fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// Metadata in a body: an object of texts, or texts of the form `key=value`; `None`: it does not say.
///
/// # Errors
/// [`Error::Invalid`], naming the field.
pub fn metadata(body: &Map<String, Value>, field: &str) -> Result<Option<BTreeMap<String, String>>, Error> {
    let Some(pairs) = fields::pairs(body, field)? else { return Ok(None) };
    check_metadata(&pairs, field)?;
    Ok(Some(pairs))
}

/// # Errors
/// [`Error::Invalid`]: it is more than is kept.
pub fn check_metadata(pairs: &BTreeMap<String, String>, field: &str) -> Result<(), Error> {
    if pairs.len() > METADATA_ENTRIES_MAX {
        return Err(Error::invalid(format!("{field} has at most {METADATA_ENTRIES_MAX} entries")));
    }
    let fits = |(key, value): (&String, &String)| {
        !key.is_empty() && key.len() <= METADATA_KEY_BYTES_MAX && value.len() <= METADATA_VALUE_BYTES_MAX
    };
    if !pairs.iter().all(fits) {
        return Err(Error::invalid(format!(
            "keys of {field} have 1 to {METADATA_KEY_BYTES_MAX} bytes, and values at most {METADATA_VALUE_BYTES_MAX}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_as_it_is_or_not_at_all() {
        for name in ["alice", "a/b", "Zoë", "cn=alice,dc=corp", "two words"] {
            assert_eq!(checked(name), Ok(name));
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for name in ["", " ", " alice", "alice ", "alice\u{a0}", "a\nb", "a\u{0}", "\u{7f}", &long] {
            assert!(checked(name).is_err());
        }
    }

    #[test]
    fn spellings_of_one_name_are_one_name() {
        assert_eq!(normal("Alice"), normal("aLICE"));
        assert_eq!(normal("ZOË"), normal("zoë"));
        // The Kelvin sign.
        assert_eq!(normal("\u{212a}"), normal("k"));
    }
}
