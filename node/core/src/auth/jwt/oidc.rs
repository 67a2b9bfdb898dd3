//! The authorization-code flow of OpenID Connect: where people are sent, and what becomes of them when they are back.
//!
//! ```text
//! oidc/auth_url  -> a state in the replicated records, and the provider's URL with it
//! oidc/callback  -> that state, once; the code for a token at the provider (PKCE); the token's holder
//! ```
//!
//! They may come back to another node than the one that sent them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use url::Url;

use super::config::{self, Client, Config, Signer, bounded};
use super::document::{Library, Unread};
use super::login::{expect_from, role_of};
use super::provider::{Provider, URL_BYTES_MAX};
use super::role::{self, Role};
use super::{exchange, identity};
use crate::auth::method::{Method, MethodRequest, Step};
use crate::crypto::{Barrier, Kind};
use crate::engine::mount::Mount;
use crate::errand::Halt;
use crate::error::Error;
use crate::plan::{Context, Plan, Query, Reply};
use crate::stored::{self, Stored};

/// Version of the record's form.
const VERSION: u32 = 1;
/// How long somebody who was sent may take to come back, in milliseconds.
const AWAY_MS: u64 = 10 * 60 * 1_000;
/// Random bytes of a state, a nonce or a verifier.
const RANDOM_BYTES: usize = 32;
/// Longest nonce of a client, in bytes.
const CLIENT_NONCE_BYTES_MAX: usize = 256;
/// Longest code of a provider, in bytes.
const CODE_BYTES_MAX: usize = 4_096;
/// What is said before the reason why a login failed.
const FAILED: &str = "login failed: ";

/// What a provider may say of a refusal (RFC 6749, 4.1.2.1).
const REFUSALS: [&str; 7] = [
    "invalid_request",
    "unauthorized_client",
    "access_denied",
    "unsupported_response_type",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
];

/// Somebody who was sent to the provider.
#[derive(Serialize, Deserialize)]
pub struct Sent {
    version: u32,
    role: String,
    pub redirect_uri: String,
    pub nonce: String,
    pub verifier: String,
    client_nonce: String,
}

/// Whom a mount sends people to, and as whom.
pub struct Flow<'a> {
    pub client: &'a Client,
    pub issuer: &'a str,
    pub authorities: &'a str,
}

impl<'a> Flow<'a> {
    fn of(config: &'a Config) -> Result<Self, Error> {
        match (&config.client, &config.signer) {
            (Some(client), Signer::Discovered { url, ca_pem }) => {
                Ok(Self { client, issuer: url, authorities: ca_pem })
            }
            _ => Err(Error::invalid("OIDC login is not configured for this mount")),
        }
    }

    pub fn library<'l>(&'l self, request: &MethodRequest<'l>, anew: bool) -> Library<'l> {
        Library { errands: request.errands, authorities: self.authorities, anew }
    }
}

fn key(barrier: &Barrier, mount_uuid: &str, state: &str) -> Vec<u8> {
    barrier.key(Kind::OidcState, [mount_uuid, state])
}

