//! Making tokens.

use std::collections::{BTreeMap, BTreeSet};

use conclave_proto::log::Txn;
use conclave_proto::secret::Secret;
use ipnet::IpNet;
use serde_json::{Map, Value};

use super::entry::TokenEntry;
use super::identify::{Identified, TOKEN_BYTES_MAX};
use super::store::{self, ANCESTORS_MAX};
use super::text;
use crate::engine::mount::LEASE_DEFAULT_S;
use crate::error::Error;
use crate::fields;
use crate::plan::Context;
use crate::policy::name;

/// Longest display name, in bytes.
const DISPLAY_NAME_BYTES_MAX: usize = 256;
/// Metadata of a token at most: entries, and bytes of all together.
const META_ENTRIES_MAX: usize = 64;
const META_BYTES_MAX: usize = 16 * 1024;
/// Longest shortest own text of a token that a caller chooses, in bytes.
const OWN_ID_BYTES_MIN: usize = 8;
/// Policies of a token at most.
const POLICIES_MAX: usize = 256;

const MS_PER_S: u64 = 1_000;
/// What a lifetime may be at most: a century, so that no sum of times overflows.
const DURATION_S_MAX: u64 = 100 * 366 * 24 * 3_600;

/// What a caller asks for, as Vault's `auth/token/create` takes it.
#[derive(Default)]
pub struct Creation {
    id: Option<Secret<String>>,
    policies: Vec<String>,
    meta: BTreeMap<String, String>,
    no_parent: bool,
    no_default_policy: bool,
    renewable: bool,
    ttl_ms: u64,
    explicit_max_ttl_ms: u64,
    period_ms: u64,
    display_name: String,
    uses: u64,
    bound_cidrs: Vec<IpNet>,
}

/// A token that was made, as the caller is told of it.
pub struct Created {
    pub token: Secret<String>,
    pub entry: TokenEntry,
    /// 0: it never ends.
    pub lasts_ms: u64,
    pub warnings: Vec<String>,
    pub txn: Txn,
}

/// Fields of `auth/token/create`.
pub(super) const FIELDS: [&str; 16] = [
    "id",
    "role_name",
    "policies",
    "meta",
    "no_parent",
    "no_default_policy",
    "renewable",
    "lease",
    "ttl",
    "type",
    "explicit_max_ttl",
    "display_name",
    "num_uses",
    "period",
    "entity_alias",
    "format",
];

impl Creation {
    /// # Errors
    /// [`Error::Invalid`], naming the field.
    pub fn of(body: &Map<String, Value>) -> Result<Self, Error> {
        match fields::text(body, "type")?.as_deref() {
            None | Some("" | "service" | "default") => {}
            Some("batch") => return Err(Error::invalid("batch tokens are not supported")),
            Some(_) => return Err(Error::invalid("the type of a token is \"service\"")),
        }
        for unsupported in ["role_name", "entity_alias"] {
            if fields::text(body, unsupported)?.is_some_and(|text| !text.is_empty()) {
                return Err(Error::invalid(format!("{unsupported} is not supported")));
            }
        }
        let ttl = match fields::duration_s(body, "ttl")? {
            None | Some(0) => fields::duration_s(body, "lease")?,
            given => given,
        };
        Ok(Self {
            id: fields::text(body, "id")?.filter(|id| !id.is_empty()).map(own_id).transpose()?,
            policies: policies(fields::texts(body, "policies")?.unwrap_or_default())?,
            meta: meta(fields::object(body, "meta")?)?,
            no_parent: fields::boolean(body, "no_parent")?.unwrap_or_default(),
            no_default_policy: fields::boolean(body, "no_default_policy")?.unwrap_or_default(),
            renewable: fields::boolean(body, "renewable")?.unwrap_or(true),
            ttl_ms: milliseconds("ttl", ttl)?,
            explicit_max_ttl_ms: milliseconds(
                "explicit_max_ttl",
                fields::duration_s(body, "explicit_max_ttl")?,
            )?,
            period_ms: milliseconds("period", fields::duration_s(body, "period")?)?,
            display_name: display_name(&fields::text(body, "display_name")?.unwrap_or_default())?,
            uses: u64::try_from(fields::integer(body, "num_uses")?.unwrap_or_default())
                .map_err(|_| Error::invalid("number of uses cannot be negative"))?,
            bound_cidrs: Vec::new(),
        })
    }

