//! `role/NAME/secret-id` and the paths beside it: making, looking up and destroying secret ids.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::role::{self, Role, cidr_blocks};
use super::secret_id::{self, Found, SecretId};
use crate::auth::method::{self, MethodRequest};
use crate::auth::params::{lifetime_s, nets};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Operation, Plan, Reply};
use crate::stored::Stored;

/// Longest secret id that an operator can choose, in bytes.
const SECRET_ID_BYTES_MAX: usize = 4_096;
/// Metadata of a secret id at most: entries, and bytes of all together.
const METADATA_ENTRIES_MAX: usize = 64;
const METADATA_BYTES_MAX: usize = 16 * 1024;
/// Of an accessor that leads to none of the role's.
const NO_ACCESSOR: &str = "failed to find accessor entry for secret_id_accessor";
/// Fields of a request for a new one.
const FIELDS: [&str; 6] = ["secret_id", "metadata", "cidr_list", "token_bound_cidrs", "num_uses", "ttl"];

/// What is asked of the secret ids of the role `name`.
pub fn handle(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    part: &str,
    request: &MethodRequest<'_>,
) -> Result<Plan, Error> {
    use Operation as O;
    let no_role = || Error::invalid(format!("role {name:?} does not exist"));
    let found = role::load(ctx, mount, name)?;
    match (part, request.operation) {
        ("secret-id", O::Write) => {
            let role = found.ok_or(Error::NotFound)?;
            let secret_id = Zeroizing::new(role::uuid(ctx));
            make(ctx, mount, name, &role, &secret_id, request.body)
        }
        ("custom-secret-id", O::Write) => {
            let role = found.ok_or(Error::NotFound)?;
            let secret_id = given(request, "secret_id")?;
            if secret_id.len() > SECRET_ID_BYTES_MAX {
                return Err(Error::invalid(format!("a secret_id has at most {SECRET_ID_BYTES_MAX} bytes")));
            }
            make(ctx, mount, name, &role, &secret_id, request.body)
        }
        ("secret-id", O::List) => {
            let role = found.ok_or_else(no_role)?;
            let accessors = secret_id::accessors(ctx, mount, &role.value)?;
            Ok(Reply::json(&json!({ "keys": method::page(accessors, request.query)? })).into())
        }
        ("secret-id/lookup", O::Write) => {
            let secret_id = given(request, "secret_id")?;
            let role = found.ok_or_else(no_role)?;
            let hash = secret_id::hash(ctx.barrier, &role.value, &secret_id);
            let found = secret_id::load(ctx, mount, &role.value, &hash)?;
            Ok(found.map_or_else(Reply::no_content, |found| shown(&found)).into())
        }
        ("secret-id/destroy", O::Write | O::Delete) => {
            let secret_id = given(request, "secret_id")?;
            let role = found.ok_or_else(no_role)?;
            let hash = secret_id::hash(ctx.barrier, &role.value, &secret_id);
            let found = secret_id::load(ctx, mount, &role.value, &hash)?;
            Ok(destroy(ctx, mount, &role.value, found))
        }
        ("secret-id-accessor/lookup", O::Write) => {
            let accessor = given(request, "secret_id_accessor")?;
            let role = found.ok_or_else(no_role)?;
            Ok(match secret_id::by_accessor(ctx, mount, &role.value, &accessor)? {
                Some(found) => shown(&found).into(),
                None => Reply { status: 404, ..Reply::json(&json!({ "error": NO_ACCESSOR })) }.into(),
            })
        }
        ("secret-id-accessor/destroy", O::Write | O::Delete) => {
            let accessor = given(request, "secret_id_accessor")?;
            let role = found.ok_or_else(no_role)?;
            let found = secret_id::by_accessor(ctx, mount, &role.value, &accessor)?;
            let found = found.ok_or_else(|| Error::invalid(NO_ACCESSOR))?;
            Ok(destroy(ctx, mount, &role.value, Some(found)))
        }
        (
            "secret-id"
            | "custom-secret-id"
            | "secret-id/lookup"
            | "secret-id/destroy"
            | "secret-id-accessor/lookup"
            | "secret-id-accessor/destroy",
            _,
        ) => Err(Error::Unsupported),
        _ => Err(Error::NotFound),
    }
}

/// A field that must be there, of the body or, since a DELETE has none with many clients, of the query.
fn given(request: &MethodRequest<'_>, name: &str) -> Result<Zeroizing<String>, Error> {
    let in_body = fields::text(request.body, name)?;
    let given = in_body.or_else(|| request.query.first(name).map(str::to_owned)).map(Zeroizing::new);
    given.filter(|text| !text.is_empty()).ok_or_else(|| Error::invalid(format!("missing {name}")))
}

