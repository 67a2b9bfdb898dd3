//! `sys/quotas/lease-count`: Vault Enterprise's API, which OpenBao does not have.

use conclave_proto::counted::LEVELS_MAX;
use conclave_proto::log::Txn;
use serde_json::{Map, Value, json};

use super::api::{Mounted, check_inheritable, check_name, check_role, placed_in};
use super::leases::{LeaseQuotas, LeaseRule};
use crate::error::Error;
use crate::fields;
use crate::lease::record;
use crate::plan::{Context, Plan, Reply};

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaseQuotaRequest {
    List,
    Read,
    Write,
    Delete,
}

/// Plans what was asked of the rule `named`. `mounted`: what is served below a path that ends in a slash.
///
/// # Errors
/// [`Error`].
pub fn handle(
    ctx: &mut Context<'_>,
    request: LeaseQuotaRequest,
    named: &str,
    body: &Map<String, Value>,
    mounted: &dyn Fn(&str) -> Option<Mounted>,
) -> Result<Plan, Error> {
    let (mut quotas, revision) = LeaseQuotas::load(ctx.view, ctx.barrier)?;
    match request {
        LeaseQuotaRequest::List => {
            let mut names: Vec<&str> = quotas.rules.iter().map(|rule| rule.name.as_str()).collect();
            names.sort_unstable();
            if names.is_empty() {
                return Err(Error::NotFound);
            }
            Ok(Reply::json(&json!({ "keys": names })).into())
        }
        LeaseQuotaRequest::Read => {
            let rule = quotas.named(named).ok_or(Error::NotFound)?;
            let uuid = mounted(&rule.path).and_then(|mounted| mounted.uuid).unwrap_or_default();
            let counter = rule.count(ctx.view, ctx.barrier, &uuid)?;
            Ok(Reply::json(&described(rule, counter)).into())
        }
        LeaseQuotaRequest::Write => {
            let rule = parse(named, quotas.named(named), body, mounted)?;
            quotas.insert(rule)?;
            Ok(Plan { txn: quotas.plan_save(ctx, revision)?, reply: Reply::no_content() })
        }
        LeaseQuotaRequest::Delete => {
            let mut txn = Txn::default();
            if quotas.named(named).is_some() {
                quotas.rules.retain(|rule| rule.name != named);
                txn = quotas.plan_save(ctx, revision)?;
            }
            Ok(Plan { txn, reply: Reply::no_content() })
        }
    }
}

fn described(rule: &LeaseRule, counter: u64) -> Value {
    json!({
        "counter": counter,
        "inheritable": rule.path.is_empty(),
        "max_leases": rule.max_leases,
        "name": rule.name,
        "path": rule.path,
        "role": rule.role,
        "type": "lease-count",
    })
}

/// The rule that `body` tells; what it leaves out stays as it was `before`.
fn parse(
    name: &str,
    before: Option<&LeaseRule>,
    body: &Map<String, Value>,
    mounted: &dyn Fn(&str) -> Option<Mounted>,
) -> Result<LeaseRule, Error> {
    check_name(name)?;
    if fields::text(body, "type")?.is_some_and(|kind| !matches!(kind.as_str(), "" | "lease-count")) {
        return Err(Error::invalid("'type' is invalid: at this path it is lease-count"));
    }
    let path = placed_in(body, before.map(|rule| rule.path.as_str()), mounted)?;
    if path.contains('*') {
        return Err(Error::invalid("a lease-count quota holds for all below its path: leave '*' out"));
    }
    if record::segments(&path).count() > LEVELS_MAX {
        return Err(Error::invalid(format!(
            "the path of a lease-count quota has at most {LEVELS_MAX} segments"
        )));
    }
    let role = check_role(body, before.map(|rule| rule.role.as_str()), &path, mounted)?;
    check_inheritable(body, &path)?;
    let max_leases = match fields::integer(body, "max_leases")? {
        Some(given) => u64::try_from(given).unwrap_or_default(),
        None => before.map_or(0, |rule| rule.max_leases),
    };
    if max_leases == 0 {
        return Err(Error::invalid("'max_leases' is invalid: it must be a positive number"));
    }
    Ok(LeaseRule { name: name.to_owned(), path, role, max_leases })
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
