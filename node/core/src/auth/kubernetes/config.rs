//! The settings of a mount: which Kubernetes cluster is asked, and how.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::auth::jose::Key;
use crate::auth::jwt::{bounded, holds_authorities, is_url, pems};
use crate::crypto::{Barrier, Kind};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::{self, Stored};

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;
/// Keys that can be given at most.
const KEYS_MAX: usize = 32;
/// Longest text in PEM and longest token, in bytes.
const PEM_BYTES_MAX: usize = 64 * 1024;
/// Longest other text, in bytes.
const TEXT_BYTES_MAX: usize = 2_048;

#[derive(Clone, Serialize, Deserialize)]
pub struct Config {
    version: u32,
    /// A URL.
    pub host: String,
    pub ca_cert: String,
    /// With which the cluster is asked; empty: with the token that is to be reviewed.
    pub reviewer_token: String,
    /// Empty: signatures are the cluster's matter alone.
    pub pem_keys: Vec<String>,
    pub issuer: String,
    pub checks_issuer: bool,
    disable_local_ca_jwt: bool,
}

pub fn key(barrier: &Barrier, mount_uuid: &str) -> Vec<u8> {
    barrier.key(Kind::KubernetesConfig, [mount_uuid])
}

pub fn load(ctx: &Context<'_>, mount: &Mount) -> Result<Option<Stored<Config>>, Error> {
    let key = key(ctx.barrier, mount.uuid());
    match stored::load::<Config>(ctx.view, ctx.barrier, &key, ctx.now_ms)? {
        Some(config) if config.value.version != VERSION => Err(stored::unknown()),
        config => Ok(config),
    }
}

/// The settings, without the token.
pub fn read(ctx: &Context<'_>, mount: &Mount) -> Result<Plan, Error> {
    let config = load(ctx, mount)?.ok_or(Error::NotFound)?.value;
    let shown = json!({
        "disable_iss_validation": !config.checks_issuer,
        "disable_local_ca_jwt": config.disable_local_ca_jwt,
        "issuer": config.issuer,
        "kubernetes_ca_cert": config.ca_cert,
        "kubernetes_host": config.host,
        "pem_keys": config.pem_keys,
        "token_reviewer_jwt_set": !config.reviewer_token.is_empty(),
    });
    Ok(Reply::json(&shown).into())
}

/// Replaces the settings.
pub fn write(ctx: &mut Context<'_>, mount: &Mount, body: &Map<String, Value>) -> Result<Plan, Error> {
    let revision = load(ctx, mount)?.map_or(0, |found| found.revision);
    let config = Config::of(body)?;
    let mut txn = mount.guarded_txn(ctx);
    let key = key(ctx.barrier, mount.uuid());
    txn.require(key.clone(), revision);
    stored::put(ctx, &mut txn, &key, mount.uuid(), &config, 0)?;
    Ok(Plan { txn, reply: Reply::no_content() })
}

impl Config {
    fn of(body: &Map<String, Value>) -> Result<Self, Error> {
        let host = bounded(body, "kubernetes_host", TEXT_BYTES_MAX)?;
        if host.is_empty() {
            return Err(Error::invalid("no host provided"));
        }
        let ca_cert = bounded(body, "kubernetes_ca_cert", PEM_BYTES_MAX)?;
        let disable_local_ca_jwt = fields::boolean(body, "disable_local_ca_jwt")?.unwrap_or(false);
        if disable_local_ca_jwt && ca_cert.is_empty() {
            return Err(Error::invalid("kubernetes_ca_cert must be given when disable_local_ca_jwt is true"));
        }
        if ca_cert.is_empty() {
            return Err(Error::invalid(
                "kubernetes_ca_cert must be given: no files of the pod that a node runs in are read",
            ));
        }
        let pem_keys = pems(body, "pem_keys")?;
        if pem_keys.len() > KEYS_MAX || pem_keys.iter().any(|pem| pem.len() > PEM_BYTES_MAX) {
            return Err(Error::invalid(format!("there can be {KEYS_MAX} pem_keys of {PEM_BYTES_MAX} bytes")));
        }
        for pem in &pem_keys {
            Key::of_pem(pem).map_err(Error::invalid)?;
        }
        if !is_url(&host) {
            return Err(Error::invalid("kubernetes_host must be a URL"));
        }
        if !holds_authorities(&ca_cert) {
            return Err(Error::invalid("kubernetes_ca_cert holds no certificates"));
        }
        Ok(Self {
            version: VERSION,
            host,
            ca_cert,
            reviewer_token: bounded(body, "token_reviewer_jwt", PEM_BYTES_MAX)?,
            pem_keys,
            issuer: bounded(body, "issuer", TEXT_BYTES_MAX)?,
            checks_issuer: !fields::boolean(body, "disable_iss_validation")?.unwrap_or(true),
            disable_local_ca_jwt,
        })
    }
}
