//! The one way in which a node asks servers that are none of its cluster, such as those that vouch for who logs in.
//!
//! Whatever they answer is bounded in time and in bytes. No error names the URL, which may hold a password, nor repeats
//! what was answered.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Method};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Bytes of an answer at most, unless the caller takes less.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// By whom a server's certificate must be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust<'a> {
    /// By these (PEM).
    Authorities(&'a [u8]),
    /// By whomever this system trusts.
    System,
    /// By nobody: what is asked is asked in clear.
    Nobody,
}

/// How servers are asked.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    pub trust: Trust<'a>,
    /// How long the whole may take, from the name's look-up to the answer's last byte.
    pub limit: Duration,
    /// Redirects that are followed, never from TLS to none. What is sent goes along, so 0 unless it is no secret.
    pub redirects_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    #[error("the authorities to trust cannot be read as PEM certificates")]
    Authorities,
    #[error("no server can be asked: {0}")]
    Setup(String),
    /// It may or may not have got the request.
    #[error("the server did not answer: {0}")]
    Unanswered(String),
    #[error("the server answered with more than {0} bytes")]
    TooLarge(usize),
}

impl From<OutboundError> for io::Error {
    fn from(error: OutboundError) -> Self {
        Self::other(error)
    }
}

/// Asks servers, over connections that are kept for the next time.
#[derive(Debug, Clone)]
pub struct Outbound(Client);

/// What a server answered.
pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answered {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header's first value, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Outbound {
    /// # Errors
    /// [`OutboundError::Authorities`], [`OutboundError::Setup`].
    pub fn new(settings: &Settings<'_>) -> Result<Self, OutboundError> {
        let redirects_max = settings.redirects_max;
        let client = Client::builder()
            .use_preconfigured_tls(tls(settings.trust)?)
            .timeout(settings.limit)
            .connect_timeout(settings.limit)
            .redirect(Policy::custom(move |attempt| follow(attempt, redirects_max)))
            .no_proxy();
        Ok(Self(client.build().map_err(|error| OutboundError::Setup(reason_of(error)))?))
    }

    /// Asks once. An answer of any status is an answer.
    ///
    /// # Errors
    /// [`OutboundError::Unanswered`], [`OutboundError::TooLarge`].
    pub async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
        answer_bytes_max: usize,
    ) -> Result<Answered, OutboundError> {
        let unanswered = |error| OutboundError::Unanswered(reason_of(error));
        let request = self.0.request(method, url).headers(headers).body(body);
        let mut response = request.send().await.map_err(unanswered)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if body.len() + chunk.len() > answer_bytes_max {
                return Err(OutboundError::TooLarge(answer_bytes_max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answered { status, headers, body })
    }

    /// Asks for what lies at `url`.
    ///
    /// # Errors
    /// As [`Outbound::ask`].
    pub async fn get(&self, url: &str) -> Result<Answered, OutboundError> {
        self.ask(Method::GET, url, HeaderMap::new(), Vec::new(), ANSWER_BYTES_MAX).await
    }
}

/// How a peer's certificate is held against `trust`, for any protocol over TLS.
///
/// # Errors
/// [`OutboundError::Authorities`]: they cannot be read, or there is none. [`OutboundError::Setup`].
pub fn tls(trust: Trust<'_>) -> Result<ClientConfig, OutboundError> {
    let roots = match trust {
        Trust::Authorities(pem) => authorities(pem)?,
        Trust::System => system()?.clone(),
        Trust::Nobody => RootCertStore::empty(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| OutboundError::Setup(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, OutboundError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate.ok().map(|certificate| roots.add(certificate));
        added.and_then(Result::ok).ok_or(OutboundError::Authorities)?;
    }
    if roots.is_empty() { Err(OutboundError::Authorities) } else { Ok(roots) }
}

/// Read once: a system has some hundred of them.
fn system() -> Result<&'static RootCertStore, OutboundError> {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots);
    }
    let mut roots = RootCertStore::empty();
    // One that is too odd to be read makes the others no worse.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(OutboundError::Setup("this system trusts no authorities".to_owned()));
    }
    Ok(ROOTS.get_or_init(|| roots))
}

fn follow(attempt: Attempt<'_>, redirects_max: usize) -> reqwest::redirect::Action {
    let was_secret = attempt.previous().iter().any(|url| url.scheme() == "https");
    if attempt.previous().len() > redirects_max || (was_secret && attempt.url().scheme() != "https") {
        return attempt.stop();
    }
    attempt.follow()
}

/// The innermost error says what happened ("connection refused"); the outer ones only where.
fn reason_of(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
