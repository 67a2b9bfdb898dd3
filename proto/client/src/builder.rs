//! Makes a [`Client`] from settings, and its connections' TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use conclave_proto::secret::Secret;
use conclave_proto::wire::{
    HEADER_CONSISTENCY, HEADER_MAX_STALE, HEADER_REQUEST, HEADER_TOKEN, HEADER_WRAP_TTL,
};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::address::Address;
use crate::client::Client;
use crate::environment::{Environment, split_addresses};
use crate::error::Error;
use crate::retry;

/// Where a node listens when nothing else is said.
const ADDRESS_DEFAULT: &str = "https://127.0.0.1:8200";
/// How long a request may take with all its repeats, by default.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection may take to come up; a node that is off the network is noticed after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether reads may be answered by a node from its own state, without asking the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staleness {
    /// However old the node's state may be; the answer says how old.
    Unbounded,
    /// Not older than this.
    AtMost(Duration),
}

/// Settings of a [`Client`]. What is not set here may come from the environment ([`Builder::environment`]).
#[derive(Debug)]
pub struct Builder {
    addresses: Vec<String>,
    token: Option<Secret<String>>,
    ca_cert: Option<PathBuf>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    skip_verify: bool,
    timeout: Duration,
    idempotency: bool,
    rounds_max: usize,
    stale: Option<Staleness>,
    wrap_ttl: Option<String>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            addresses: Vec::new(),
            token: None,
            ca_cert: None,
            client_cert: None,
            client_key: None,
            skip_verify: false,
            timeout: TIMEOUT,
            idempotency: true,
            rounds_max: retry::ROUNDS_MAX,
            stale: None,
            wrap_ttl: None,
        }
    }

    /// Adds a node's address, such as `https://node1.example:8200`, or several with commas between them. The first is
    /// tried first.
    #[must_use]
    pub fn address(mut self, address: impl AsRef<str>) -> Self {
        self.addresses.extend(split_addresses(address.as_ref()));
        self
    }

    #[must_use]
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        for address in addresses {
            self = self.address(address);
        }
        self
    }

    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Secret::new(token.into()));
        self
    }

    /// A PEM file of the authorities that nodes' certificates are checked against, instead of the system's.
    #[must_use]
    pub fn ca_cert(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_cert = Some(path.into());
        self
    }

    /// A PEM file of the certificates that this client shows in handshakes, its own first.
    #[must_use]
    pub fn client_cert(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_cert = Some(path.into());
        self
    }

    /// A PEM file of the key of the client's own certificate.
    #[must_use]
    pub fn client_key(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_key = Some(path.into());
        self
    }

    /// Does not check nodes' certificates: whoever answers gets the token.
    #[must_use]
    pub fn skip_verify(mut self, skip: bool) -> Self {
        self.skip_verify = skip;
        self
    }

    /// How long a request may take with all its repeats (default: 60 seconds).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether each change gets an idempotency key, so that it can be repeated safely (default: yes).
    #[must_use]
    pub fn idempotency(mut self, on: bool) -> Self {
        self.idempotency = on;
        self
    }

    /// How many times every node is tried at most (default: 6, over about two seconds; at least 1).
    #[must_use]
    pub fn rounds_max(mut self, rounds: usize) -> Self {
        self.rounds_max = rounds.max(1);
        self
    }

    /// Lets nodes answer reads without asking the leader.
    #[must_use]
    pub fn stale(mut self, staleness: Staleness) -> Self {
        self.stale = Some(staleness);
        self
    }

    /// Has answers wrapped for so long, such as `60s`.
    #[must_use]
    pub fn wrap_ttl(mut self, ttl: impl Into<String>) -> Self {
        self.wrap_ttl = Some(ttl.into());
        self
    }

    /// Fills in what was not set from the environment.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        if self.addresses.is_empty() {
            self.addresses = environment.addresses;
        }
        self.token = self.token.or(environment.token);
        self.ca_cert = self.ca_cert.or(environment.ca_cert);
        self.client_cert = self.client_cert.or(environment.client_cert);
        self.client_key = self.client_key.or(environment.client_key);
        self.skip_verify |= environment.skip_verify;
        self
    }

    /// Reads the certificates; connects to nothing.
    ///
    /// # Errors
    /// [`Error::Configuration`] when an address, the token or the CA file cannot be used.
    pub fn build(self) -> Result<Client, Error> {
        let texts = if self.addresses.is_empty() { vec![ADDRESS_DEFAULT.to_owned()] } else { self.addresses };
        let addresses = texts.iter().map(|text| Address::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let secure = addresses.iter().any(|address| address.as_str().starts_with("https://"));
        let roots = match (&self.ca_cert, secure && !self.skip_verify) {
            (_, false) => Vec::new(),
            (Some(path), true) => authorities_of_file(path)?,
            (None, true) => rustls_native_certs::load_native_certs().certs,
        };
        let identity = match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(key)) if secure => Some(identity_of_files(certificate, key)?),
            (Some(_), None) | (None, Some(_)) => {
                let sentence = "a client certificate and its key are given together, or neither";
                return Err(Error::Configuration(sentence.to_owned()));
            }
            _ => None,
        };
        let local = addresses.iter().all(Address::is_loopback);
        Ok(Client {
            http: http_client(roots, identity, self.skip_verify, local)?,
            headers: headers(self.token.as_ref(), self.stale, self.wrap_ttl.as_deref())?,
            addresses: addresses.into(),
            preferred: Arc::new(AtomicUsize::new(0)),
            timeout: self.timeout,
            idempotency: self.idempotency,
            rounds_max: self.rounds_max,
        })
    }
}

