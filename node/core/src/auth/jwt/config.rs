//! The settings of a mount: whose tokens it believes, and as which client it sends people there.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::document::{Library, Unread, WELL_KNOWN};
use super::provider::{self, Provider, is_url};
use crate::auth::jose::{Algorithm, Key};
use crate::auth::method::{self, MethodRequest};
use crate::crypto::{Barrier, Kind};
use crate::engine::mount::Mount;
use crate::errand::Halt;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::{self, Stored};

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;
/// Keys that can be given at most.
const KEYS_MAX: usize = 32;
/// Longest text in PEM, in bytes.
pub const PEM_BYTES_MAX: usize = 64 * 1024;
/// Longest other text, in bytes.
const TEXT_BYTES_MAX: usize = 4_096;

/// Fields that are taken only if they ask for nothing.
const EMPTY_ONLY: [&str; 2] = ["provider_config", "override_allowed_server_names"];
const FIELDS: [&str; 16] = [
    "oidc_discovery_url",
    "oidc_discovery_ca_pem",
    "oidc_client_id",
    "oidc_client_secret",
    "oidc_response_mode",
    "oidc_response_types",
    "jwks_url",
    "jwks_ca_pem",
    "default_role",
    "jwt_validation_pubkeys",
    "jwt_supported_algs",
    "bound_issuer",
    "provider_config",
    "override_allowed_server_names",
    "namespace_in_state",
    "skip_jwks_validation",
];

#[derive(Clone, Serialize, Deserialize)]
pub struct Config {
    version: u32,
    pub signer: Signer,
    /// Empty: each that is supported.
    pub algorithms: Vec<Algorithm>,
    pub bound_issuer: String,
    pub default_role: String,
    /// People can be sent to the signer.
    pub client: Option<Client>,
    response_mode: String,
    response_types: Vec<String>,
    /// Kept to be shown: there are no namespaces.
    namespace_in_state: bool,
}

/// Whose tokens are believed, and where the keys come from.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signer {
    /// From an operator.
    Given { pems: Vec<String> },
    /// From a set that is published there.
    Published { url: String, ca_pem: String },
    /// From where a provider says.
    Discovered { url: String, ca_pem: String },
}

/// As whom this server is known to a provider.
#[derive(Clone, Serialize, Deserialize)]
pub struct Client {
    pub id: String,
    pub secret: String,
}

pub fn key(barrier: &Barrier, mount_uuid: &str) -> Vec<u8> {
    barrier.key(Kind::JwtConfig, [mount_uuid])
}

pub fn load(ctx: &Context<'_>, mount: &Mount) -> Result<Option<Stored<Config>>, Error> {
    let key = key(ctx.barrier, mount.uuid());
    match stored::load::<Config>(ctx.view, ctx.barrier, &key, ctx.now_ms)? {
        Some(config) if config.value.version != VERSION => Err(stored::unknown()),
        config => Ok(config),
    }
}

/// The settings, without the client's secret, and whether the signer's documents can be read.
pub fn read(ctx: &Context<'_>, mount: &Mount, request: &MethodRequest<'_>) -> Result<Plan, Halt> {
    let config = load(ctx, mount)?.ok_or(Error::NotFound)?.value;
    let mut shown = config.show();
    let checked = match &config.signer {
        Signer::Discovered { url, ca_pem } => {
            let library = Library { errands: request.errands, authorities: ca_pem, anew: false };
            Provider::discover(&library, url).map(drop)
        }
        _ => Ok(()),
    };
    let (status, warnings) = match checked {
        Ok(()) => ("valid", Vec::new()),
        Err(Unread::Halt(halt)) => return Err(halt),
        Err(Unread::Bad(sentence)) => {
            let before = "failed to construct JWK validator: keyset configuration error";
            ("invalid", vec![format!("{before}: {sentence}")])
        }
    };
    shown.insert("status".to_owned(), status.into());
    Ok(Reply { warnings, ..Reply::json(&shown) }.into())
}

