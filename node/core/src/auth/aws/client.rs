//! `config/client`: which server is asked, and what a signed request must have.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::signed::Signed;
use crate::crypto::{Barrier, Kind};
use crate::engine::mount::Mount;
use crate::errand::{Errand, Task};
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::{self, Stored};

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;
/// A header by which a caller says for which server his request is meant; it must be signed.
pub const SERVER_ID: &str = "X-Vault-AWS-IAM-Server-ID";
/// The server that answers for all regions where AWS has no other partition.
const GLOBAL_HOST: &str = "sts.amazonaws.com";
/// Longest text of a setting, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;
/// Further headers at most.
const HEADERS_MAX: usize = 32;
/// "As often as the library likes": there is only this one way here.
const RETRIES_DEFAULT: i64 = -1;
/// What Vault's own requests to AWS need. Here are none.
const NOT_USED: [&str; 11] = [
    "access_key",
    "secret_key",
    "endpoint",
    "iam_endpoint",
    "role_arn",
    "identity_token_audience",
    "identity_token_ttl",
    "rotation_schedule",
    "rotation_window",
    "rotation_period",
    "disable_automated_rotation",
];

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientConfig {
    pub(super) version: u32,
    /// Empty: the one that all regions share.
    pub sts_endpoint: String,
    /// For which requests must be signed; empty: for any.
    pub sts_region: String,
    /// Each request is checked where it was signed for.
    pub use_sts_region_from_client: bool,
    pub iam_server_id_header_value: String,
    /// As Go spells headers: `X-Amz-Own`.
    pub allowed_sts_header_values: Vec<String>,
}

pub fn key(barrier: &Barrier, mount_uuid: &str) -> Vec<u8> {
    barrier.key(Kind::AwsClient, [mount_uuid])
}

pub fn load(ctx: &Context<'_>, mount: &Mount) -> Result<Option<Stored<ClientConfig>>, Error> {
    match stored::load::<ClientConfig>(ctx.view, ctx.barrier, &key(ctx.barrier, mount.uuid()), ctx.now_ms)? {
        Some(found) if found.value.version != VERSION => Err(stored::unknown()),
        found => Ok(found),
    }
}

pub fn read(ctx: &Context<'_>, mount: &Mount) -> Result<Plan, Error> {
    let config = load(ctx, mount)?.ok_or(Error::NotFound)?.value;
    let headers = Some(&config.allowed_sts_header_values).filter(|headers| !headers.is_empty());
    Ok(Reply::json(&json!({
        "access_key": "",
        "allowed_sts_header_values": headers,
        "endpoint": "",
        "iam_endpoint": "",
        "iam_server_id_header_value": config.iam_server_id_header_value,
        "max_retries": RETRIES_DEFAULT,
        "role_arn": "",
        "sts_endpoint": config.sts_endpoint,
        "sts_region": config.sts_region,
        "use_sts_region_from_client": config.use_sts_region_from_client,
    }))
    .into())
}

pub fn write(ctx: &mut Context<'_>, mount: &Mount, body: &Map<String, Value>) -> Result<Plan, Error> {
    let found = load(ctx, mount)?;
    let revision = found.as_ref().map_or(0, |found| found.revision);
    let mut config = found.map(|found| found.value).unwrap_or_default();
    config.version = VERSION;
    config.apply(body)?;
    let mut txn = mount.guarded_txn(ctx);
    let key = key(ctx.barrier, mount.uuid());
    txn.require(key.clone(), revision);
    stored::put(ctx, &mut txn, &key, mount.uuid(), &config, 0)?;
    Ok(Plan { txn, reply: Reply::no_content() })
}

/// Forgets the settings. That there are none is no fault.
pub fn delete(ctx: &mut Context<'_>, mount: &Mount) -> Result<Plan, Error> {
    let Some(found) = load(ctx, mount)? else { return Ok(Reply::no_content().into()) };
    let mut txn = mount.guarded_txn(ctx);
    let key = key(ctx.barrier, mount.uuid());
    txn.require(key.clone(), found.revision);
    txn.delete(key);
    Ok(Plan { txn, reply: Reply::no_content() })
}

