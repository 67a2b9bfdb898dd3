//! Hashes of passwords, and the work of making and checking them.
//!
//! A decision never hashes: it says which work it lacks ([`PasswordWork`]), the server does that once, off the threads
//! that answer requests, and decides again with the result. However often a plan is overtaken, one request hashes once.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use bcrypt::HashParts;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::error::Error;

/// Memory of one hash, in KiB. This and the two below are OWASP's first choice for argon2id.
pub const MEMORY_KIB: u32 = 19 * 1024;
const ITERATIONS: u32 = 2;
const LANES: u32 = 1;
const HASH_BYTES: usize = 32;
pub const SALT_BYTES: usize = 16;
/// Longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Highest cost of a bcrypt hash that an operator can bring: each step doubles the time of a login, and 14 is about a second.
const BCRYPT_COST_MAX: u32 = 14;
/// A bcrypt hash is `$2b$`, the cost, `$`, 22 characters of salt and 31 of hash.
const BCRYPT_TEXT_BYTES: usize = 60;
/// Longest password that bcrypt looks at, in bytes: what is behind would not count.
const BCRYPT_PASSWORD_BYTES_MAX: usize = 72;

/// A password's hash with all that is needed to check it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredHash {
    Argon2id {
        memory_kib: u32,
        iterations: u32,
        lanes: u32,
        #[serde(with = "hex")]
        salt: Vec<u8>,
        #[serde(with = "hex")]
        hash: Vec<u8>,
    },
    /// Brought by an operator.
    Bcrypt(String),
}

/// What a decision needs to have done first.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordWork {
    password: Zeroizing<String>,
    task: Task,
}

#[derive(Clone, PartialEq, Eq)]
enum Task {
    Hash,
    /// `None`: there is no such user; it takes as long as if there were.
    Verify(Option<StoredHash>),
}

/// The work's result.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordDone {
    Hashed(StoredHash),
    Verified { against: Option<StoredHash>, matches: bool },
}

impl PasswordWork {
    pub fn hash(password: Zeroizing<String>) -> Self {
        Self { password, task: Task::Hash }
    }

    pub fn verify(password: Zeroizing<String>, against: Option<StoredHash>) -> Self {
        Self { password, task: Task::Verify(against) }
    }

    /// Does it: takes 19 MiB and tens of milliseconds.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the password is too long. [`Error::Corrupt`]: the stored hash is none.
    pub fn run(&self, salt: [u8; SALT_BYTES]) -> Result<PasswordDone, Error> {
        if self.password.len() > PASSWORD_BYTES_MAX {
            return Err(Error::invalid(format!("a password has at most {PASSWORD_BYTES_MAX} bytes")));
        }
        let password = self.password.as_bytes();
        match &self.task {
            Task::Hash => Ok(PasswordDone::Hashed(argon2id(password, salt)?)),
            Task::Verify(against) => {
                let matches = match against {
                    Some(stored) => stored.matches(password)?,
                    None => {
                        argon2id(password, salt)?;
                        false
                    }
                };
                Ok(PasswordDone::Verified { against: against.clone(), matches })
            }
        }
    }
}

impl StoredHash {
    /// A bcrypt hash that an operator brings.
    ///
    /// # Errors
    /// [`Error::Invalid`]: it is none, or checking it would take too long.
    pub fn bcrypt(text: &str) -> Result<Self, Error> {
        let invalid = || Error::invalid("password_hash is not a valid bcrypt hash");
        let parts: HashParts = text.parse().map_err(|_| invalid())?;
        if parts.get_cost() > BCRYPT_COST_MAX {
            return Err(Error::invalid(format!("a bcrypt hash has a cost of at most {BCRYPT_COST_MAX}")));
        }
        let is_of_form = text.len() == BCRYPT_TEXT_BYTES
            && text.bytes().skip(7).all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'));
        if is_of_form { Ok(Self::Bcrypt(text.to_owned())) } else { Err(invalid()) }
    }

