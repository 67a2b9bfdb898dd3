//! Whether this node is sealed, and how it becomes unsealed: by shares, by a static key, or by a peer.
//!
//! The root key and the keyring live here, in memory, while the node is unsealed, and nowhere else. A node that an
//! operator sealed stays sealed over restarts until an operator unseals it: peers must not undo that.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use conclave_core::Error;
use conclave_core::auth::token::TokenCaches;
use conclave_core::crypto::{Barrier, Kind, RootKey, plain_key};
use conclave_core::engine::mount::MountTable;
use conclave_core::seal::{self, Progress, SealConfig, StaticKey, UnsealProgress};
use conclave_core::view::View;
use conclave_faults::failpoint::{Point, hit};
use conclave_faults::{Bug, planted};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::audit::Salts;
use crate::config::SealSetting;
use crate::durable;

/// Marks, in the data directory, that an operator sealed this node.
pub const MARKER: &str = "sealed-by-operator";
/// The name under which the static key is known.
const STATIC_KEY_ID: &str = "static";

/// What an unsealed node holds.
pub struct Unsealed {
    pub barrier: Arc<Barrier>,
    pub root_key: Arc<RootKey>,
    /// Revision of the keyring's record, to notice a newer one.
    pub keyring_revision: u64,
    /// What was opened with these keys, and goes with them.
    pub caches: Caches,
}

/// What is opened and decoded once for each revision of its record.
#[derive(Default)]
pub struct Caches {
    pub tokens: TokenCaches,
    pub mounts: ArcSwapOption<MountTable>,
    pub audit_salts: ArcSwapOption<Salts>,
}

/// The seal of one node.
pub struct SealState {
    unsealed: ArcSwapOption<Unsealed>,
    attempt: Mutex<Option<UnsealProgress>>,
    sealed: watch::Sender<bool>,
    marker: PathBuf,
    /// Held while keys come or go, so that neither a refresh nor a peer undoes an operator's seal.
    gate: Mutex<()>,
    /// As the marker says, whether or not it could be written.
    by_operator: AtomicBool,
}

/// On whose behalf keys are taken in.
enum Opener<'a> {
    Operator,
    /// The static key or a peer: not against an operator's seal.
    Itself,
    /// Only in place of these.
    Refresh(&'a Arc<Unsealed>),
}

/// Where an attempt to unseal stands.
#[derive(Default)]
pub struct AttemptStatus {
    pub progress: u8,
    pub nonce: String,
}

impl SealState {
    pub fn new(data_dir: &Path) -> Self {
        Self {
            unsealed: ArcSwapOption::empty(),
            attempt: Mutex::new(None),
            sealed: watch::Sender::new(true),
            marker: data_dir.join(MARKER),
            gate: Mutex::new(()),
            by_operator: AtomicBool::new(data_dir.join(MARKER).exists()),
        }
    }

    pub fn is_sealed(&self) -> bool {
        self.unsealed.load().is_none()
    }

    pub fn unsealed(&self) -> Option<Arc<Unsealed>> {
        self.unsealed.load_full()
    }

