//! Collecting key shares until there are enough.
//!
//! Every share is checked on its own when it comes: what is wrong is named, and what was given before stays. Progress
//! lives in one node's memory only; it is never replicated and ends with the process.

use std::fmt;

use rand::CryptoRng;

use super::config::SealConfig;
use super::shamir::{self, Share};
use crate::crypto::RootKey;
use crate::error::Error;

/// Bytes of the name of one attempt.
const NONCE_BYTES: usize = 16;

/// Where an attempt stands after a share was taken.
#[derive(Debug)]
pub enum Progress {
    /// More shares are needed.
    Waiting { threshold: u8, progress: u8, nonce: String },
    /// The root key, verified against the cluster's commitment.
    Unsealed(RootKey),
}

/// One attempt to unseal, or to prove a quorum of share keepers. Ends with [`Progress::Unsealed`] and can then
/// be used again.
pub struct UnsealProgress {
    config: SealConfig,
    shares: Vec<Share>,
    /// Names the attempt; empty while no share was given.
    nonce: String,
}

impl UnsealProgress {
    /// Make a new one when the configuration changed: shares of an older split are then refused by name.
    pub fn new(config: SealConfig) -> Self {
        // With room for all: a vector that grows leaves copies of its shares behind.
        let shares = Vec::with_capacity(usize::from(config.threshold()));
        Self { config, shares, nonce: String::new() }
    }

    /// Distinct good shares so far.
    pub fn progress(&self) -> u8 {
        u8::try_from(self.shares.len()).expect("fewer than the threshold, which is one byte")
    }

    /// Names the attempt; empty while no share was given.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    pub fn config(&self) -> &SealConfig {
        &self.config
    }

    /// Forgets the shares given so far.
    pub fn reset(&mut self) {
        self.shares.clear();
        self.nonce.clear();
    }

    /// Takes one share, as base64 or hexadecimal text. One that was given before does not count again.
    ///
    /// # Errors
    /// [`Error::Invalid`]: which share is wrong and why; the shares given before stay.
    /// [`Error::Corrupt`]: all shares are right but the wrapped root key is not; the attempt ends.
    pub fn submit(&mut self, text: &str, rng: &mut dyn CryptoRng) -> Result<Progress, Error> {
        let slot = self
            .config
            .share_slot()
            .ok_or_else(|| Error::invalid("this cluster has no key shares: it is sealed by a static key"))?;
        let share = slot.recognise(text)?;
        let threshold = slot.threshold;
        if self.shares.is_empty() {
            let mut nonce = [0; NONCE_BYTES];
            rng.fill_bytes(&mut nonce);
            self.nonce = uuid::Builder::from_random_bytes(nonce).into_uuid().to_string();
        }
        if self.shares.iter().all(|given| given.number() != share.number()) {
            self.shares.push(share);
        }
        if self.shares.len() < usize::from(threshold) {
            return Ok(Progress::Waiting { threshold, progress: self.progress(), nonce: self.nonce.clone() });
        }

        let key = shamir::combine(&self.shares, threshold);
        self.reset();
        let root_key = self.config.unseal_with_share_key(&key?).ok_or_else(|| {
            Error::Corrupt(
                "the key shares are right, but the wrapped root key does not open with them".to_owned(),
            )
        })?;
        Ok(Progress::Unsealed(root_key))
    }
}

impl fmt::Debug for UnsealProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnsealProgress({} of {})", self.shares.len(), self.config.threshold())
    }
}

#[cfg(test)]
mod tests;