    fn matches(&self, password: &[u8]) -> Result<bool, Error> {
        let unknown = || Error::Corrupt("a stored hash of a password cannot be checked".to_owned());
        match self {
            Self::Argon2id { memory_kib, iterations, lanes, salt, hash } => {
                let params = Params::new(*memory_kib, *iterations, *lanes, Some(hash.len()));
                let mut made = Zeroizing::new(vec![0; hash.len()]);
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params.map_err(|_| unknown())?)
                    .hash_password_into(password, salt, &mut made)
                    .map_err(|_| unknown())?;
                Ok(made.ct_eq(hash).into())
            }
            Self::Bcrypt(_) if password.len() > BCRYPT_PASSWORD_BYTES_MAX => Ok(false),
            Self::Bcrypt(text) => bcrypt::verify(password, text).map_err(|_| unknown()),
        }
    }
}

fn argon2id(password: &[u8], salt: [u8; SALT_BYTES]) -> Result<StoredHash, Error> {
    let failed = |_| Error::Corrupt("a password cannot be hashed".to_owned());
    let params = Params::new(MEMORY_KIB, ITERATIONS, LANES, Some(HASH_BYTES)).map_err(failed)?;
    let mut hash = vec![0; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, &salt, &mut hash)
        .map_err(failed)?;
    Ok(StoredHash::Argon2id {
        memory_kib: MEMORY_KIB,
        iterations: ITERATIONS,
        lanes: LANES,
        salt: salt.to_vec(),
        hash,
    })
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredHash")
    }
}

impl fmt::Debug for PasswordWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordWork")
    }
}

impl fmt::Debug for PasswordDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordDone")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `hunter2`, made by another program.
    const OTHERS: &str = "$2b$04$MCJWnezbXR6mqoSt3aFOCO3z5VwLG5TF64glqBwSdNek08beYhIs.";

    fn work(password: &str, against: Option<StoredHash>) -> bool {
        let work = PasswordWork::verify(Zeroizing::new(password.to_owned()), against);
        match work.run([9; SALT_BYTES]).unwrap() {
            PasswordDone::Verified { matches, .. } => matches,
            PasswordDone::Hashed(_) => panic!("it was to be checked"),
        }
    }

    fn hashed(password: &str) -> StoredHash {
        match PasswordWork::hash(Zeroizing::new(password.to_owned())).run([1; SALT_BYTES]).unwrap() {
            PasswordDone::Hashed(stored) => stored,
            PasswordDone::Verified { .. } => panic!("it was to be hashed"),
        }
    }

    #[test]
    fn only_the_password_matches_its_hash() {
        let stored = hashed("hunter2");
        assert!(work("hunter2", Some(stored.clone())));
        for wrong in ["hunter3", "", "hunter2 ", "Hunter2", "hunter2\0"] {
            assert!(!work(wrong, Some(stored.clone())), "{wrong:?}");
        }
        assert!(!work("hunter2", None), "nobody has no password");
    }

    #[test]
    fn a_hash_is_argon2id_as_others_make_it() {
        // argon2-cffi: hash_secret_raw(b"hunter2", bytes([1]) * 16, 2, 19456, 1, 32, Type.ID)
        let StoredHash::Argon2id { hash, .. } = hashed("hunter2") else { panic!("not argon2id") };
        assert_eq!(hex::encode(hash), "90826dbae92d150295d5b25b78caebcf1d2165810a02e684befd74dd7d8c33c7");
    }

    #[test]
    fn a_bcrypt_hash_can_be_brought() {
        let stored = StoredHash::bcrypt(OTHERS).unwrap();
        assert!(work("hunter2", Some(stored.clone())));
        assert!(!work("hunter3", Some(stored)));
        let behind = format!("{}x", "a".repeat(BCRYPT_PASSWORD_BYTES_MAX));
        assert!(!work(&behind, Some(StoredHash::bcrypt(OTHERS).unwrap())));
        for bad in ["", "nohash", "$2b$04$short", &OTHERS.replace("$04$", "$31$"), &OTHERS[..59]] {
            assert!(StoredHash::bcrypt(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_is_not_hashed_at_any_length() {
        let long = Zeroizing::new("x".repeat(PASSWORD_BYTES_MAX + 1));
        assert!(PasswordWork::hash(long).run([1; SALT_BYTES]).is_err());
    }
}