/// Replaces the settings; the signer must answer now, unless the body says that it need not.
pub fn write(ctx: &mut Context<'_>, mount: &Mount, request: &MethodRequest<'_>) -> Result<Plan, Halt> {
    let found = load(ctx, mount)?;
    let mut warnings = Vec::new();
    let config = Config::of(request.body, found.as_ref().map(|found| &found.value), &mut warnings)?;
    let skip = fields::boolean(request.body, "skip_jwks_validation")?.unwrap_or(false);
    match provider::check(&config, request.errands) {
        Ok(()) => {}
        Err(Unread::Halt(halt)) => return Err(halt),
        Err(Unread::Bad(_)) => {
            let what =
                if matches!(config.signer, Signer::Published { .. }) { "jwks" } else { "oidc discovery" };
            let sentence = format!("error checking {what} URL");
            if !skip {
                return Err(Error::Invalid(sentence).into());
            }
            warnings.push(sentence);
        }
    }
    let mut txn = mount.guarded_txn(ctx);
    let key = key(ctx.barrier, mount.uuid());
    txn.require(key.clone(), found.map_or(0, |found| found.revision));
    stored::put(ctx, &mut txn, &key, mount.uuid(), &config, 0)?;
    if !warnings.is_empty() {
        warnings.extend(fields::unknown_warning(request.body.keys().map(String::as_str), &FIELDS));
    }
    let status = if warnings.is_empty() { 204 } else { 200 };
    Ok(Plan { txn, reply: Reply { warnings, ..Reply::empty(status) } })
}

impl Config {
    fn of(
        body: &Map<String, Value>,
        before: Option<&Self>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let client = match (text(body, "oidc_client_id")?, text(body, "oidc_client_secret")?) {
            (id, secret) if id.is_empty() && secret.is_empty() => None,
            (id, secret) => Some(Client { id, secret }),
        };
        let signer = Signer::of(body, client.as_ref(), warnings)?;
        for name in EMPTY_ONLY {
            let is_empty = match body.get(name) {
                None | Some(Value::Null) => true,
                Some(Value::Array(list)) => list.is_empty(),
                Some(Value::Object(object)) => object.is_empty(),
                Some(Value::String(text)) => text.is_empty(),
                Some(_) => false,
            };
            if !is_empty {
                return Err(Error::invalid(format!("{name} is not supported")));
            }
        }
        let response_types = fields::texts(body, "oidc_response_types")?.unwrap_or_default();
        if response_types.iter().any(|kind| kind != "code") {
            return Err(Error::invalid("invalid response_types: only 'code' is supported"));
        }
        let response_mode = text(body, "oidc_response_mode")?;
        if !matches!(response_mode.as_str(), "" | "query") {
            return Err(Error::invalid("invalid response_mode: only \"query\" is supported"));
        }
        let default_role = text(body, "default_role")?;
        let default_role = match default_role.as_str() {
            "" => default_role,
            name => method::subject(name)
                .map_err(|_| Error::invalid("no role can have the default_role's name"))?,
        };
        let namespace_in_state = fields::boolean(body, "namespace_in_state")?;
        Ok(Self {
            version: VERSION,
            signer,
            algorithms: algorithms(body)?,
            bound_issuer: text(body, "bound_issuer")?,
            default_role,
            client,
            response_mode,
            response_types,
            namespace_in_state: namespace_in_state
                .unwrap_or_else(|| before.is_none_or(|before| before.namespace_in_state)),
        })
    }

    fn show(&self) -> Map<String, Value> {
        let (mut discovered, mut published, mut given) = (("", ""), ("", ""), &[][..]);
        match &self.signer {
            Signer::Given { pems } => given = pems,
            Signer::Published { url, ca_pem } => published = (url, ca_pem),
            Signer::Discovered { url, ca_pem } => discovered = (url, ca_pem),
        }
        let shown = json!({
            "bound_issuer": self.bound_issuer,
            "default_role": self.default_role,
            "jwks_ca_pem": published.1,
            "jwks_url": published.0,
            "jwt_supported_algs": self.algorithms,
            "jwt_validation_pubkeys": given,
            "namespace_in_state": self.namespace_in_state,
            "oidc_client_id": self.client.as_ref().map_or("", |client| &client.id),
            "oidc_discovery_ca_pem": discovered.1,
            "oidc_discovery_url": discovered.0,
            "oidc_response_mode": self.response_mode,
            "oidc_response_types": self.response_types,
            "override_allowed_server_names": [],
            "provider_config": {},
        });
        match shown {
            Value::Object(shown) => shown,
            _ => Map::new(),
        }
    }
}

