//! A node's identity on disk, under `DATA_DIR/tls`: replaced as a whole or not at all.
//!
//! ```text
//! tls/current -> identity-<random>/     the only thing that ever changes, by one rename
//! tls/identity-<random>/                identity.json, node-key.pem (0600), node.pem, ca.pem
//! tls/ca.pem -> current/ca.pem          fixed paths for clients and operators
//! ```
//!
//! Before a cluster exists a node speaks TLS with a provisional identity, signed by an authority whose key is
//! thrown away at once. A crash while a new identity is adopted leaves either the old or the new one. The private
//! key never leaves its file except into memory as a [`Secret`].

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use conclave_faults::failpoint::{Point, hit};
use conclave_proto::secret::Secret;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::ca::{CA_VALIDITY, first_certificate, public_key_of};
use super::{ClusterCa, ClusterId, IdentityError, PeerIdentity};

const TLS_DIR: &str = "tls";
const CURRENT: &str = "current";
const CURRENT_NEXT: &str = "current.next";
const GENERATION_PREFIX: &str = "identity-";
const IDENTITY_FILE: &str = "identity.json";
const KEY_FILE: &str = "node-key.pem";
const CERTIFICATE_FILE: &str = "node.pem";
const CA_FILE: &str = "ca.pem";
const DIR_MODE: u32 = 0o700;
const SECRET_FILE_MODE: u32 = 0o600;
const PUBLIC_FILE_MODE: u32 = 0o644;
/// A provisional identity lives as long as its authority and is replaced when less than this is left.
const PROVISIONAL_REMAINING_MIN: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Largest identity file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A private key that this node made itself; it never travels.
pub struct NodeKey(Secret<String>);

impl NodeKey {
    /// # Errors
    /// [`IdentityError::Key`] if the system's random source fails.
    pub fn generate() -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|_| IdentityError::Key)?;
        Ok(Self(Secret::new(key.serialize_pem())))
    }

    /// A request that proves possession of the key and asks for no names.
    ///
    /// # Errors
    /// [`IdentityError::Key`] if the key cannot sign.
    pub fn csr_pem(&self) -> Result<String, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&self.pair()?).map_err(|_| IdentityError::Key)?;
        request.pem().map_err(|_| IdentityError::Key)
    }

    /// PKCS#8 PEM.
    pub fn pem(&self) -> &Secret<String> {
        &self.0
    }

    fn pair(&self) -> Result<KeyPair, IdentityError> {
        KeyPair::from_pem(self.0.expose()).map_err(|_| IdentityError::Key)
    }
}

impl Clone for NodeKey {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A node's name, key and certificate, checked to belong together.
#[derive(Clone)]
pub struct Identity {
    name: String,
    /// None: provisional, no cluster yet.
    member: Option<PeerIdentity>,
    key: NodeKey,
    certificate_pem: String,
    ca_pem: String,
}

impl Identity {
    /// The identity of a member: `certificate_pem` was issued by the cluster for `key`.
    ///
    /// `ca_pem` may hold several authorities while one replaces another; the issuer comes first.
    ///
    /// # Errors
    /// [`IdentityError::KeyMismatch`] if the certificate is for another key, [`IdentityError::WrongHolder`] if it
    /// names another node, [`IdentityError::Certificate`] if it does not parse.
    pub fn member(
        name: impl Into<String>,
        peer: PeerIdentity,
        key: NodeKey,
        certificate_pem: impl Into<String>,
        ca_pem: impl Into<String>,
    ) -> Result<Self, IdentityError> {
        let identity = Self {
            name: name.into(),
            member: Some(peer),
            key,
            certificate_pem: certificate_pem.into(),
            ca_pem: ca_pem.into(),
        };
        identity.check()?;
        Ok(identity)
    }

