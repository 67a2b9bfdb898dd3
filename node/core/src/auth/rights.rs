//! What somebody may do: `sys/capabilities`, `sys/policies/explain` and `sys/internal/ui/resultant-acl`. Answers about
//! rights, which allow nothing.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::token::{self, Identified};
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Operation, Plan, Reply};
use crate::policy::{Access, Acl};

/// Paths of one question at most.
const PATHS_MAX: usize = 1_000;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RightsRequest {
    Capabilities,
    CapabilitiesSelf,
    CapabilitiesAccessor,
    Explain,
    ResultantAcl,
}

/// Whether a path of the API needs `sudo`: what the route table knows.
pub type RootProtected<'a> = &'a dyn Fn(Operation, &str) -> bool;

/// Answers what was asked. The caller has been permitted to ask it.
///
/// # Errors
/// [`Error`].
pub fn handle(
    ctx: &Context<'_>,
    request: RightsRequest,
    caller: &Identified,
    body: &Map<String, Value>,
    root_protected: RootProtected<'_>,
) -> Result<Plan, Error> {
    let own = || caller.identity.acl();
    match request {
        RightsRequest::CapabilitiesSelf => capabilities(own(), body),
        RightsRequest::Capabilities => {
            let token = fields::text(body, "token")?.unwrap_or_default();
            let hash = ctx.barrier.token_hash(token.as_bytes());
            let found = token::find(ctx.view, ctx.barrier, &hash, ctx.now_ms)?;
            let found = found.ok_or_else(|| Error::invalid("invalid token"))?;
            capabilities(&*acl_of(ctx, &found)?, body)
        }
        RightsRequest::CapabilitiesAccessor => {
            let accessor = fields::text(body, "accessor")?.unwrap_or_default();
            let found = token::find_by_accessor(ctx.view, ctx.barrier, &accessor, ctx.now_ms)?;
            let found = found.ok_or_else(|| Error::invalid("invalid accessor"))?;
            capabilities(&*acl_of(ctx, &found)?, body)
        }
        RightsRequest::ResultantAcl => Ok(Reply::json(&own().resultant()).into()),
        RightsRequest::Explain => explain(ctx, caller, body, root_protected),
    }
}

fn acl_of(ctx: &Context<'_>, found: &token::Found) -> Result<Arc<Acl>, Error> {
    token::acl_of(ctx.view, ctx.barrier, ctx.now_ms, &found.entry.policies)
}

fn capabilities(acl: &Acl, body: &Map<String, Value>) -> Result<Plan, Error> {
    let paths = match fields::texts(body, "paths")? {
        Some(paths) if !paths.is_empty() => paths,
        _ => fields::texts(body, "path")?.unwrap_or_default(),
    };
    if paths.is_empty() {
        return Err(Error::invalid("paths must be supplied"));
    }
    if paths.len() > PATHS_MAX {
        return Err(Error::invalid(format!("at most {PATHS_MAX} paths can be asked about at once")));
    }
    let mut told = Map::new();
    if let [only] = paths.as_slice() {
        told.insert("capabilities".to_owned(), json!(acl.capabilities(only)));
    }
    for path in paths {
        let granted = acl.capabilities(&path);
        told.insert(path, json!(granted));
    }
    Ok(Reply::json(&told).into())
}

/// Why a request would be allowed or denied: the caller's own, or with `sudo` that of another token, by its accessor.
fn explain(
    ctx: &Context<'_>,
    caller: &Identified,
    body: &Map<String, Value>,
    root_protected: RootProtected<'_>,
) -> Result<Plan, Error> {
    let path = fields::text(body, "path")?.unwrap_or_default();
    let path = path.trim_start_matches('/').trim_start_matches("v1/");
    if path.is_empty() {
        return Err(Error::invalid("path must be supplied"));
    }
    let operation = match fields::text(body, "operation")?.as_deref() {
        None | Some("" | "read") => Operation::Read,
        Some("create" | "update") => Operation::Write,
        Some("patch") => Operation::Patch,
        Some("delete") => Operation::Delete,
        Some("list") => Operation::List,
        Some("scan") => Operation::Scan,
        Some(_) => {
            return Err(Error::invalid(
                "operation is one of create, read, update, patch, delete, list and scan",
            ));
        }
    };
    let nothing = Map::new();
    let access = Access {
        operation,
        path,
        creates: fields::text(body, "operation")?.as_deref() == Some("create"),
        root_protected: root_protected(operation, path),
        parameters: fields::object(body, "parameters")?.unwrap_or(&nothing),
        wrap_ttl_s: None,
        list_limit: None,
    };
    let explanation = match fields::text(body, "accessor")?.filter(|accessor| !accessor.is_empty()) {
        None => caller.identity.acl().explain(&access),
        Some(_) if !caller.identity.acl().may_sudo("sys/policies/explain") => return Err(Error::Denied),
        Some(accessor) => {
            let found = token::find_by_accessor(ctx.view, ctx.barrier, &accessor, ctx.now_ms)?;
            acl_of(ctx, &found.ok_or_else(|| Error::invalid("invalid accessor"))?)?.explain(&access)
        }
    };
    Ok(Reply::json(&explanation).into())
}
