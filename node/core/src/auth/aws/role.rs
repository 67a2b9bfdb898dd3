//! `role/NAME`: which IAM principals log in by it, and how their tokens are made.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::arn::Principal;
use super::client::refuse_unless_default;
use crate::auth::approle::uuid;
use crate::auth::named;
use crate::auth::old_names::OldNames;
use crate::auth::params::TokenParams;
use crate::crypto::{Barrier, Kind};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::{self, Stored};

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;
/// Principals of a role at most.
const PRINCIPALS_MAX: usize = 256;
/// The only type: a request that was signed.
pub const IAM: &str = "iam";
/// What Vault's other type binds to, and what would have to be looked up in EC2.
const EC2_LISTS: [&str; 8] = [
    "bound_account_id",
    "bound_ami_id",
    "bound_ec2_instance_id",
    "bound_iam_instance_profile_arn",
    "bound_iam_role_arn",
    "bound_region",
    "bound_subnet_id",
    "bound_vpc_id",
];
const EC2_OTHERS: [&str; 5] = [
    "allow_instance_migration",
    "disallow_reauthentication",
    "inferred_aws_region",
    "inferred_entity_type",
    "role_tag",
];
const OLD_NAMES: [&str; 4] = ["policies", "period", "ttl", "max_ttl"];

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Role {
    version: u32,
    /// Another role of the same name has another.
    pub role_id: String,
    /// In their canonical spelling.
    bound_iam_principal_arns: Vec<String>,
    pub params: TokenParams,
    #[serde(default)]
    old_names: OldNames,
}

pub fn prefix(barrier: &Barrier, mount_uuid: &str) -> Vec<u8> {
    barrier.key(Kind::AwsRole, [mount_uuid])
}

pub fn key(barrier: &Barrier, mount_uuid: &str, name: &str) -> Vec<u8> {
    barrier.key(Kind::AwsRole, [mount_uuid, name])
}

pub fn load(ctx: &Context<'_>, mount: &Mount, name: &str) -> Result<Option<Stored<Role>>, Error> {
    let key = key(ctx.barrier, mount.uuid(), name);
    match stored::load::<Role>(ctx.view, ctx.barrier, &key, ctx.now_ms)? {
        Some(role) if role.value.version != VERSION => Err(stored::unknown()),
        role => Ok(role),
    }
}

pub fn read(ctx: &Context<'_>, mount: &Mount, name: &str) -> Result<Plan, Error> {
    let role = load(ctx, mount, name)?.ok_or(Error::NotFound)?;
    Ok(Reply::json(&role.value.show()).into())
}

/// Makes a role, or changes one.
pub fn write(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let found = load(ctx, mount, name)?;
    if fields::text(body, "auth_type")?.is_some_and(|kind| kind != IAM) {
        return Err(Error::invalid("auth_type is \"iam\": other types are not supported"));
    }
    refuse_unless_default(body, &EC2_LISTS, "it binds to EC2, which is not asked")?;
    refuse_unless_default(body, &EC2_OTHERS, "it needs EC2, which is not asked")?;
    let resolves = fields::boolean(body, "resolve_aws_unique_ids")?;
    // Vault's default is true: whoever says nothing counts on what nobody does here.
    if resolves == Some(true) || (resolves.is_none() && found.is_none()) {
        return Err(Error::invalid(
            "resolve_aws_unique_ids must be false: ARNs are not looked up in IAM, so that a user or role which is \
             deleted and made again under the same name can log in again",
        ));
    }
    let revision = found.as_ref().map_or(0, |found| found.revision);
    let mut role = match found {
        Some(found) => found.value,
        None => Role {
            version: VERSION,
            role_id: uuid(ctx),
            bound_iam_principal_arns: Vec::new(),
            params: TokenParams::default(),
            old_names: OldNames::default(),
        },
    };
    if let Some(arns) = fields::texts(body, "bound_iam_principal_arn")? {
        role.bound_iam_principal_arns = bound(arns)?;
    }
    if role.bound_iam_principal_arns.is_empty() {
        return Err(Error::invalid("at least one bound parameter should be specified on the role"));
    }
    role.old_names.apply(&mut role.params, body, &OLD_NAMES)?;
    let warnings = role.params.warnings(mount);
    let txn = named::put(ctx, mount, key(ctx.barrier, mount.uuid(), name), name, revision, &role)?;
    let status = if warnings.is_empty() { 204 } else { 200 };
    Ok(Plan { txn, reply: Reply { warnings, ..Reply::empty(status) } })
}

/// Deletes a role. No such role is no fault.
pub fn delete(ctx: &Context<'_>, mount: &Mount, name: &str) -> Result<Plan, Error> {
    let found = load(ctx, mount, name)?;
    Ok(named::delete(ctx, mount, key(ctx.barrier, mount.uuid(), name), found.as_ref()))
}

/// Each in the spelling that a login is compared by: another one would never match, and nobody would know why.
fn bound(arns: Vec<String>) -> Result<Vec<String>, Error> {
    if arns.len() > PRINCIPALS_MAX {
        return Err(Error::invalid(format!("bound_iam_principal_arn has at most {PRINCIPALS_MAX} entries")));
    }
    let is_canonical =
        |arn: &String| Principal::parse(arn).is_ok_and(|principal| principal.canonical() == *arn);
    if !arns.iter().all(is_canonical) {
        return Err(Error::invalid(
            "bound_iam_principal_arn is compared sign by sign: arn:aws:iam::123456789012:role/NAME or .../user/NAME, \
             without a path and without wildcards",
        ));
    }
    Ok(arns)
}

impl Role {
    /// Whether a principal, in canonical spelling, may log in.
    pub fn is_bound_to(&self, canonical: &str) -> bool {
        self.bound_iam_principal_arns.iter().any(|arn| arn == canonical)
    }

    fn show(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        self.params.show(&mut shown);
        self.old_names.show(&mut shown);
        for name in EC2_LISTS.into_iter().chain(["bound_iam_principal_id"]) {
            shown.insert(name.to_owned(), json!([]));
        }
        for (name, value) in [
            ("allow_instance_migration", json!(false)),
            ("auth_type", json!(IAM)),
            ("bound_iam_principal_arn", json!(self.bound_iam_principal_arns)),
            ("disallow_reauthentication", json!(false)),
            ("inferred_aws_region", json!("")),
            ("inferred_entity_type", json!("")),
            ("resolve_aws_unique_ids", json!(false)),
            ("role_id", json!(self.role_id)),
            ("role_tag", json!("")),
        ] {
            shown.insert(name.to_owned(), value);
        }
        shown
    }
}