impl Signer {
    fn of(
        body: &Map<String, Value>,
        client: Option<&Client>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let (discovered, published) = (text(body, "oidc_discovery_url")?, text(body, "jwks_url")?);
        let pems = pems(body, "jwt_validation_pubkeys")?;
        let (discovered_ca, published_ca) = (pem(body, "oidc_discovery_ca_pem")?, pem(body, "jwks_ca_pem")?);
        let ways = [!discovered.is_empty(), !published.is_empty(), !pems.is_empty()];
        if ways.into_iter().filter(|is_given| *is_given).count() != 1 {
            return Err(Error::invalid(
                "exactly one of 'jwt_validation_pubkeys', 'jwks_url' or 'oidc_discovery_url' must be set",
            ));
        }
        if client.is_some_and(|client| client.id.is_empty() || client.secret.is_empty()) {
            return Err(Error::invalid(
                "both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC",
            ));
        }
        if !discovered.is_empty() {
            let url = match discovered.split_once(WELL_KNOWN) {
                Some((url, _)) => {
                    warnings.push(format!("modifying provided `OIDCDiscoveryURL` to {url:?}"));
                    url.to_owned()
                }
                None => discovered,
            };
            if !is_url(&url) || !holds_authorities(&discovered_ca) {
                return Err(Error::invalid("error checking oidc discovery URL"));
            }
            return Ok(Self::Discovered { url, ca_pem: discovered_ca });
        }
        if client.is_some() {
            return Err(Error::invalid("'oidc_discovery_url' must be set for OIDC"));
        }
        if !published.is_empty() {
            if !holds_authorities(&published_ca) {
                return Err(Error::invalid("error checking jwks_ca_pem"));
            }
            if !is_url(&published) {
                return Err(Error::invalid("error checking jwks URL"));
            }
            return Ok(Self::Published { url: published, ca_pem: published_ca });
        }
        if pems.len() > KEYS_MAX || pems.iter().any(|pem| pem.len() > PEM_BYTES_MAX) {
            return Err(Error::invalid(format!(
                "there can be {KEYS_MAX} keys of {PEM_BYTES_MAX} bytes in jwt_validation_pubkeys"
            )));
        }
        for pem in &pems {
            Key::of_pem(pem)
                .map_err(|sentence| Error::invalid(format!("error parsing public key: {sentence}")))?;
        }
        Ok(Self::Given { pems })
    }
}

fn algorithms(body: &Map<String, Value>) -> Result<Vec<Algorithm>, Error> {
    let named = fields::texts(body, "jwt_supported_algs")?.unwrap_or_default();
    let known: Option<Vec<Algorithm>> = named.iter().map(|name| Algorithm::named(name)).collect();
    known.ok_or_else(|| {
        let all: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
        Error::invalid(format!("invalid jwt_supported_algs: there are {}", all.join(", ")))
    })
}

fn text(body: &Map<String, Value>, name: &str) -> Result<String, Error> {
    bounded(body, name, TEXT_BYTES_MAX)
}

fn pem(body: &Map<String, Value>, name: &str) -> Result<String, Error> {
    bounded(body, name, PEM_BYTES_MAX)
}

/// Keys as PEM, without blanks around them.
pub fn pems(body: &Map<String, Value>, name: &str) -> Result<Vec<String>, Error> {
    let given = fields::texts(body, name)?.unwrap_or_default();
    Ok(given.iter().map(|pem| pem.trim().to_owned()).collect())
}

/// A text that is not longer than this; empty if there is none.
pub fn bounded(body: &Map<String, Value>, name: &str, bytes_max: usize) -> Result<String, Error> {
    let text = fields::text(body, name)?.unwrap_or_default();
    if text.len() > bytes_max {
        return Err(Error::invalid(format!("{name} has at most {bytes_max} bytes")));
    }
    Ok(text)
}

/// Whether a text holds certificates and nothing that is meant to be one and is not. None at all: those of the system.
pub fn holds_authorities(pem: &str) -> bool {
    let mut certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).peekable();
    pem.is_empty() || (certificates.peek().is_some() && certificates.all(|certificate| certificate.is_ok()))
}