    /// Tells when the node is sealed or unsealed.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.sealed.subscribe()
    }

    /// Whether an operator sealed this node, so that it must not unseal by itself.
    pub fn stays_sealed(&self) -> bool {
        self.by_operator.load(Ordering::Relaxed)
    }

    /// Forgets all keys, until an operator unseals.
    ///
    /// # Errors
    /// The seal would not outlive a restart; the keys are gone all the same.
    pub fn seal(&self) -> std::io::Result<()> {
        let _gate = self.gate.lock();
        self.by_operator.store(true, Ordering::Relaxed);
        if planted::is(Bug::SealedInNameOnly) {
            return Ok(());
        }
        self.unsealed.store(None);
        *self.attempt.lock() = None;
        self.sealed.send_replace(true);
        hit(Point::SealMark);
        durable::write(&self.marker, b"")?;
        hit(Point::SealMarked);
        Ok(())
    }

    /// Takes one share. Unseals when it was the last that was needed.
    pub fn submit(&self, view: &dyn View, config: &SealConfig, share: &str) -> Result<AttemptStatus, Error> {
        let mut attempt = self.attempt.lock();
        let current = attempt.take().filter(|attempt| attempt.config() == config);
        let mut progress = current.unwrap_or_else(|| UnsealProgress::new(config.clone()));
        let outcome = progress.submit(share, &mut rand::rng());
        let status = AttemptStatus { progress: progress.progress(), nonce: progress.nonce().to_owned() };
        *attempt = Some(progress);
        match outcome? {
            Progress::Waiting { .. } => Ok(status),
            Progress::Unsealed(root_key) => {
                self.open_for(&Opener::Operator, view, config, Arc::new(root_key))?;
                Ok(AttemptStatus::default())
            }
        }
    }

    pub fn reset(&self) {
        *self.attempt.lock() = None;
    }

    pub fn attempt(&self) -> AttemptStatus {
        self.attempt.lock().as_ref().map_or_else(AttemptStatus::default, |attempt| AttemptStatus {
            progress: attempt.progress(),
            nonce: attempt.nonce().to_owned(),
        })
    }

    /// Unseals by itself, with the root key that a peer or the static key gave; it is checked against the cluster's
    /// commitment. Does nothing if an operator has sealed the node.
    pub fn open(&self, view: &dyn View, config: &SealConfig, root_key: Arc<RootKey>) -> Result<(), Error> {
        self.open_for(&Opener::Itself, view, config, root_key)
    }

    fn open_for(
        &self,
        opener: &Opener<'_>,
        view: &dyn View,
        config: &SealConfig,
        root_key: Arc<RootKey>,
    ) -> Result<(), Error> {
        let barrier = Arc::new(seal::open_barrier(view, config, &root_key)?);
        let keyring_revision = keyring_revision(view)?;
        let _gate = self.gate.lock();
        let allowed = match opener {
            Opener::Operator => {
                self.allow_self_unseal();
                true
            }
            Opener::Itself => !self.stays_sealed(),
            Opener::Refresh(old) => self.unsealed().is_some_and(|current| Arc::ptr_eq(&current, old)),
        };
        if allowed {
            self.unsealed.store(Some(Arc::new(Unsealed {
                barrier,
                root_key,
                keyring_revision,
                caches: Caches::default(),
            })));
            self.sealed.send_replace(false);
        }
        Ok(())
    }

    /// Whether `view` has no newer keyring than this node uses; so it is while the node is sealed.
    pub fn is_current(&self, view: &dyn View) -> Result<bool, Error> {
        Ok(self.outdated(view)?.is_none())
    }

    /// The keys that this node uses, if `view` has newer ones.
    fn outdated(&self, view: &dyn View) -> Result<Option<Arc<Unsealed>>, Error> {
        let Some(unsealed) = self.unsealed() else { return Ok(None) };
        Ok((keyring_revision(view)? > unsealed.keyring_revision).then_some(unsealed))
    }

    /// Takes over the keyring that `view` has, if it is a newer one. Returns whether it was.
    pub fn refresh(&self, view: &dyn View) -> Result<bool, Error> {
        let Some(unsealed) = self.outdated(view)? else { return Ok(false) };
        let (config, _) =
            seal::load_config(view)?.ok_or_else(|| Error::Corrupt("the seal is missing".to_owned()))?;
        self.open_for(&Opener::Refresh(&unsealed), view, &config, Arc::clone(&unsealed.root_key))?;
        Ok(true)
    }

    /// Tries the static key of `setting`. `Ok(false)`: there is none.
    pub fn unseal_by_setting(
        &self,
        setting: &SealSetting,
        view: &dyn View,
        config: &SealConfig,
    ) -> Result<bool, Error> {
        let Some(key) = static_key(setting)? else { return Ok(false) };
        let root_key = config.unseal_with(&key)?;
        self.open(view, config, Arc::new(root_key))?;
        Ok(true)
    }

    fn allow_self_unseal(&self) {
        self.by_operator.store(false, Ordering::Relaxed);
        hit(Point::UnsealMark);
        if let Err(error) = durable::remove(&self.marker) {
            tracing::warn!(%error, "the mark of an operator's seal could not be removed; the next start will be sealed");
        }
        hit(Point::UnsealMarked);
    }
}

/// The static key that the settings name, read from its file.
pub fn static_key(setting: &SealSetting) -> Result<Option<StaticKey>, Error> {
    let SealSetting::Static { key_file } = setting else { return Ok(None) };
    let content = zeroize::Zeroizing::new(std::fs::read(key_file).map_err(|error| {
        Error::Invalid(format!("the static seal key {} cannot be read: {error}", key_file.display()))
    })?);
    let key = decode_key(&content).ok_or_else(|| {
        Error::Invalid(format!(
            "the static seal key {} must be 32 bytes, raw, hex or base64",
            key_file.display()
        ))
    })?;
    StaticKey::new(STATIC_KEY_ID, &key).map(Some)
}

fn decode_key(content: &[u8]) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    use base64::Engine as _;
    if content.len() == 32 {
        return Some(zeroize::Zeroizing::new(content.to_vec()));
    }
    let text = content.trim_ascii();
    let decoded =
        hex::decode(text).or_else(|_| base64::engine::general_purpose::STANDARD.decode(text)).ok()?;
    (decoded.len() == 32).then(|| zeroize::Zeroizing::new(decoded))
}

fn keyring_revision(view: &dyn View) -> Result<u64, Error> {
    Ok(view.stamp(&plain_key(Kind::Keyring))?.map_or(0, |stamp| stamp.revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_key_may_be_raw_hex_or_base64() {
        use base64::Engine as _;
        let key = [7; 32];
        assert_eq!(decode_key(&key).unwrap().as_slice(), key);
        assert_eq!(decode_key(format!("{}\n", hex::encode(key)).as_bytes()).unwrap().as_slice(), key);
        let base64 = base64::engine::general_purpose::STANDARD.encode(key);
        assert_eq!(decode_key(base64.as_bytes()).unwrap().as_slice(), key);
        assert!(decode_key(b"short").is_none());
    }

    #[test]
    fn an_operators_seal_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let seal = SealState::new(dir.path());
        assert!(!seal.stays_sealed());
        seal.seal().unwrap();
        assert!(SealState::new(dir.path()).stays_sealed());
        seal.allow_self_unseal();
        assert!(!SealState::new(dir.path()).stays_sealed());
    }
}
