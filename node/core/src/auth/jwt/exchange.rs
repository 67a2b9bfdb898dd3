//! A code for a token, at the provider; the token for what it says, and what else the provider says of its holder.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::config::Config;
use super::document::{Unread, body};
use super::login::now_s;
use super::oidc::{Flow, Sent, failed};
use super::provider::Provider;
use super::role::Role;
use crate::auth::jose::{Expected, Unverified, audiences, json};
use crate::auth::method::MethodRequest;
use crate::errand::{Errand, Halt, Task};
use crate::error::Error;
use crate::plan::Context;

/// What is said of a token that is not taken; user interfaces look for it.
const UNVERIFIED: &str = "Token verification failed. ";
/// By how much clocks may differ where somebody must have logged in lately, in seconds.
const AUTH_TIME_SKEW_S: u64 = 60;

/// What the provider says of whoever came back with `code`.
///
/// # Errors
/// [`Halt::Errand`]: it is to be asked. [`Error::Invalid`]: it does not say so, or not of him.
pub fn claims(
    ctx: &Context<'_>,
    flow: &Flow<'_>,
    config: &Config,
    role: &Role,
    request: &MethodRequest<'_>,
    sent: &Sent,
    code: &str,
) -> Result<Value, Halt> {
    let refuse = |unread: Unread| match unread {
        Unread::Halt(halt) => halt,
        Unread::Bad(sentence) => failed(&format!("Error exchanging oidc code: {sentence:?}.")).into(),
    };
    let provider = Provider::discover(&flow.library(request, false), flow.issuer).map_err(refuse)?;
    let url = provider.token_url.clone();
    let url = url.ok_or_else(|| refuse(Unread::Bad("the provider has no token_endpoint".to_owned())))?;
    let outcome = request.errands.outcome(exchange(flow, &provider, url, sent, code))?;
    let answer = body(outcome)
        .and_then(|body| json::object(body).ok_or_else(|| Unread::Bad("the answer is malformed".to_owned())));
    let answer = answer.map_err(refuse)?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    let token = text("id_token").ok_or_else(|| unverified("No id_token found in response."))?;
    let mut claims = verify(ctx, flow, config, role, request, &provider, token)?;
    check(ctx, flow, role, sent, &claims)?;
    if let (Some(url), Some(access)) = (provider.user_url, text("access_token")) {
        complete(&mut claims, request.errands.outcome(about_user(flow, url, access))?);
    }
    claims.remove("nonce");
    Ok(Value::Object(claims))
}

fn unverified(sentence: &str) -> Error {
    Error::invalid(format!("{UNVERIFIED}{sentence}"))
}

fn exchange(flow: &Flow<'_>, provider: &Provider, url: String, sent: &Sent, code: &str) -> Errand {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", code)
        .append_pair("redirect_uri", &sent.redirect_uri)
        .append_pair("code_verifier", &sent.verifier);
    let mut headers = vec![
        header("content-type", "application/x-www-form-urlencoded"),
        header("accept", "application/json"),
    ];
    let client = flow.client;
    if provider.secret_in_body {
        form.append_pair("client_id", &client.id).append_pair("client_secret", &client.secret);
    } else {
        let escaped = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = Zeroizing::new(format!("{}:{}", escaped(&client.id), escaped(&client.secret)));
        headers.push(header("authorization", &format!("Basic {}", STANDARD.encode(pair.as_bytes()))));
    }
    let form = Zeroizing::new(form.finish().into_bytes());
    Errand { url, authorities: flow.authorities.to_owned(), headers, task: Task::Post(form) }
}

fn about_user(flow: &Flow<'_>, url: String, access: &str) -> Errand {
    let headers =
        vec![header("authorization", &format!("Bearer {access}")), header("accept", "application/json")];
    Errand { url, authorities: flow.authorities.to_owned(), headers, task: Task::Get }
}

fn header(name: &str, value: &str) -> (String, Zeroizing<String>) {
    (name.to_owned(), Zeroizing::new(value.to_owned()))
}

/// The claims of the provider's token, whose keys are asked for once more if it is by one that is not known.
fn verify(
    ctx: &Context<'_>,
    flow: &Flow<'_>,
    config: &Config,
    role: &Role,
    request: &MethodRequest<'_>,
    provider: &Provider,
    token: &str,
) -> Result<Map<String, Value>, Halt> {
    let keys = |anew| {
        let keys = flow.library(request, anew).keys(&provider.keys_url);
        keys.map_err(|unread| unread.refuse(&format!("{UNVERIFIED}fetching keys: ")))
    };
    let verified = match keys(false)?.verify(token) {
        Err(Unverified::UnknownKey) => keys(true)?.verify(token),
        verified => verified,
    };
    let (algorithm, claims) = verified.map_err(|error| match error {
        Unverified::Malformed(sentence) => unverified(sentence),
        Unverified::UnknownKey | Unverified::Signature => unverified("failed to verify id token signature"),
    })?;
    let expected = Expected {
        algorithms: &config.algorithms,
        issuer: &provider.issuer,
        subject: "",
        audiences: std::slice::from_ref(&flow.client.id),
        leeways: role.leeways,
        needs_time: true,
        now_s: now_s(ctx),
    };
    expected.check(algorithm, &claims).map_err(unverified)?;
    Ok(claims)
}

/// That the token is of this flow, for us, and about somebody who may log in by the role (OpenID Connect Core 1.0, 3.1.3.7).
fn check(
    ctx: &Context<'_>,
    flow: &Flow<'_>,
    role: &Role,
    sent: &Sent,
    claims: &Map<String, Value>,
) -> Result<(), Error> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("nonce") != Some(sent.nonce.as_str()) {
        return Err(failed("invalid ID token nonce."));
    }
    let named = audiences(claims).unwrap_or_default();
    if (named.len() > 1 || claims.contains_key("azp")) && text("azp") != Some(flow.client.id.as_str()) {
        return Err(unverified("the token was made for another client (azp)"));
    }
    let bound = role.bound_audiences.as_deref().unwrap_or_default();
    if !bound.is_empty() && !bound.iter().any(|one| named.contains(&one.as_str())) {
        return Err(unverified("invalid id_token audiences"));
    }
    if !role.bound_subject.is_empty() && text("sub") != Some(role.bound_subject.as_str()) {
        return Err(failed("sub claim does not match bound subject"));
    }
    if role.max_age_s > 0 {
        let at_s = claims.get("auth_time").and_then(Value::as_u64);
        let now_s = u64::try_from(now_s(ctx)).unwrap_or_default();
        if at_s.is_none_or(|at_s| now_s.saturating_sub(at_s) > role.max_age_s + AUTH_TIME_SKEW_S) {
            return Err(unverified("the user logged in too long ago (auth_time)"));
        }
    }
    Ok(())
}

/// Adds what the provider says of the same person and the token does not. That it says nothing is no fault.
fn complete(claims: &mut Map<String, Value>, outcome: &crate::errand::Outcome) {
    let said = body(outcome).ok().and_then(json::object);
    let Some(said) = said.filter(|said| said.get("sub").is_some() && said.get("sub") == claims.get("sub"))
    else {
        return;
    };
    for (name, value) in said {
        claims.entry(name).or_insert(value);
    }
}