/// Where to send somebody. A stranger is told nothing of why there is no such place.
pub fn auth_url(ctx: &mut Context<'_>, mount: &Mount, request: &MethodRequest<'_>) -> Result<Plan, Halt> {
    let config = config::load(ctx, mount)?.ok_or_else(|| Error::invalid("could not load configuration"))?;
    let flow = Flow::of(&config.value)?;
    let (role_name, role) = role_of(ctx, mount, &config.value, request)?;
    let client_nonce = bounded(request.body, "client_nonce", CLIENT_NONCE_BYTES_MAX)?;
    let redirect_uri = bounded(request.body, "redirect_uri", URL_BYTES_MAX)?;
    if redirect_uri.is_empty() {
        return Err(Error::invalid("missing redirect_uri").into());
    }
    let nowhere = || -> Plan { Reply::json(&json!({ "auth_url": "" })).into() };
    if !is_allowed(&redirect_uri, role.value.redirect_uris.as_deref().unwrap_or_default()) {
        return Ok(nowhere());
    }
    let provider = match Provider::discover(&flow.library(request, false), flow.issuer) {
        Ok(provider) => provider,
        Err(Unread::Halt(halt)) => return Err(halt),
        Err(Unread::Bad(_)) => return Ok(nowhere()),
    };
    let Some(mut url) = provider.authorization_url.and_then(|url| Url::parse(&url).ok()) else {
        return Ok(nowhere());
    };
    let state = random(ctx);
    let sent = Sent {
        version: VERSION,
        role: role_name,
        redirect_uri,
        nonce: random(ctx),
        verifier: random(ctx),
        client_nonce,
    };
    complete(&mut url, &flow, &role.value, &state, &sent);
    let mut txn = mount.guarded_txn(ctx);
    let key = key(ctx.barrier, mount.uuid(), &state);
    stored::put(ctx, &mut txn, &key, mount.uuid(), &sent, ctx.now_ms.saturating_add(AWAY_MS))?;
    Ok(Plan { txn, reply: Reply::json(&json!({ "auth_url": url.as_str() })) })
}

fn complete(url: &mut Url, flow: &Flow<'_>, role: &Role, state: &str, sent: &Sent) {
    let scopes = role.scopes.iter().flatten().map(String::as_str).filter(|scope| *scope != "openid");
    let scopes: Vec<&str> = std::iter::once("openid").chain(scopes).collect();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(sent.verifier.as_bytes()));
    let mut query = url.query_pairs_mut();
    query
        .append_pair("client_id", &flow.client.id)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    if role.max_age_s > 0 {
        query.append_pair("max_age", &role.max_age_s.to_string());
    }
    query
        .append_pair("nonce", &sent.nonce)
        .append_pair("redirect_uri", &sent.redirect_uri)
        .append_pair("response_type", "code")
        .append_pair("scope", &scopes.join(" "))
        .append_pair("state", state);
}

fn random(ctx: &mut Context<'_>) -> String {
    let mut bytes = [0; RANDOM_BYTES];
    ctx.rng.fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Whether people may be sent back to `uri`. On their own machine it may be any port (RFC 8252, 7.3).
fn is_allowed(uri: &str, allowed: &[String]) -> bool {
    let without_port = |text: &str| {
        let mut url = Url::parse(text).ok()?;
        url.set_port(None).ok()?;
        Some(url)
    };
    let Ok(url) = Url::parse(uri) else { return false };
    if !matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
        return allowed.iter().any(|one| one == uri);
    }
    without_port(uri).is_some_and(|url| allowed.iter().any(|one| without_port(one).as_ref() == Some(&url)))
}

/// Somebody is back. Whatever comes of it, his state is used up, unless another server is to be asked first.
///
/// # Errors
/// [`Error::Invalid`]: nobody was sent with such a state, or too long ago.
pub fn callback(
    ctx: &mut Context<'_>,
    mount: &Mount,
    method: Method,
    request: &MethodRequest<'_>,
) -> Result<Step, Error> {
    let config = config::load(ctx, mount)?.ok_or_else(|| failed("Could not load configuration"))?;
    let sent = sent(ctx, mount, request.query)?;
    let (key, sent) = sent.ok_or_else(|| failed("Expired or missing OAuth state."))?;
    let used = |txn: &mut Txn| {
        txn.require(key.clone(), sent.revision);
        txn.delete(key.clone());
    };
    match finish(ctx, mount, method, request, &config, &sent.value) {
        Ok(mut plan) => {
            used(&mut plan.txn);
            Ok(Step::Done(plan))
        }
        Err(Halt::Errand(errand)) => Ok(Step::Work(errand.into())),
        Err(Halt::Refused(error @ (Error::Invalid(_) | Error::Denied))) => {
            let mut txn = Txn::default();
            used(&mut txn);
            Ok(Step::Refused(txn, error))
        }
        Err(Halt::Refused(error)) => Err(error),
    }
}

/// Where it is kept that somebody was sent, and what.
type Kept = (Vec<u8>, Stored<Sent>);