impl ClientConfig {
    /// Takes over what `body` gives.
    fn apply(&mut self, body: &Map<String, Value>) -> Result<(), Error> {
        refuse_unless_default(body, &NOT_USED, "this server asks AWS nothing in its own name")?;
        if fields::integer(body, "max_retries")?.is_some_and(|retries| retries != RETRIES_DEFAULT) {
            return Err(Error::invalid("max_retries is not supported: a caller may try again"));
        }
        for (name, place) in [
            ("sts_endpoint", &mut self.sts_endpoint),
            ("sts_region", &mut self.sts_region),
            ("iam_server_id_header_value", &mut self.iam_server_id_header_value),
        ] {
            if let Some(text) = fields::text(body, name)? {
                if text.len() > TEXT_BYTES_MAX || text.trim() != text || text.chars().any(char::is_control) {
                    return Err(Error::invalid(format!(
                        "{name} has at most {TEXT_BYTES_MAX} bytes, no control characters, and no blanks at its ends"
                    )));
                }
                *place = text;
            }
        }
        if let Some(from_client) = fields::boolean(body, "use_sts_region_from_client")? {
            self.use_sts_region_from_client = from_client;
        }
        if let Some(headers) = fields::texts(body, "allowed_sts_header_values")? {
            if headers.len() > HEADERS_MAX || headers.iter().any(|name| name.len() > TEXT_BYTES_MAX) {
                return Err(Error::invalid(format!(
                    "allowed_sts_header_values has at most {HEADERS_MAX} headers"
                )));
            }
            self.allowed_sts_header_values = headers.iter().map(|name| spelled(name.trim())).collect();
        }
        if !self.sts_endpoint.is_empty() {
            endpoint_of(&self.sts_endpoint)?;
        }
        if !self.sts_region.is_empty()
            && (self.sts_endpoint.is_empty() || host_of_region(&self.sts_region).is_none())
        {
            return Err(Error::invalid(
                "sts_region is the region in which sts_endpoint lies, and needs that",
            ));
        }
        Ok(())
    }

    /// Whether a header that begins as AWS's own do may be passed on. `name` is in lower case.
    pub fn allows_header(&self, name: &str) -> bool {
        self.allowed_sts_header_values.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }

    /// What is asked of which server: the one that was configured, wherever the caller wanted to ask.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the request was signed for another region, or for no STS.
    pub fn errand(&self, signed: Signed) -> Result<Errand, Error> {
        let region_host = host_of_region(&signed.region)
            .ok_or_else(|| Error::invalid("invalid Authorization header: it names no region"))?;
        let endpoint = if self.use_sts_region_from_client {
            format!("https://{region_host}/")
        } else {
            if !self.sts_region.is_empty() && signed.region != self.sts_region {
                return Err(Error::invalid(
                    "the request must be signed for the region that sts_region names",
                ));
            }
            match self.sts_endpoint.as_str() {
                "" => format!("https://{GLOBAL_HOST}/"),
                endpoint => endpoint.to_owned(),
            }
        };
        let url = endpoint_of(&endpoint)?;
        // By its host a server may choose who answers: it names STS, and nobody else.
        if signed.host != authority(&url) && !is_sts(&signed.host) {
            return Err(Error::invalid("iam_request_url must name AWS's STS, or the server of sts_endpoint"));
        }
        let mut headers = signed.headers;
        headers.push(("host".to_owned(), signed.host));
        Ok(Errand {
            url: url.into(),
            authorities: String::new(),
            headers: headers.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect(),
            task: Task::Post(Zeroizing::new(signed.body.into_bytes())),
        })
    }
}

/// Where STS is: nobody who listens on the way can answer in its place.
fn endpoint_of(text: &str) -> Result<Url, Error> {
    let invalid = || {
        Error::invalid(
            "sts_endpoint is https://HOST[:PORT] without a path; http only for an address of this machine",
        )
    };
    let url = Url::parse(text).map_err(|_| invalid())?;
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => Ipv4Addr::is_loopback(&address),
        Some(Host::Ipv6(address)) => Ipv6Addr::is_loopback(&address),
        None => false,
    };
    let is_secret = url.scheme() == "https" || (url.scheme() == "http" && is_here);
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    if is_secret && is_bare && url.host_str().is_some_and(|host| !host.is_empty()) {
        Ok(url)
    } else {
        Err(invalid())
    }
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// STS's host in a region such as `eu-central-1`; `None`: it is none of those partitions that anybody can reach.
fn host_of_region(region: &str) -> Option<String> {
    let words: Vec<&str> = region.split('-').collect();
    let (number, words) = words.split_last()?;
    let is_number = (1..=2).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_word =
        |word: &&str| (2..=12).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase());
    if !is_number || !(2..=3).contains(&words.len()) || !words.iter().all(is_word) {
        return None;
    }
    let end = if words[0] == "cn" { ".cn" } else { "" };
    Some(format!("sts.{region}.amazonaws.com{end}"))
}

/// Whether AWS's STS has this name.
fn is_sts(host: &str) -> bool {
    let rest = host.strip_prefix("sts.").or_else(|| host.strip_prefix("sts-fips."));
    let regional = rest.and_then(|rest| rest.split('.').next()).and_then(host_of_region);
    host == GLOBAL_HOST || regional.is_some_and(|regional| regional.strip_prefix("sts.") == rest)
}

/// As Go spells a header's name: each word with a capital.
fn spelled(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        format!("{}{}", first.to_ascii_uppercase(), rest.to_ascii_lowercase())
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

/// Parameters that are known and that nothing here does anything by: they may say only what they say if they are left out.
///
/// # Errors
/// [`Error::Invalid`], naming the field.
pub fn refuse_unless_default(body: &Map<String, Value>, names: &[&str], why: &str) -> Result<(), Error> {
    let is_default = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    match names.iter().find(|name| body.get(**name).is_some_and(|value| !is_default(value))) {
        Some(name) => Err(Error::invalid(format!("{name} is not supported: {why}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
