//! The operator's own API certificate, read again when its files change, so that renewing it needs no restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::cluster::StartError;
use crate::identity::any_client::AnyClient;

/// How often the files are looked at, at most.
const LOOK_PAUSE: Duration = Duration::from_secs(10);

/// A certificate and key in files.
#[derive(Debug)]
pub struct FileCertificate {
    certificate: PathBuf,
    key: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    certified: Arc<CertifiedKey>,
    changed: (Option<SystemTime>, Option<SystemTime>),
    looked: Instant,
}

impl FileCertificate {
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, StartError> {
        let loaded = Loaded {
            certified: read(certificate, key).map_err(StartError::Certificate)?,
            changed: (changed_at(certificate), changed_at(key)),
            looked: Instant::now(),
        };
        Ok(Arc::new(Self { certificate: certificate.into(), key: key.into(), loaded: Mutex::new(loaded) }))
    }

    pub fn server_config(self: Arc<Self>) -> Result<Arc<ServerConfig>, StartError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = AnyClient::new(&provider);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| StartError::Certificate(error.to_string()))?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(self);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for FileCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut loaded = self.loaded.lock();
        if loaded.looked.elapsed() >= LOOK_PAUSE {
            loaded.looked = Instant::now();
            let changed = (changed_at(&self.certificate), changed_at(&self.key));
            if changed != loaded.changed {
                // Half-written files fail to load: the old certificate serves until both are there.
                match read(&self.certificate, &self.key) {
                    Ok(certified) => {
                        loaded.certified = certified;
                        loaded.changed = changed;
                        tracing::info!("took over the API's changed certificate");
                    }
                    Err(reason) => tracing::warn!(reason, "the API's changed certificate cannot be used"),
                }
            }
        }
        Some(Arc::clone(&loaded.certified))
    }
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, String> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("{}: {error}", certificate.display()))?;
    if chain.is_empty() {
        return Err(format!("{}: there is no certificate in it", certificate.display()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, private, &provider)
        .map(Arc::new)
        .map_err(|error| format!("{}: {error}", key.display()))
}