/// Who is back with this state.
fn sent(ctx: &Context<'_>, mount: &Mount, query: &Query) -> Result<Option<Kept>, Error> {
    let state = query.first("state").filter(|state| !state.is_empty() && state.len() <= URL_BYTES_MAX);
    let Some(state) = state else { return Ok(None) };
    let key = key(ctx.barrier, mount.uuid(), state);
    let sent = stored::load::<Sent>(ctx.view, ctx.barrier, &key, ctx.now_ms)?;
    Ok(sent.filter(|sent| sent.value.version == VERSION).map(|sent| (key, sent)))
}

/// The role for which somebody was sent who is back.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn role_in_state(ctx: &Context<'_>, mount: &Mount, query: &Query) -> Result<Option<String>, Error> {
    Ok(sent(ctx, mount, query)?.map(|(_, sent)| sent.value.role))
}

fn finish(
    ctx: &mut Context<'_>,
    mount: &Mount,
    method: Method,
    request: &MethodRequest<'_>,
    config: &Stored<Config>,
    sent: &Sent,
) -> Result<Plan, Halt> {
    let flow = Flow::of(&config.value)?;
    let role = role::load(ctx, mount, &sent.role)?.ok_or_else(|| failed("Role could not be found"))?;
    let given = |name: &str| request.query.first(name).unwrap_or_default();
    let refusal = given("error").trim().to_ascii_lowercase();
    if !refusal.is_empty() {
        let known = REFUSALS.iter().find(|known| **known == refusal);
        let unknown = "An unknown error occurred during OIDC authentication. Check server logs for details";
        return Err(failed(known.copied().unwrap_or(unknown)).into());
    }
    let is_same = sent.client_nonce.as_bytes().ct_eq(given("client_nonce").as_bytes());
    if !sent.client_nonce.is_empty() && !bool::from(is_same) {
        return Err(Error::invalid("invalid client_nonce").into());
    }
    expect_from(&role.value, request)?;
    let code = given("code");
    if code.is_empty() || code.len() > CODE_BYTES_MAX {
        return Err(failed("No code or id_token received.").into());
    }
    let claims = exchange::claims(ctx, &flow, &config.value, &role.value, request, sent, code)?;
    let known = identity::known(&role.value, &sent.role, &claims).map_err(|sentence| failed(&sentence))?;
    let role_named = (sent.role.as_str(), &role.value);
    let mut plan = identity::plan(ctx, mount, method, request, role_named, known, Vec::new())?;
    plan.txn.require(config::key(ctx.barrier, mount.uuid()), config.revision);
    plan.txn.require(role::key(ctx.barrier, mount.uuid(), &sent.role), role.revision);
    Ok(plan)
}

pub fn failed(sentence: &str) -> Error {
    Error::invalid(format!("{FAILED}{sentence}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_sent_back_to_where_a_role_allows_and_nowhere_else() {
        let allowed = ["https://ui.example/cb".to_owned(), "http://localhost:8250/oidc/callback".to_owned()];
        for (uri, is_taken) in [
            ("https://ui.example/cb", true),
            ("https://ui.example/cb/", false),
            ("https://ui.example/cb?x=1", false),
            ("https://ui.example:8443/cb", false),
            ("http://ui.example/cb", false),
            ("https://ui.example.evil.example/cb", false),
            ("https://ui.example@evil.example/cb", false),
            ("http://localhost:8250/oidc/callback", true),
            ("http://localhost:9999/oidc/callback", true),
            ("http://localhost/oidc/callback", true),
            ("http://127.0.0.1:8250/oidc/callback", false),
            ("https://localhost:8250/oidc/callback", false),
            ("http://localhost:8250/oidc/callback/x", false),
            ("http://localhost:8250@evil.example/oidc/callback", false),
            ("http://localhost.evil.example/oidc/callback", false),
            ("", false),
            ("cb", false),
        ] {
            assert_eq!(is_allowed(uri, &allowed), is_taken, "{uri}");
        }
    }
}
