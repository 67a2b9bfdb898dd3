//! From a login that a method has accepted to a token: what all methods share.

use std::collections::BTreeMap;
use std::net::IpAddr;

use conclave_proto::log::Txn;
use ipnet::IpNet;
use zeroize::Zeroizing;

use super::params::{TokenParams, is_within};
use super::token::{LoginOrigin, TokenEntry, TokenKind, anchor, auth_block};
use crate::duration;
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::identity::{self, Belonging, LoginAlias};
use crate::plan::{Context, Plan, Reply};
use crate::policy::name;

const MS_PER_S: u64 = 1_000;

/// What a method has found out about a caller.
pub struct Accepted<'a> {
    pub origin: LoginOrigin,
    /// What is shown of the caller behind the mount's name; may be empty.
    pub display_name: &'a str,
    pub meta: BTreeMap<String, String>,
    /// What is kept of it with the entity's alias.
    pub alias_meta: BTreeMap<String, String>,
    /// Groups that the method says the caller is in; `None`: it knows of none.
    pub groups: Option<Vec<String>>,
    pub params: &'a TokenParams,
    /// In place of those of `params`, if there are any.
    pub bound_cidrs: &'a [IpNet],
    /// The path that was asked.
    pub path: &'a str,
    pub from: Option<IpAddr>,
    /// What the caller is to be told of the request.
    pub warnings: Vec<String>,
}

/// What the token of an accepted login is made from.
pub struct Ready {
    pub entry: TokenEntry,
    /// Whose it is, as he is when this login has been committed.
    pub who: Belonging,
    /// What its holder is to be told of the token.
    pub warnings: Vec<String>,
    /// What the login uses up, also when it is refused for want of another factor.
    pub spent: Txn,
    /// The transaction's preconditions from this one on are the method's own.
    pub own_from: usize,
}

/// Accepts a login. Its token is made by `issue`, when nothing else has to be proven: `Method::login` sees to that. One
/// transaction: the caller adds what the login itself changes.
///
/// # Errors
/// [`Error::Denied`]: not from there. [`Error::Invalid`]: the policies include `root`.
pub fn plan_login(ctx: &mut Context<'_>, mount: &Mount, accepted: Accepted<'_>) -> Result<Plan, Error> {
    let params = accepted.params;
    let mut bound_cidrs = if accepted.bound_cidrs.is_empty() {
        params.bound_cidrs.clone()
    } else {
        accepted.bound_cidrs.to_vec()
    };
    if !bound_cidrs.is_empty() && !is_within(&bound_cidrs, accepted.from) {
        return Err(Error::Denied);
    }
    if params.strictly_bind_ip {
        let from = accepted.from.ok_or(Error::Denied)?;
        bound_cidrs = vec![IpNet::from(from.to_canonical())];
    }
    let policies = policies_of(params)?;
    let mut warnings = Vec::new();
    let lasts_s = lasts_s(params, mount, &mut warnings);
    let max_ttl_s = match params.max_ttl_s {
        0 => mount.effective_max_lease_s(),
        seconds => seconds.min(mount.effective_max_lease_s()),
    };
    let kind = mount.kind_for(params.kind);
    if kind == TokenKind::Batch {
        params.check_batch()?;
    }
    let mut entry = TokenEntry {
        kind,
        ttl_ms: lasts_s * MS_PER_S,
        explicit_max_ttl_ms: params.explicit_max_ttl_s * MS_PER_S,
        max_ttl_ms: max_ttl_s * MS_PER_S,
        period_ms: period_s(params, mount) * MS_PER_S,
        uses_left: params.num_uses,
        renewable: kind == TokenKind::Service,
        display_name: display_name(mount, accepted.display_name),
        meta: accepted.meta,
        bound_cidrs,
        login: Some(accepted.origin),
        ..TokenEntry::new(String::new(), policies, accepted.path, ctx.now_ms)
    };
    let mut txn = mount.guarded_txn(ctx);
    let who = entity_of(ctx, &mut txn, &entry, accepted.alias_meta, accepted.groups)?;
    entry.entity_id = who.entity.id.clone();
    let own_from = txn.preconditions.len();
    let login = Some(Box::new(Ready { entry, who, warnings, spent: Txn::default(), own_from }));
    Ok(Plan { txn, reply: Reply { login, warnings: accepted.warnings, ..Reply::empty(200) } })
}

