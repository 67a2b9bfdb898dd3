//! Which key shares were shown so far.

use serde::{Deserialize, Serialize};

use super::super::config::SealConfig;
use super::super::shamir::{SetId, Share};
use crate::error::Error;

/// Numbers of the shares of one split that were shown. Holds no share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shown {
    #[serde(with = "hex")]
    set_id: SetId,
    numbers: Vec<u8>,
}

impl Shown {
    /// None of those that open `config`.
    ///
    /// # Errors
    /// [`Error::Invalid`]: there are no shares.
    pub(super) fn none_of(config: &SealConfig) -> Result<Self, Error> {
        let slot = config.share_slot().ok_or_else(no_shares)?;
        Ok(Self { set_id: slot.set_id, numbers: Vec::new() })
    }

    pub(super) fn count(&self) -> u8 {
        u8::try_from(self.numbers.len()).expect("each number is one byte and there once")
    }

    /// Whether these are shares of the split that opens `config`, and not of one before.
    pub(super) fn is_of(&self, config: &SealConfig) -> bool {
        config.share_slot().is_some_and(|slot| slot.set_id == self.set_id)
    }

    /// Takes one share of those that open `config`; `repeated` is what to say of one that was shown before. Returns
    /// whether there are enough.
    ///
    /// # Errors
    /// [`Error::Invalid`]: which share is wrong and why.
    pub(super) fn take(&mut self, config: &SealConfig, text: &str, repeated: &str) -> Result<bool, Error> {
        let share = recognise(config, text)?;
        if self.numbers.contains(&share.number()) {
            return Err(Error::invalid(repeated));
        }
        self.numbers.push(share.number());
        Ok(self.count() >= config.threshold())
    }
}

/// The share that `text` is, if it is one of those that open `config`.
///
/// # Errors
/// [`Error::Invalid`]: which share is wrong and why.
pub(super) fn recognise(config: &SealConfig, text: &str) -> Result<Share, Error> {
    config.share_slot().ok_or_else(no_shares)?.recognise(text)
}

fn no_shares() -> Error {
    Error::invalid("this cluster has no key shares: it is sealed by a static key")
}