fn shown(found: &Found) -> Reply {
    Reply::json(&found.stored.value.show())
}

fn destroy(ctx: &Context<'_>, mount: &Mount, role: &Role, found: Option<Found>) -> Plan {
    let Some(found) = found else { return Reply::no_content().into() };
    let mut txn = mount.guarded_txn(ctx);
    secret_id::delete(ctx, &mut txn, mount, role, &found);
    Plan { txn, reply: Reply::no_content() }
}

fn make(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    role: &Stored<Role>,
    secret_id: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let Stored { revision, value: role, .. } = role;
    if !role.bind_secret_id {
        return Err(Error::invalid("bind_secret_id is not set on the role"));
    }
    let uses = num_uses(role, body)?;
    let ttl_s = ttl_s(role, mount, body)?;
    let cidr_list = cidr_blocks(&fields::texts(body, "cidr_list")?.unwrap_or_default(), "cidr_list")?;
    let contained = |block| role.secret_id_bound_cidrs.iter().any(|bound| bound.contains(block));
    if !role.secret_id_bound_cidrs.is_empty() && !cidr_list.iter().all(contained) {
        return Err(Error::invalid("the CIDR blocks of the secret ID are no subset of those of the role"));
    }
    let token_cidrs = fields::texts(body, "token_bound_cidrs")?.unwrap_or_default();
    let entry = SecretId {
        metadata: metadata(body)?,
        cidr_list,
        token_bound_cidrs: nets(&token_cidrs, "token_bound_cidrs")?,
        ..SecretId::new(ctx, uses, ttl_s)
    };
    let mut txn = mount.guarded_txn(ctx);
    // A role that is deleted meanwhile has no new ones.
    txn.require(role::key(ctx.barrier, mount.uuid(), name), *revision);
    let hash = secret_id::hash(ctx.barrier, role, secret_id);
    secret_id::put_new(ctx, &mut txn, mount, role, &hash, &entry)?;
    let made = json!({
        "secret_id": secret_id,
        "secret_id_accessor": entry.accessor,
        "secret_id_num_uses": uses,
        "secret_id_ttl": ttl_s,
    });
    let warnings = fields::unknown_warning(body.keys().map(String::as_str), &FIELDS);
    Ok(Plan { txn, reply: Reply { warnings, ..Reply::json(&made) } })
}

fn num_uses(role: &Role, body: &Map<String, Value>) -> Result<u64, Error> {
    let Some(asked) = fields::integer(body, "num_uses")? else { return Ok(role.secret_id_num_uses) };
    let asked = u64::try_from(asked).map_err(|_| Error::invalid("num_uses cannot be negative"))?;
    if role.secret_id_num_uses > 0 && (asked == 0 || asked > role.secret_id_num_uses) {
        return Err(Error::invalid("num_uses cannot be higher than the role's secret_id_num_uses"));
    }
    Ok(asked)
}

fn ttl_s(role: &Role, mount: &Mount, body: &Map<String, Value>) -> Result<u64, Error> {
    let longest_s = mount.effective_max_lease_s();
    let Some(asked) = fields::duration_s(body, "ttl")? else {
        return Ok(role.secret_id_ttl_s.min(longest_s));
    };
    let asked = lifetime_s(asked, "ttl")?;
    if role.secret_id_ttl_s > 0 && (asked == 0 || asked > role.secret_id_ttl_s) {
        return Err(Error::invalid("ttl cannot be longer than the role's secret_id_ttl"));
    }
    Ok(asked.min(longest_s))
}

/// An object of texts as JSON in a text, or `key=value` with commas.
fn metadata(body: &Map<String, Value>) -> Result<BTreeMap<String, String>, Error> {
    let refuse = || Error::invalid("failed to parse metadata: it is a JSON object of texts, written as text");
    let text = fields::text(body, "metadata").map_err(|_| refuse())?.unwrap_or_default();
    let metadata: BTreeMap<String, String> = if text.is_empty() {
        BTreeMap::new()
    } else if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|_| refuse())?
    } else {
        let pair = |pair: &str| {
            pair.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        };
        text.split(',').map(pair).collect::<Option<_>>().ok_or_else(refuse)?
    };
    let bytes: usize = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if metadata.len() > METADATA_ENTRIES_MAX || bytes > METADATA_BYTES_MAX {
        return Err(Error::invalid(format!(
            "the metadata of a secret ID has at most {METADATA_ENTRIES_MAX} entries and {METADATA_BYTES_MAX} bytes"
        )));
    }
    Ok(metadata)
}