/// Makes the token of a login of which all is proven, in the login's own transaction.
///
/// # Errors
/// The active key has sealed too much.
pub(super) fn issue(ctx: &mut Context<'_>, mut plan: Plan, ready: Ready) -> Result<Plan, Error> {
    let Ready { mut entry, who, warnings, .. } = ready;
    let uuid = entry.login.as_ref().ok_or(Error::Denied)?.mount_uuid.clone();
    let ends_ms = ctx.now_ms.saturating_add(entry.ttl_ms);
    let token = anchor::issue(ctx, &mut plan.txn, &uuid, &mut entry, ends_ms)?;
    let auth = auth_block(&entry, token.expose(), true, entry.ttl_ms, &who.policies);
    let text = serde_json::to_vec(&auth).expect("text and numbers always become JSON");
    plan.reply.auth = Some(Zeroizing::new(text));
    plan.reply.warnings.extend(warnings);
    Ok(plan)
}

/// Whom the mount knows by this name, as the login leaves him; made if nobody was.
fn entity_of(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    entry: &TokenEntry,
    metadata: BTreeMap<String, String>,
    groups: Option<Vec<String>>,
) -> Result<Belonging, Error> {
    let origin = entry.login.as_ref().ok_or(Error::Denied)?;
    let alias = LoginAlias { mount_accessor: &origin.mount_accessor, name: &origin.alias, metadata, groups };
    let entity = identity::plan_login(ctx, txn, &alias)?;
    Belonging::after_login(ctx.view, ctx.barrier, entity)
}

/// In order, each once, with `default` unless the settings say otherwise.
pub fn policies_of(params: &TokenParams) -> Result<Vec<String>, Error> {
    let mut policies = params.policies.clone();
    if policies.iter().any(|policy| policy == name::ROOT) {
        return Err(Error::invalid("auth methods cannot create root tokens"));
    }
    if !params.no_default_policy {
        policies.push(name::DEFAULT.to_owned());
    }
    policies.sort_unstable();
    policies.dedup();
    Ok(policies)
}

/// The mount's name and the caller's.
fn display_name(mount: &Mount, name: &str) -> String {
    let mount = mount.own_path().trim_end_matches('/').replace('/', "-");
    if name.is_empty() { mount } else { format!("{mount}-{name}") }
}

/// How long each renewal of a periodic token makes it last; 0: it is not periodic.
fn period_s(params: &TokenParams, mount: &Mount) -> u64 {
    params.period_s.min(mount.effective_max_lease_s())
}

/// How long the token lasts at first, in seconds.
fn lasts_s(params: &TokenParams, mount: &Mount, warnings: &mut Vec<String>) -> u64 {
    let mount_max_s = mount.effective_max_lease_s();
    if params.period_s > 0 {
        let lasts_s = at_most(period_s(params, mount), params.explicit_max_ttl_s);
        if lasts_s < params.period_s {
            warnings.push(capped("period", params.period_s, lasts_s));
        }
        return lasts_s;
    }
    let longest_s = at_most(at_most(mount_max_s, params.max_ttl_s), params.explicit_max_ttl_s);
    let asked_s = match params.ttl_s {
        0 => mount.effective_default_lease_s().min(mount_max_s),
        seconds => seconds,
    };
    if asked_s > longest_s {
        warnings.push(capped("TTL", asked_s, longest_s));
    }
    asked_s.min(longest_s)
}

/// A limit of 0 is none.
fn at_most(seconds: u64, limit_s: u64) -> u64 {
    if limit_s == 0 { seconds } else { seconds.min(limit_s) }
}

fn capped(what: &str, asked_s: u64, longest_s: u64) -> String {
    format!(
        "{what} of \"{}\" exceeded the effective max_ttl of \"{}\"; {what} value is capped accordingly",
        short(asked_s),
        short(longest_s)
    )
}

/// As OpenBao writes a duration here: without the units that are 0 at its end.
fn short(seconds: u64) -> String {
    let text = duration::format_s(i64::try_from(seconds).unwrap_or(i64::MAX));
    let text = text.strip_suffix("m0s").map_or(text.clone(), |rest| format!("{rest}m"));
    text.strip_suffix("h0m").map_or(text.clone(), |rest| format!("{rest}h"))
}