    /// An orphan, whatever was asked for.
    #[must_use]
    pub fn as_orphan(self) -> Self {
        Self { no_parent: true, ..self }
    }
}

/// Makes a token with the caller's as its parent. `may_sudo`: whether the caller has `sudo` there.
///
/// # Errors
/// [`Error::Invalid`]: the caller may not make such a token, or nobody can.
pub fn plan_create(
    ctx: &mut Context<'_>,
    creation: Creation,
    caller: &Identified,
    may_sudo: bool,
    path: &str,
) -> Result<Created, Error> {
    if caller.entry.uses_left > 0 {
        return Err(Error::invalid("restricted use token cannot generate child tokens"));
    }
    if creation.id.is_some() && !may_sudo {
        return Err(Error::invalid("root or sudo privileges required to specify token id"));
    }
    if creation.period_ms > 0 && !may_sudo {
        return Err(Error::invalid("root or sudo privileges required to create periodic token"));
    }
    if creation.no_parent && !may_sudo && path != "auth/token/create-orphan" {
        return Err(Error::invalid("root or sudo privileges required to create orphan token"));
    }
    if !creation.no_parent && caller.preconditions.len() > ANCESTORS_MAX {
        return Err(Error::invalid(format!("a token has at most {ANCESTORS_MAX} ancestors")));
    }
    let policies = granted_policies(&creation, caller, may_sudo)?;
    let is_root = policies.iter().any(|policy| policy == name::ROOT);
    let mut warnings = Vec::new();
    let lasts_ms = lasts_ms(ctx, &creation, caller, is_root, &mut warnings)?;
    let token = match creation.id {
        Some(id) => id,
        None => text::service(ctx.rng),
    };
    let hash = ctx.barrier.token_hash(token.expose().as_bytes());
    let entry = TokenEntry {
        ttl_ms: lasts_ms,
        explicit_max_ttl_ms: creation.explicit_max_ttl_ms,
        period_ms: creation.period_ms,
        uses_left: creation.uses,
        renewable: creation.renewable && lasts_ms > 0,
        display_name: creation.display_name,
        parent: (!creation.no_parent).then(|| caller.hash()),
        meta: creation.meta,
        bound_cidrs: creation.bound_cidrs,
        ..TokenEntry::new(text::accessor(ctx.rng), policies, path, ctx.now_ms)
    };
    let mut txn = Txn::default();
    let ends_ms = if lasts_ms > 0 { ctx.now_ms.saturating_add(lasts_ms) } else { 0 };
    store::put_new(ctx, &mut txn, &hash, &entry, ends_ms)?;
    Ok(Created { token, entry, lasts_ms, warnings, txn })
}

/// Those asked for if the caller may give them away, or his own if he asked for none; in order, each once.
fn granted_policies(creation: &Creation, caller: &Identified, may_sudo: bool) -> Result<Vec<String>, Error> {
    let own: BTreeSet<&str> = caller.entry.policies.iter().map(String::as_str).collect();
    let mut policies: BTreeSet<String> = creation.policies.iter().cloned().collect();
    if policies.is_empty() {
        policies = own.iter().map(|policy| (*policy).to_owned()).collect();
    } else if policies.contains(name::ROOT) && !caller.entry.is_root() {
        return Err(Error::invalid("root tokens may not be created without parent token being root"));
    }
    let is_own = |policy: &String| own.contains(policy.as_str()) || policy == name::DEFAULT;
    if !may_sudo && !caller.entry.is_root() && !policies.iter().all(is_own) {
        return Err(Error::invalid("child policies must be subset of parent"));
    }
    if policies.contains(name::ROOT) {
        return Ok(vec![name::ROOT.to_owned()]);
    }
    // Who has not got it cannot give it away by not saying so.
    let may_default = may_sudo || caller.entry.is_root() || own.contains(name::DEFAULT);
    if creation.no_default_policy {
        policies.remove(name::DEFAULT);
    } else if may_default {
        policies.insert(name::DEFAULT.to_owned());
    }
    Ok(policies.into_iter().collect())
}

