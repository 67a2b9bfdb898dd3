//! Key shares: a key split so that `threshold` of them give it back and fewer tell nothing.
//!
//! ```text
//! [version: 1][set id: 8][x: 1][y: 32][checksum: 4]
//! ```
//!
//! Plain Shamir takes a wrong share without a word and gives a wrong key. Here a share says which split it is from and
//! carries a checksum, so a mistyped one is named on its own and the others stay good.
//!
//! The field arithmetic (GF(256) modulo 0x11d) is the `blahaj` crate's, with tables: not constant-time, which a ceremony
//! of a few operations can bear. A key "split" 1 of 1 is its only share's `y`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use conclave_proto::secret::Secret;
use rand::CryptoRng;
use sha2::{Digest, Sha256};
use sharks::Sharks;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::crypto::KEY_BYTES;
use crate::error::Error;

/// Most shares of one key: `x` is one byte and never zero.
pub const SHARES_MAX: u8 = 255;
/// Bytes of one share.
pub const SHARE_BYTES: usize = 1 + SET_ID_BYTES + 1 + KEY_BYTES + CHECKSUM_BYTES;
/// Bytes that name one split.
pub const SET_ID_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;
const VERSION: u8 = 1;
const CHECKSUM_DOMAIN: &[u8] = b"conclave/share-checksum/1";
const HASH_DOMAIN: &[u8] = b"conclave/share-hash/1";

/// Names one split of one key.
pub type SetId = [u8; SET_ID_BYTES];

/// One share of a split key. Secret.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Share {
    set_id: SetId,
    x: u8,
    y: [u8; KEY_BYTES],
}

impl Share {
    /// Reads a share as people type it: base64 (standard alphabet) or hexadecimal, space around it ignored.
    ///
    /// # Errors
    /// [`Error::Invalid`] says what is wrong with the text and never repeats it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let bytes = if text.len() == 2 * SHARE_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            hex::decode(text).ok()
        } else if text.len() <= 2 * SHARE_BYTES {
            BASE64.decode(text).ok()
        } else {
            None
        };
        let bytes = Zeroizing::new(
            bytes.ok_or_else(|| Error::invalid("the key share is neither base64 nor hexadecimal"))?,
        );
        Self::from_bytes(&bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let bytes: &[u8; SHARE_BYTES] = bytes.try_into().map_err(|_| {
            Error::invalid(format!("the key share has {} bytes instead of {SHARE_BYTES}", bytes.len()))
        })?;
        let (body, sum) = bytes.split_at(SHARE_BYTES - CHECKSUM_BYTES);
        if !bool::from(checksum(body).ct_eq(sum)) {
            return Err(Error::invalid("the key share is damaged or mistyped: its checksum does not match"));
        }
        let (version, body) = (body[0], &body[1..]);
        if version != VERSION {
            return Err(Error::invalid(format!(
                "the key share has version {version}, which is not known here"
            )));
        }
        let (set_id, body) = body.split_at(SET_ID_BYTES);
        let (x, y) = (body[0], &body[1..]);
        if x == 0 {
            return Err(Error::invalid("the key share has number 0, which no split makes"));
        }
        Ok(Self {
            set_id: set_id.try_into().expect("split at this length"),
            x,
            y: y.try_into().expect("what remains of a share's fixed length"),
        })
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(SHARE_BYTES));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.set_id);
        bytes.push(self.x);
        bytes.extend_from_slice(&self.y);
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }

    /// The text to hand to its keeper.
    pub fn to_base64(&self) -> Secret<String> {
        Secret::new(BASE64.encode(self.to_bytes()))
    }

    /// The same in hexadecimal, as Vault's `keys` field has it.
    pub fn to_hex(&self) -> Secret<String> {
        Secret::new(hex::encode(self.to_bytes()))
    }

    /// Its number, from 1 on.
    pub fn number(&self) -> u8 {
        self.x
    }

    pub fn set_id(&self) -> &SetId {
        &self.set_id
    }

    /// What may be stored to know this share again. The share cannot be found from it: `y` has 256 random bits.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::new().chain_update(HASH_DOMAIN).chain_update(self.to_bytes()).finalize().into()
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({})", self.x)
    }
}

