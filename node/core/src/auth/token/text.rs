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

/// Characters of a service token.
pub const TOKEN_CHARACTERS: usize = SERVICE_PREFIX.len() + RANDOM_CHARACTERS + CHECKSUM_CHARACTERS;

/// What a service token can be XORed with.
pub fn one_time_password(rng: &mut dyn CryptoRng) -> String {
    base62(TOKEN_CHARACTERS, rng)
}

/// A new service token.
pub fn service(rng: &mut dyn CryptoRng) -> Secret<String> {
    let mut token = Zeroizing::new(String::with_capacity(TOKEN_CHARACTERS));
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
            let (body, sum) = token.expose().split_at(token.expose().len() - CHECKSUM_CHARACTERS);
            assert_eq!(sum, checksum(body));
            assert!(seen.insert(token.expose().to_owned()));
        }
    }

    /// What programs that look for leaked secrets compute: change it and they know ours no more.
    #[test]
    fn the_checksum_is_the_crc_32_in_base62_with_leading_zeros() {
        // CRC-32 of "123456789" is 0xcbf43926, as the catalogue of CRC parameters has it.
        let mut rest = 0xcbf4_3926_u32;
        let mut expected = String::new();
        while rest > 0 {
            expected.insert(0, char::from(ALPHABET[(rest % 62) as usize]));
            rest /= 62;
        }
        assert_eq!(checksum("123456789"), format!("{expected:0>CHECKSUM_CHARACTERS$}"));
        assert_eq!(checksum(""), "000000");
    }

    #[test]
    fn a_token_that_was_copied_wrongly_has_another_checksum() {
        let token = service(&mut seeded(2)).expose().to_owned();
        let (body, sum) = token.split_at(token.len() - CHECKSUM_CHARACTERS);
        for at in 2..body.len() {
            let other = if body.as_bytes()[at] == b'x' { "y" } else { "x" };
            let mut changed = body.to_owned();
            changed.replace_range(at..=at, other);
            assert_ne!(checksum(&changed), sum, "{at}");
        }
    }
}