    /// An identity of its own authority, so that TLS is on before the cluster exists.
    ///
    /// # Errors
    /// As [`ClusterCa::issue`].
    pub fn provisional(
        name: impl Into<String>,
        api_names: &[String],
        now: SystemTime,
    ) -> Result<Self, IdentityError> {
        // The id of no cluster: nothing trusts this authority for peers, and its key ends with this function.
        let ca = ClusterCa::generate(ClusterId::random(), now)?;
        let key = NodeKey::generate()?;
        let certificate_pem = ca.issue_for(&key.csr_pem()?, 0, api_names, now, CA_VALIDITY)?;
        let ca_pem = ca.certificate_pem().to_owned();
        Ok(Self { name: name.into(), member: None, key, certificate_pem, ca_pem })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster and node id; `None` before init or join.
    pub fn peer(&self) -> Option<PeerIdentity> {
        self.member
    }

    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The same node with a renewed certificate.
    ///
    /// # Errors
    /// As [`Identity::member`]; [`IdentityError::NotMember`] for a provisional identity.
    pub fn renewed(
        &self,
        certificate_pem: impl Into<String>,
        ca_pem: impl Into<String>,
    ) -> Result<Self, IdentityError> {
        let peer = self.member.ok_or(IdentityError::NotMember)?;
        Self::member(self.name.clone(), peer, self.key.clone(), certificate_pem, ca_pem)
    }

    /// From when on the certificate is to be renewed: when two thirds of its life are over.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] if it does not parse.
    pub fn renew_at(&self) -> Result<SystemTime, IdentityError> {
        let (from, until) = self.validity()?;
        let life = until.duration_since(from).unwrap_or_default();
        Ok(from + life * 2 / 3)
    }

    /// When the certificate becomes and ceases to be valid.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] if it does not parse.
    pub fn validity(&self) -> Result<(SystemTime, SystemTime), IdentityError> {
        let certificate = first_certificate(&self.certificate_pem)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|_| IdentityError::Certificate("it is not an X.509 certificate".into()))?;
        let time =
            |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let validity = parsed.validity();
        Ok((time(validity.not_before.timestamp()), time(validity.not_after.timestamp())))
    }

    /// The node's certificate (DER).
    pub(super) fn certificate(&self) -> Result<CertificateDer<'static>, IdentityError> {
        first_certificate(&self.certificate_pem)
    }

    /// The trusted authorities (DER), the issuer first.
    pub(super) fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
        CertificateDer::pem_slice_iter(self.ca_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| IdentityError::Certificate("the authority is not PEM".into()))
    }

    fn check(&self) -> Result<(), IdentityError> {
        let certificate = self.certificate()?;
        if public_key_of(&certificate)? != self.key.pair()?.subject_public_key_info() {
            return Err(IdentityError::KeyMismatch);
        }
        if let Some(expected) = self.member {
            let found = PeerIdentity::from_certificate(&certificate)?;
            if found != expected {
                return Err(IdentityError::WrongHolder {
                    expected: expected.to_string(),
                    found: found.to_string(),
                });
            }
        }
        if self.authorities()?.is_empty() {
            return Err(IdentityError::Certificate("there is no authority".into()));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.member {
            Some(peer) => write!(f, "Identity({peer})"),
            None => f.write_str("Identity(provisional)"),
        }
    }
}

/// `identity.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityRecord {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster_id: Option<ClusterId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node_id: Option<u64>,
}

/// The identity files of one data directory. One process at a time: the storage lock sees to that.
pub struct IdentityStore {
    dir: PathBuf,
}