fn http_client(
    roots: Vec<CertificateDer<'static>>,
    identity: Option<reqwest::Identity>,
    skip_verify: bool,
    local: bool,
) -> Result<reqwest::Client, Error> {
    // The program may have installed one already; any provider that is there will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("conclave-client/", env!("CARGO_PKG_VERSION")))
        // A redirect would carry the token to whatever host it names.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .danger_accept_invalid_certs(skip_verify);
    if local {
        // As Go's clients: what runs on this host is never behind a proxy.
        builder = builder.no_proxy();
    }
    if let Some(identity) = identity {
        builder = builder.identity(identity);
    }
    for root in roots {
        let certificate = reqwest::Certificate::from_der(&root)
            .map_err(|_| Error::Configuration("a CA certificate cannot be read".to_owned()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().map_err(|error| {
        Error::Configuration(format!("cannot set up TLS: {}", crate::attempt::reason_of(error)))
    })
}

/// What a client shows of itself. No sentence repeats what stands in the files.
fn identity_of_files(certificate: &Path, key: &Path) -> Result<reqwest::Identity, Error> {
    let read = |path: &Path| {
        let fault = |error| format!("{} cannot be read: {error}", path.display());
        std::fs::read(path).map_err(|error| Error::Configuration(fault(error)))
    };
    let pem = [read(certificate)?, b"\n".to_vec(), read(key)?].concat();
    reqwest::Identity::from_pem(&pem).map_err(|_| {
        let files = format!("{} and {}", certificate.display(), key.display());
        Error::Configuration(format!("{files} are no client certificate and its key, in PEM"))
    })
}

fn authorities_of_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let fault = |reason: &str| Error::Configuration(format!("the CA file {} {reason}", path.display()));
    let pem = std::fs::read(path).map_err(|error| fault(&format!("cannot be read: {error}")))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|_| fault("is not valid PEM"))?;
    if certificates.is_empty() {
        return Err(fault("holds no certificate"));
    }
    Ok(certificates)
}

fn headers(
    token: Option<&Secret<String>>,
    stale: Option<Staleness>,
    wrap_ttl: Option<&str>,
) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(HEADER_REQUEST), HeaderValue::from_static("true"));
    if let Some(token) = token.filter(|token| !token.expose().is_empty()) {
        let mut value = HeaderValue::from_str(token.expose())
            .map_err(|_| Error::Configuration("the token has characters that no token has".to_owned()))?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(HEADER_TOKEN), value);
    }
    if let Some(ttl) = wrap_ttl {
        let value = HeaderValue::from_str(ttl)
            .map_err(|_| Error::Configuration("the wrapping time is no duration".to_owned()))?;
        headers.insert(HeaderName::from_static(HEADER_WRAP_TTL), value);
    }
    if let Some(stale) = stale {
        headers.insert(HeaderName::from_static(HEADER_CONSISTENCY), HeaderValue::from_static("stale"));
        if let Staleness::AtMost(age) = stale {
            let text = format!("{}ms", age.as_millis());
            let value = HeaderValue::from_str(&text).expect("digits and letters make a header value");
            headers.insert(HeaderName::from_static(HEADER_MAX_STALE), value);
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(builder: Builder) -> String {
        builder.build().expect_err("the settings cannot be used").to_string()
    }

    #[test]
    fn a_ca_file_that_cannot_be_used_is_named() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert!(sentence(Client::builder().ca_cert(empty.path())).contains("holds no certificate"));
        assert!(sentence(Client::builder().ca_cert("/nonexistent/ca.pem")).contains("/nonexistent/ca.pem"));
    }

    #[test]
    fn a_client_certificate_needs_its_key_and_neither_is_repeated() {
        let half = Client::builder().client_cert("/nonexistent/c.pem");
        assert!(sentence(half).contains("together"));
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "canary").unwrap();
        let refusal = sentence(Client::builder().client_cert(secret.path()).client_key(secret.path()));
        assert!(refusal.contains("no client certificate") && !refusal.contains("canary"), "{refusal}");
    }

    #[test]
    fn plain_http_needs_no_ca() {
        Client::builder().address("http://127.0.0.1:1").ca_cert("/nonexistent/ca.pem").build().unwrap();
    }

    #[test]
    fn what_is_set_wins_over_the_environment() {
        let environment = Environment {
            addresses: vec!["http://environment".into()],
            token: Some(Secret::new("environment".into())),
            ..Environment::default()
        };
        let builder = Client::builder().address("http://flag").environment(environment);
        assert_eq!(builder.addresses, ["http://flag"]);
        assert_eq!(builder.token.unwrap().expose(), "environment");
    }

    #[test]
    fn neither_builder_nor_client_prints_the_token() {
        let builder = Client::builder().token("canary-token").address("http://127.0.0.1:1");
        assert!(!format!("{builder:?}").contains("canary"));
        assert!(!format!("{:?}", builder.build().unwrap()).contains("canary"));
        assert!(!sentence(Client::builder().token("canary\n").address("http://h")).contains("canary"));
    }
}