/// Finds a slip of the keyboard. It is inside the share, so it tells nobody anything.
fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash: [u8; 32] = Sha256::new().chain_update(CHECKSUM_DOMAIN).chain_update(body).finalize().into();
    *hash.first_chunk().expect("a hash is longer than a checksum")
}

/// Whether a key may be split like this: 1 of 1, or 2 <= threshold <= shares.
///
/// # Errors
/// [`Error::Invalid`] says which rule is broken.
pub fn check_split(shares: u8, threshold: u8) -> Result<(), Error> {
    let sentence = match (shares, threshold) {
        (0, _) => "the number of key shares must be at least 1",
        (_, 0) => "the key threshold must be at least 1",
        _ if threshold > shares => "the key threshold cannot be greater than the number of key shares",
        (2.., 1) => "the key threshold must be at least 2 when there is more than one key share",
        _ => return Ok(()),
    };
    Err(Error::invalid(sentence))
}

/// Splits a key into `shares`, any `threshold` of which give it back; numbered from 1 on.
///
/// # Errors
/// [`Error::Invalid`]: as [`check_split`].
pub fn split(
    key: &[u8; KEY_BYTES],
    shares: u8,
    threshold: u8,
    mut rng: &mut dyn CryptoRng,
) -> Result<Vec<Share>, Error> {
    check_split(shares, threshold)?;
    let mut set_id = [0; SET_ID_BYTES];
    rng.fill_bytes(&mut set_id);
    if threshold == 1 {
        return Ok(vec![Share { set_id, x: 1, y: *key }]);
    }
    // Made with room for all: a vector that grows leaves copies of its shares behind.
    let mut dealt = Vec::with_capacity(usize::from(shares));
    for point in Sharks(threshold).dealer_rng(key, &mut rng).take(usize::from(shares)) {
        let bytes = Zeroizing::new(Vec::from(&point));
        let (x, y) = bytes.split_first().expect("a point has an x");
        let y = y.try_into().expect("the dealer gives one byte for each of the key's");
        dealt.push(Share { set_id, x: *x, y });
    }
    Ok(dealt)
}

/// Puts a key together from exactly `threshold` shares of one split.
///
/// The result is right only if every share is: the caller verifies the key before use.
///
/// # Errors
/// [`Error::Invalid`]: another number of shares, two with one number, or shares of different splits.
pub fn combine(shares: &[Share], threshold: u8) -> Result<Secret<[u8; KEY_BYTES]>, Error> {
    if threshold == 0 || shares.len() != usize::from(threshold) {
        return Err(Error::invalid(format!("exactly {threshold} key shares are needed")));
    }
    for (index, share) in shares.iter().enumerate() {
        if share.set_id != shares[0].set_id {
            return Err(Error::invalid(format!(
                "key share {} is from another split than the first",
                share.x
            )));
        }
        if shares[..index].iter().any(|earlier| earlier.x == share.x) {
            return Err(Error::invalid(format!("key share {} is given twice", share.x)));
        }
    }
    if threshold == 1 {
        return Ok(Secret::new(shares[0].y));
    }
    let points = shares.iter().map(Share::point).collect::<Result<Vec<_>, _>>()?;
    let key = Sharks(threshold)
        .recover(&points)
        .map_err(|_| Error::invalid("the key shares do not fit together"))?;
    let key = Zeroizing::new(key);
    let key = <[u8; KEY_BYTES]>::try_from(key.as_slice()).expect("as long as each share's y");
    Ok(Secret::new(key))
}

impl Share {
    fn point(&self) -> Result<sharks::Share, Error> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + KEY_BYTES));
        bytes.push(self.x);
        bytes.extend_from_slice(&self.y);
        sharks::Share::try_from(bytes.as_slice()).map_err(|_| Error::invalid("the key share has no content"))
    }
}

#[cfg(test)]
mod tests;