impl IdentityStore {
    /// Opens `data_dir/tls`, creates it if need be, and removes what an interrupted change left behind.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub fn open(data_dir: &Path) -> Result<Self, IdentityError> {
        let dir = data_dir.join(TLS_DIR);
        DirBuilder::new()
            .recursive(true)
            .mode(DIR_MODE)
            .create(&dir)
            .map_err(|error| io("create", &dir, error))?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(DIR_MODE))
            .map_err(|error| io("restrict", &dir, error))?;
        // The files in it are synced as they come; without its name they would be lost all the same.
        sync_dir(data_dir)?;
        let store = Self { dir };
        store.remove_leftovers()?;
        Ok(store)
    }

    /// Where the trusted authority lies, for clients of this machine.
    pub fn ca_path(&self) -> PathBuf {
        self.dir.join(CA_FILE)
    }

    /// The identity on disk, if there is one.
    ///
    /// # Errors
    /// [`IdentityError::Io`], or [`IdentityError::Damaged`] if the parts do not belong together.
    pub fn load(&self) -> Result<Option<Identity>, IdentityError> {
        let current = self.dir.join(CURRENT);
        if !current.try_exists().map_err(|error| io("find", &current, error))? {
            return Ok(None);
        }
        let read = |name: &str| read_text(&current.join(name));
        let damaged = |reason: String| IdentityError::Damaged { path: current.clone(), reason };
        let record: IdentityRecord = serde_json::from_str(&read(IDENTITY_FILE)?)
            .map_err(|error| damaged(format!("{IDENTITY_FILE}: {error}")))?;
        let member = match (record.cluster_id, record.node_id) {
            (Some(cluster_id), Some(node_id)) => Some(PeerIdentity { cluster_id, node_id }),
            (None, None) => None,
            _ => return Err(damaged("only one of cluster_id and node_id is set".into())),
        };
        let identity = Identity {
            name: record.name,
            member,
            key: NodeKey(Secret::new(read(KEY_FILE)?)),
            certificate_pem: read(CERTIFICATE_FILE)?,
            ca_pem: read(CA_FILE)?,
        };
        identity.check().map_err(|error| damaged(error.to_string()))?;
        Ok(Some(identity))
    }

    /// The identity on disk, or a new provisional one.
    ///
    /// # Errors
    /// As [`IdentityStore::load`] and [`Identity::provisional`].
    pub fn load_or_create_provisional(
        &self,
        name: &str,
        api_names: &[String],
        now: SystemTime,
    ) -> Result<Identity, IdentityError> {
        if let Some(identity) = self.load()? {
            let remaining = identity.validity()?.1.duration_since(now).unwrap_or_default();
            // A member's certificate is renewed by the cluster; nobody but the node itself renews a provisional one.
            if identity.member.is_some() || remaining > PROVISIONAL_REMAINING_MIN {
                return Ok(identity);
            }
        }
        let identity = Identity::provisional(name, api_names, now)?;
        self.adopt(&identity)?;
        Ok(identity)
    }

    /// Makes `identity` this node's, durably. After a crash in between, the node has the old one or the new one.
    ///
    /// # Errors
    /// [`IdentityError::Io`]; the old identity then still stands.
    pub fn adopt(&self, identity: &Identity) -> Result<(), IdentityError> {
        let generation = format!("{GENERATION_PREFIX}{}", hex::encode(rand::random::<[u8; 8]>()));
        let dir = self.dir.join(&generation);
        DirBuilder::new().mode(DIR_MODE).create(&dir).map_err(|error| io("create", &dir, error))?;
        hit(Point::IdentityAdopt);
        let record = IdentityRecord {
            name: identity.name.clone(),
            cluster_id: identity.member.map(|peer| peer.cluster_id),
            node_id: identity.member.map(|peer| peer.node_id),
        };
        let record = serde_json::to_string_pretty(&record).expect("the record has string keys only");
        write_synced(&dir.join(IDENTITY_FILE), record.as_bytes(), PUBLIC_FILE_MODE)?;
        write_synced(&dir.join(KEY_FILE), identity.key.0.expose().as_bytes(), SECRET_FILE_MODE)?;
        hit(Point::IdentityKeyWritten);
        write_synced(&dir.join(CERTIFICATE_FILE), identity.certificate_pem.as_bytes(), PUBLIC_FILE_MODE)?;
        write_synced(&dir.join(CA_FILE), identity.ca_pem.as_bytes(), PUBLIC_FILE_MODE)?;
        sync_dir(&dir)?;
        hit(Point::IdentityWritten);
        for fixed in [CERTIFICATE_FILE, CA_FILE] {
            self.link(fixed, &format!("{CURRENT}/{fixed}"))?;
        }
        let next = self.dir.join(CURRENT_NEXT);
        remove_if_present(&next)?;
        std::os::unix::fs::symlink(&generation, &next).map_err(|error| io("link", &next, error))?;
        let current = self.dir.join(CURRENT);
        hit(Point::IdentitySwitch);
        fs::rename(&next, &current).map_err(|error| io("switch", &current, error))?;
        hit(Point::IdentitySwitched);
        sync_dir(&self.dir)?;
        hit(Point::IdentityAdopted);
        self.remove_leftovers()
    }

    /// Forgets the identity: the node is nobody's member any more.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub fn wipe(&self) -> Result<(), IdentityError> {
        hit(Point::IdentityWipe);
        for name in [CURRENT, CA_FILE, CERTIFICATE_FILE] {
            remove_if_present(&self.dir.join(name))?;
        }
        // The link goes first and durably: a key without a link to it is a leftover, not an identity.
        sync_dir(&self.dir)?;
        hit(Point::IdentityUnlinked);
        self.remove_leftovers()
    }

    fn link(&self, name: &str, target: &str) -> Result<(), IdentityError> {
        let path = self.dir.join(name);
        if fs::read_link(&path).is_ok_and(|found| found == Path::new(target)) {
            return Ok(());
        }
        remove_if_present(&path)?;
        std::os::unix::fs::symlink(target, &path).map_err(|error| io("link", &path, error))
    }

    fn remove_leftovers(&self) -> Result<(), IdentityError> {
        remove_if_present(&self.dir.join(CURRENT_NEXT))?;
        let current = fs::read_link(self.dir.join(CURRENT)).ok();
        let entries = fs::read_dir(&self.dir).map_err(|error| io("list", &self.dir, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| io("list", &self.dir, error))?;
            let name = entry.file_name();
            let is_generation = name.to_str().is_some_and(|name| name.starts_with(GENERATION_PREFIX));
            if is_generation && current.as_deref() != Some(Path::new(&name)) {
                fs::remove_dir_all(entry.path()).map_err(|error| io("remove", &entry.path(), error))?;
            }
        }
        sync_dir(&self.dir)
    }
}

