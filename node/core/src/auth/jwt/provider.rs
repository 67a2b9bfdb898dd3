//! Who signs, and what a signer says of itself: the same at every login, from the settings or from its own documents.

use serde_json::Value;

use super::config::{Config, Signer};
use super::document::{Library, Unread, WELL_KNOWN};
use crate::auth::jose::{Key, KeySet};
use crate::errand::Errands;

/// Longest URL, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;

/// What a provider of OpenID Connect says of itself.
pub struct Provider {
    pub issuer: String,
    pub keys_url: String,
    pub authorization_url: Option<String>,
    pub token_url: Option<String>,
    pub user_url: Option<String>,
    /// It takes a client's secret in the body only.
    pub secret_in_body: bool,
}

impl Provider {
    /// Reads it at `issuer`, which it must name itself by (OpenID Connect Discovery 1.0, 4.3).
    pub fn discover(library: &Library<'_>, issuer: &str) -> Result<Self, Unread> {
        let document = library.object(&format!("{}/{WELL_KNOWN}", issuer.trim_end_matches('/')))?;
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        if text("issuer") != Some(issuer) {
            return Err(Unread::Bad("the provider names another issuer".to_owned()));
        }
        let url = |name: &str| match text(name) {
            None | Some("") => Ok(None),
            // What begins protected must not go on in clear.
            Some(url) if is_url(url) && (url.starts_with("https:") || issuer.starts_with("http:")) => {
                Ok(Some(url.to_owned()))
            }
            Some(_) => Err(Unread::Bad(format!("the provider's {name} cannot be used"))),
        };
        let keys_url =
            url("jwks_uri")?.ok_or_else(|| Unread::Bad("the provider has no jwks_uri".to_owned()))?;
        let methods = document.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
        let takes = |method: &str| methods.is_some_and(|methods| methods.iter().any(|one| one == method));
        Ok(Self {
            issuer: issuer.to_owned(),
            keys_url,
            authorization_url: url("authorization_endpoint")?,
            token_url: url("token_endpoint")?,
            user_url: url("userinfo_endpoint")?,
            secret_in_body: takes("client_secret_post") && !takes("client_secret_basic"),
        })
    }
}

/// The keys of those who sign for a mount.
pub fn keys(config: &Config, errands: &Errands, anew: bool) -> Result<KeySet, Unread> {
    let library = |authorities| Library { errands, authorities, anew };
    match &config.signer {
        Signer::Given { pems } => {
            let keys: Result<Vec<Key>, &str> = pems.iter().map(|pem| Key::of_pem(pem)).collect();
            keys.map(KeySet::given).map_err(|sentence| Unread::Bad(sentence.to_owned()))
        }
        Signer::Published { url, ca_pem } => library(ca_pem).keys(url),
        Signer::Discovered { url, ca_pem } => {
            // Where the keys lie changes less often than they do.
            let provider = Provider::discover(&Library { anew: false, ..library(ca_pem) }, url)?;
            library(ca_pem).keys(&provider.keys_url)
        }
    }
}

/// Whether `text` is something that can be asked.
pub fn is_url(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_plain = text.len() <= URL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain && host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
}

/// That the signer's documents can be read now, and are what they must be.
pub fn check(config: &Config, errands: &Errands) -> Result<(), Unread> {
    let library = |authorities| Library { errands, authorities, anew: true };
    match &config.signer {
        Signer::Given { .. } => Ok(()),
        Signer::Published { url, ca_pem } => library(ca_pem).keys(url).map(drop),
        Signer::Discovered { url, ca_pem } => Provider::discover(&library(ca_pem), url).map(drop),
    }
}