/// How long the token lasts without being renewed; 0: for ever.
fn lasts_ms(
    ctx: &Context<'_>,
    creation: &Creation,
    caller: &Identified,
    is_root: bool,
    warnings: &mut Vec<String>,
) -> Result<u64, Error> {
    let asked_ms = if creation.period_ms > 0 { creation.period_ms } else { creation.ttl_ms };
    if is_root && asked_ms == 0 && creation.explicit_max_ttl_ms == 0 {
        return if caller.expires_at_ms == 0 {
            Ok(0)
        } else {
            Err(Error::invalid("expiring root tokens cannot create non-expiring root tokens"))
        };
    }
    let longest_ms = LEASE_DEFAULT_S * MS_PER_S;
    let mut lasts_ms = if asked_ms > 0 { asked_ms } else { longest_ms };
    if creation.period_ms == 0 && lasts_ms > longest_ms {
        warnings.push(format!(
            "TTL of \"{}s\" exceeded the effective max_ttl of \"{LEASE_DEFAULT_S}s\"; TTL value is capped accordingly",
            lasts_ms / MS_PER_S
        ));
        lasts_ms = longest_ms;
    }
    if creation.explicit_max_ttl_ms > 0 {
        lasts_ms = lasts_ms.min(creation.explicit_max_ttl_ms);
    }
    debug_assert!(ctx.now_ms.checked_add(lasts_ms).is_some());
    Ok(lasts_ms)
}

fn own_id(id: String) -> Result<Secret<String>, Error> {
    if id.starts_with("s.") || id.starts_with("b.") || id.starts_with("r.") || id.contains('.') {
        return Err(Error::invalid("custom token ID cannot contain \".\""));
    }
    let is_usable =
        (OWN_ID_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    if !is_usable {
        return Err(Error::invalid(format!(
            "a custom token ID has {OWN_ID_BYTES_MIN} to {TOKEN_BYTES_MAX} printable ASCII characters"
        )));
    }
    Ok(Secret::new(id))
}

fn policies(asked: Vec<String>) -> Result<Vec<String>, Error> {
    if asked.len() > POLICIES_MAX {
        return Err(Error::invalid(format!("a token has at most {POLICIES_MAX} policies")));
    }
    let named: Vec<String> =
        asked.iter().map(|policy| name::normalised(policy.trim())).collect::<Result<_, _>>()?;
    match named.iter().find(|policy| !name::is_assignable(policy)) {
        Some(policy) => Err(Error::invalid(format!("cannot assign policy {policy:?}"))),
        None => Ok(named),
    }
}

fn meta(given: Option<&Map<String, Value>>) -> Result<BTreeMap<String, String>, Error> {
    let refuse = || Error::invalid("the metadata of a token is an object of texts");
    let mut meta = BTreeMap::new();
    for (name, value) in given.into_iter().flatten() {
        meta.insert(name.clone(), fields::text_of(value).ok_or_else(refuse)?);
    }
    let bytes: usize = meta.iter().map(|(name, value)| name.len() + value.len()).sum();
    if meta.len() > META_ENTRIES_MAX || bytes > META_BYTES_MAX {
        return Err(Error::invalid(format!(
            "the metadata of a token has at most {META_ENTRIES_MAX} entries and {META_BYTES_MAX} bytes"
        )));
    }
    Ok(meta)
}

/// `token`, and behind it what was asked for, with signs that logs and paths can have.
fn display_name(asked: &str) -> Result<String, Error> {
    if asked.len() > DISPLAY_NAME_BYTES_MAX {
        return Err(Error::invalid(format!("a display name has at most {DISPLAY_NAME_BYTES_MAX} bytes")));
    }
    let usable = |sign: char| if sign.is_ascii_alphanumeric() { sign } else { '-' };
    let name: String = asked.chars().map(usable).collect();
    let name = name.trim_end_matches('-');
    Ok(if name.is_empty() { "token".to_owned() } else { format!("token-{name}") })
}

fn milliseconds(field: &str, seconds: Option<i64>) -> Result<u64, Error> {
    let seconds = u64::try_from(seconds.unwrap_or_default())
        .map_err(|_| Error::invalid(format!("{field} must not be negative")))?;
    if seconds > DURATION_S_MAX {
        return Err(Error::invalid(format!("{field} must not be longer than {DURATION_S_MAX} s")));
    }
    Ok(seconds * MS_PER_S)
}