fn read_text(path: &Path) -> Result<String, IdentityError> {
    let bytes = fs::metadata(path).map_err(|error| io("read", path, error))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(IdentityError::Damaged { path: path.to_owned(), reason: "it is too large".into() });
    }
    fs::read_to_string(path).map_err(|error| io("read", path, error))
}

fn write_synced(path: &Path, content: &[u8], mode: u32) -> Result<(), IdentityError> {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|error| io("write", path, error))
}

fn sync_dir(path: &Path) -> Result<(), IdentityError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|error| io("sync", path, error))
}

fn remove_if_present(path: &Path) -> Result<(), IdentityError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", path, error)),
        _ => Ok(()),
    }
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> IdentityError {
    IdentityError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node_id: u64) -> Identity {
        let now = SystemTime::now();
        let ca = ClusterCa::generate(ClusterId::random(), now).unwrap();
        let key = NodeKey::generate().unwrap();
        let pem = ca.issue(&key.csr_pem().unwrap(), node_id, &[], now).unwrap();
        let peer = PeerIdentity { cluster_id: ca.cluster_id(), node_id };
        Identity::member("n", peer, key, pem, ca.certificate_pem()).unwrap()
    }

    #[test]
    fn a_provisional_identity_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned()];
        let first = IdentityStore::open(dir.path()).unwrap();
        let made = first.load_or_create_provisional("a", &names, SystemTime::now()).unwrap();
        let second = IdentityStore::open(dir.path()).unwrap();
        let found = second.load_or_create_provisional("a", &names, SystemTime::now()).unwrap();
        assert_eq!(made.certificate_pem(), found.certificate_pem());
        assert_eq!(found.peer(), None);
        assert_eq!(fs::read_to_string(second.ca_path()).unwrap(), made.ca_pem());
    }

    #[test]
    fn an_adopted_identity_replaces_the_old_one_and_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let store = IdentityStore::open(dir.path()).unwrap();
        store.load_or_create_provisional("a", &[], SystemTime::now()).unwrap();
        let adopted = member(3);
        store.adopt(&adopted).unwrap();
        let found = IdentityStore::open(dir.path()).unwrap().load().unwrap().unwrap();
        assert_eq!(found.peer(), adopted.peer());
        assert_eq!(fs::read_to_string(store.ca_path()).unwrap(), adopted.ca_pem());
        let keys = walk(dir.path()).into_iter().filter(|path| path.ends_with(KEY_FILE)).count();
        assert_eq!(keys, 1, "an old private key was left behind");
    }

    #[test]
    fn an_interrupted_adoption_leaves_the_old_identity() {
        let dir = tempfile::tempdir().unwrap();
        let store = IdentityStore::open(dir.path()).unwrap();
        let old = member(1);
        store.adopt(&old).unwrap();
        // What a crash just before the rename leaves: a whole new generation and a link that is not in place yet.
        let half = dir.path().join("tls/identity-half");
        fs::create_dir(&half).unwrap();
        fs::write(half.join(KEY_FILE), "half").unwrap();
        std::os::unix::fs::symlink("identity-half", dir.path().join("tls/current.next")).unwrap();
        let again = IdentityStore::open(dir.path()).unwrap();
        assert_eq!(again.load().unwrap().unwrap().peer(), old.peer());
        assert!(!half.exists());
    }

    #[test]
    fn keys_and_their_directories_are_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        IdentityStore::open(dir.path()).unwrap().adopt(&member(1)).unwrap();
        for path in walk(dir.path()) {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            if path.ends_with(KEY_FILE) {
                assert_eq!(mode, 0o600);
            } else if path.is_dir() {
                assert_eq!(mode, 0o700, "{path:?}");
            }
        }
    }

    #[test]
    fn a_wiped_node_is_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let store = IdentityStore::open(dir.path()).unwrap();
        store.adopt(&member(1)).unwrap();
        store.wipe().unwrap();
        assert!(store.load().unwrap().is_none());
        assert!(walk(dir.path()).iter().all(|path| !path.ends_with(KEY_FILE)));
    }

    #[test]
    fn a_key_of_another_certificate_is_found_at_load() {
        let dir = tempfile::tempdir().unwrap();
        let store = IdentityStore::open(dir.path()).unwrap();
        store.adopt(&member(1)).unwrap();
        let path = dir.path().join("tls/current").join(KEY_FILE);
        fs::write(&path, NodeKey::generate().unwrap().pem().expose()).unwrap();
        assert!(matches!(store.load(), Err(IdentityError::Damaged { .. })));
    }

    #[test]
    fn a_certificate_for_another_node_is_not_taken() {
        let other = member(2);
        let wrong = PeerIdentity { node_id: 1, ..other.peer().unwrap() };
        let taken =
            Identity::member("n", wrong, other.key().clone(), other.certificate_pem(), other.ca_pem());
        assert!(matches!(taken, Err(IdentityError::WrongHolder { .. })));
    }

    #[test]
    fn a_member_certificate_is_renewed_after_two_thirds_of_its_life() {
        let identity = member(1);
        let (from, until) = identity.validity().unwrap();
        let third = until.duration_since(from).unwrap() / 3;
        assert_eq!(identity.renew_at().unwrap(), from + third * 2);
    }

    #[test]
    fn debug_shows_no_key() {
        assert!(!format!("{:?}", member(1)).contains("PRIVATE"));
    }

    fn walk(dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            // Links would show a file twice.
            if entry.file_type().unwrap().is_symlink() {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                found.push(entry.path());
                found.extend(walk(&entry.path()));
            } else {
                found.push(entry.path());
            }
        }
        found.retain(|path| path != dir);
        found
    }
}
