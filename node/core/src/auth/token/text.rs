//! What a token looks like: a prefix that names its kind, randomness, and a checksum.
//!
//! `s.` + 43 random characters + 6 of a checksum: programs that look for leaked secrets know ours from chance without
//! asking anybody, and whoever truncates a token in copying it is told so. OpenBao's clients expect
//! `[sbr]\.[a-zA-Z0-9]{24,}`.

use conclave_proto::secret::Secret;
use rand::CryptoRng;
use zeroize::Zeroizing;

/// Base62 characters between prefix and checksum: 256 bits.
const RANDOM_CHARACTERS: usize = 43;
/// Base62 characters of the checksum, which has 32 bits.
const CHECKSUM_CHARACTERS: usize = 6;
/// Base62 characters of an accessor: 142 bits.
const ACCESSOR_CHARACTERS: usize = 24;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The prefix of a token that is kept in the state.
pub const SERVICE_PREFIX: &str = "s.";

/// A new service token.
pub fn service(rng: &mut dyn CryptoRng) -> Secret<String> {
    let mut token =
        Zeroizing::new(String::with_capacity(SERVICE_PREFIX.len() + RANDOM_CHARACTERS + CHECKSUM_CHARACTERS));
    token.push_str(SERVICE_PREFIX);
    token.push_str(&Zeroizing::new(base62(RANDOM_CHARACTERS, rng)));
    let checksum = checksum(&token);
    token.push_str(&checksum);
    Secret::new(std::mem::take(&mut *token))
}

/// A new accessor.
pub fn accessor(rng: &mut dyn CryptoRng) -> String {
    base62(ACCESSOR_CHARACTERS, rng)
}

/// Whether a text has the form and the checksum of a service token. One with the form alone was copied wrongly.
pub fn is_intact(token: &str) -> bool {
    let length = SERVICE_PREFIX.len() + RANDOM_CHARACTERS + CHECKSUM_CHARACTERS;
    if token.len() != length || !token.is_ascii() || !token.starts_with(SERVICE_PREFIX) {
        return false;
    }
    let (body, sum) = token.split_at(length - CHECKSUM_CHARACTERS);
    checksum(body) == sum
}

/// CRC-32 in base62, with leading zeros.
fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut characters = [b'0'; CHECKSUM_CHARACTERS];
    for character in characters.iter_mut().rev() {
        *character = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    characters.map(char::from).iter().collect()
}

/// Random characters, each equally likely.
fn base62(characters: usize, rng: &mut dyn CryptoRng) -> String {
    /// The largest multiple of 62 that a byte can hold: what is above would favour the first characters.
    const FAIR: u8 = 248;
    let mut text = String::with_capacity(characters);
    while text.len() < characters {
        let mut byte = [0];
        rng.fill_bytes(&mut byte);
        if byte[0] < FAIR {
            text.push(char::from(ALPHABET[usize::from(byte[0]) % ALPHABET.len()]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::crypto::testing::seeded;

    #[test]
    fn tokens_have_the_form_that_clients_expect_and_never_repeat() {
        let mut rng = seeded(1);
        let mut seen = HashSet::new();
        for _ in 0..1_000 {
            let token = service(&mut rng);
            let rest = token.expose().strip_prefix("s.").unwrap();
            assert!(rest.len() >= 24 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert!(is_intact(token.expose()));
            assert!(seen.insert(token.expose().to_owned()));
        }
    }

    #[test]
    fn a_token_that_was_copied_wrongly_is_not_intact() {
        let token = service(&mut seeded(2)).expose().to_owned();
        for at in 2..token.len() {
            let other = if token.as_bytes()[at] == b'x' { "y" } else { "x" };
            let mut changed = token.clone();
            changed.replace_range(at..=at, other);
            assert!(!is_intact(&changed), "{at}");
        }
        assert!(!is_intact(&token[..token.len() - 1]) && !is_intact("s.short") && !is_intact(""));
    }
}
