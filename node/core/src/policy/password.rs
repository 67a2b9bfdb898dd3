//! Password policies: how a generated password looks.

use rand::{CryptoRng, RngExt as _};
use serde_json::Value;
use zeroize::Zeroizing;

use super::document::{self, DocumentError, Entry, Node};
use crate::error::Error;

/// Characters of a password. The bounds are OpenBao's.
pub const PASSWORD_CHARACTERS_MIN: usize = 4;
pub const PASSWORD_CHARACTERS_MAX: usize = 100;
/// Different characters that a password can be made of.
pub const ALPHABET_MAX: usize = 256;
/// Rules of one policy.
const RULES_MAX: usize = 32;
/// Passwords that are made before rules count as too rarely met. A hundred thousand take some ten milliseconds.
const ATTEMPTS_MAX: usize = 100_000;

/// How passwords look: each is as likely as any other that keeps the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordPolicy {
    length: usize,
    rules: Vec<CharsetRule>,
    /// Every character that some rule names, once.
    alphabet: Vec<char>,
}

/// At least so many characters of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CharsetRule {
    charset: Vec<char>,
    least: usize,
}

impl PasswordPolicy {
    /// Reads `length = 20` and `rule "charset" { charset = "abc" min-chars = 1 }`, in HCL or JSON.
    ///
    /// # Errors
    /// A sentence for the author.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let mut length = None;
        let mut rules = Vec::new();
        for entry in document::parse(text)? {
            match entry.name.as_str() {
                "length" => length = Some(whole(&entry)?),
                "rule" => read_rules(entry, &mut rules)?,
                _ => return Err(DocumentError::at(entry.line, "invalid key; there are: length, rule")),
            }
        }
        let length = length.unwrap_or(0);
        let refuse = |sentence: String| Err(DocumentError::whole(sentence));
        if !(PASSWORD_CHARACTERS_MIN..=PASSWORD_CHARACTERS_MAX).contains(&length) {
            return refuse(format!(
                "passwords must be between {PASSWORD_CHARACTERS_MIN} and {PASSWORD_CHARACTERS_MAX} characters"
            ));
        }
        if rules.len() > RULES_MAX {
            return refuse(format!("a password policy has at most {RULES_MAX} rules"));
        }
        let least = rules.iter().fold(0_usize, |sum, rule| sum.saturating_add(rule.least));
        if least > length {
            return refuse(format!("the rules require at least {least} characters, but length is {length}"));
        }
        let mut alphabet: Vec<char> = rules.iter().flat_map(|rule| rule.charset.iter().copied()).collect();
        alphabet.sort_unstable();
        alphabet.dedup();
        match alphabet.len() {
            0 => refuse("a password policy needs a rule with a charset".to_owned()),
            1..=ALPHABET_MAX => Ok(Self { length, rules, alphabet }),
            _ => refuse(format!("the charsets have more than {ALPHABET_MAX} different characters")),
        }
    }

    /// Makes a password. All that keep the rules are equally likely: characters are drawn without bias, and a password
    /// that breaks a rule is thrown away whole.
    ///
    /// # Errors
    /// [`Error::Invalid`]: passwords that keep the rules are too rare. Try it once when the policy is written.
    pub fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Zeroizing<String>, Error> {
        let mut password: Zeroizing<Vec<char>> = Zeroizing::new(Vec::with_capacity(self.length));
        for _ in 0..ATTEMPTS_MAX {
            password.clear();
            password
                .extend((0..self.length).map(|_| self.alphabet[rng.random_range(0..self.alphabet.len())]));
            if self.rules.iter().all(|rule| rule.is_kept(&password)) {
                // As long as it can get, so that nothing is left behind by growing.
                let mut text = Zeroizing::new(String::with_capacity(self.length * char::MAX.len_utf8()));
                text.extend(password.iter());
                return Ok(text);
            }
        }
        Err(Error::invalid(
            "passwords that keep all rules are too rare: ask for fewer characters or a greater length",
        ))
    }
}

impl CharsetRule {
    fn is_kept(&self, password: &[char]) -> bool {
        password.iter().filter(|&character| self.charset.contains(character)).take(self.least).count()
            == self.least
    }
}

fn whole(entry: &Entry) -> Result<usize, DocumentError> {
    let number = match &entry.node {
        Node::Scalar(Value::Number(number)) => {
            number.as_u64().and_then(|number| usize::try_from(number).ok())
        }
        _ => None,
    };
    number.ok_or_else(|| DocumentError::at(entry.line, format!("{} is a whole number", entry.name)))
}

/// `rule "charset" {...}`; in JSON an object by kind, or a list of such objects.
fn read_rules(entry: Entry, rules: &mut Vec<CharsetRule>) -> Result<(), DocumentError> {
    let refuse = |line| {
        DocumentError::at(line, "a rule is written: rule \"charset\" { charset = \"abc\" min-chars = 1 }")
    };
    match entry.node {
        Node::List(items) => {
            for node in items {
                let Node::Map(_) = node else { return Err(refuse(entry.line)) };
                read_rules(Entry { name: String::new(), line: entry.line, node }, rules)?;
            }
        }
        Node::Map(kinds) => {
            for kind in kinds {
                let charsets = match kind.node {
                    _ if kind.name != "charset" => {
                        return Err(DocumentError::at(kind.line, "invalid kind of rule; there is: charset"));
                    }
                    // OpenBao prints a policy as JSON with the settings in a list of one.
                    Node::List(items) => items,
                    node => vec![node],
                };
                for settings in charsets {
                    let Node::Map(settings) = settings else { return Err(refuse(kind.line)) };
                    rules.push(charset_rule(settings, kind.line)?);
                }
            }
        }
        Node::Scalar(_) => return Err(refuse(entry.line)),
    }
    Ok(())
}

fn charset_rule(settings: Vec<Entry>, line: u32) -> Result<CharsetRule, DocumentError> {
    let mut rule = CharsetRule { charset: Vec::new(), least: 0 };
    for setting in settings {
        match setting.name.as_str() {
            "charset" => {
                let text = setting.node.as_text();
                let text = text.ok_or_else(|| DocumentError::at(setting.line, "charset is a text"))?;
                if !text.chars().all(is_printable) {
                    return Err(DocumentError::at(
                        setting.line,
                        "charset has a character that cannot be seen",
                    ));
                }
                rule.charset = text.chars().collect();
                rule.charset.sort_unstable();
                rule.charset.dedup();
            }
            "min-chars" => rule.least = whole(&setting)?,
            _ => return Err(DocumentError::at(setting.line, "invalid key; there are: charset, min-chars")),
        }
    }
    if rule.charset.is_empty() {
        return Err(DocumentError::at(line, "a rule needs a charset"));
    }
    Ok(rule)
}

/// What Rust prints as it is, rather than escaped by its number.
fn is_printable(character: char) -> bool {
    matches!(character, '\\' | '\'' | '"') || character.escape_debug().len() == 1
}

#[cfg(test)]
#[path = "password_tests.rs"]
mod tests;
