//! `role/NAME/FIELD`: one setting of a role.

use serde_json::{Map, Value};

use super::role::{self, Role, cidr_value};
use crate::auth::method::MethodRequest;
use crate::auth::params::{TokenParams, net_texts};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Operation, Plan, Reply};

/// A setting that has a path of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleField {
    Policies,
    LocalSecretIds,
    SecretIdBoundCidrs,
    /// The name that `secret-id-bound-cidrs` had once.
    BoundCidrList,
    TokenBoundCidrs,
    BindSecretId,
    SecretIdNumUses,
    SecretIdTtl,
    Period,
    TokenNumUses,
    TokenTtl,
    TokenMaxTtl,
    RoleId,
}

impl RoleField {
    const ALL: [Self; 13] = [
        Self::Policies,
        Self::LocalSecretIds,
        Self::SecretIdBoundCidrs,
        Self::BoundCidrList,
        Self::TokenBoundCidrs,
        Self::BindSecretId,
        Self::SecretIdNumUses,
        Self::SecretIdTtl,
        Self::Period,
        Self::TokenNumUses,
        Self::TokenTtl,
        Self::TokenMaxTtl,
        Self::RoleId,
    ];

    pub fn named(part: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.part() == part)
    }

    fn part(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::LocalSecretIds => "local-secret-ids",
            Self::SecretIdBoundCidrs => "secret-id-bound-cidrs",
            Self::BoundCidrList => "bound-cidr-list",
            Self::TokenBoundCidrs => "token-bound-cidrs",
            Self::BindSecretId => "bind-secret-id",
            Self::SecretIdNumUses => "secret-id-num-uses",
            Self::SecretIdTtl => "secret-id-ttl",
            Self::Period => "period",
            Self::TokenNumUses => "token-num-uses",
            Self::TokenTtl => "token-ttl",
            Self::TokenMaxTtl => "token-max-ttl",
            Self::RoleId => "role-id",
        }
    }

    /// The names under which a body may give it, the one of today first.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Policies => &["token_policies", "policies"],
            Self::LocalSecretIds => &["local_secret_ids"],
            Self::SecretIdBoundCidrs => &["secret_id_bound_cidrs"],
            Self::BoundCidrList => &["bound_cidr_list"],
            Self::TokenBoundCidrs => &["token_bound_cidrs"],
            Self::BindSecretId => &["bind_secret_id"],
            Self::SecretIdNumUses => &["secret_id_num_uses"],
            Self::SecretIdTtl => &["secret_id_ttl"],
            Self::Period => &["token_period", "period"],
            Self::TokenNumUses => &["token_num_uses"],
            Self::TokenTtl => &["token_ttl"],
            Self::TokenMaxTtl => &["token_max_ttl"],
            Self::RoleId => &["role_id"],
        }
    }

    fn show(self, role: &Role) -> Map<String, Value> {
        let mut all = role.show();
        all.insert("role_id".to_owned(), role.role_id.clone().into());
        all.insert("bound_cidr_list".to_owned(), cidr_value(&role.secret_id_bound_cidrs));
        if role.params.bound_cidrs.is_empty() {
            all.insert("token_bound_cidrs".to_owned(), Value::Null);
        } else {
            all.insert("token_bound_cidrs".to_owned(), net_texts(&role.params.bound_cidrs).into());
        }
        let named = |name: &&&str| all.contains_key(**name);
        self.names().iter().filter(named).map(|name| ((*name).to_owned(), all[*name].clone())).collect()
    }

    /// Sets it to what a new role has.
    fn reset(self, role: &mut Role) {
        let params = TokenParams::default();
        match self {
            Self::Policies => role.params.policies = params.policies,
            Self::SecretIdBoundCidrs | Self::BoundCidrList => role.secret_id_bound_cidrs = Vec::new(),
            Self::TokenBoundCidrs => role.params.bound_cidrs = params.bound_cidrs,
            Self::BindSecretId => role.bind_secret_id = true,
            Self::SecretIdNumUses => role.secret_id_num_uses = 0,
            Self::SecretIdTtl => role.secret_id_ttl_s = 0,
            Self::Period => role.params.period_s = 0,
            Self::TokenNumUses => role.params.num_uses = 0,
            Self::TokenTtl => role.params.ttl_s = 0,
            Self::TokenMaxTtl => role.params.max_ttl_s = 0,
            Self::LocalSecretIds | Self::RoleId => {}
        }
        role.old_names.forget(self.names());
    }

    fn can_be_reset(self) -> bool {
        !matches!(self, Self::LocalSecretIds | Self::RoleId)
    }
}

/// What is asked of one setting.
pub fn handle(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    field: RoleField,
    request: &MethodRequest<'_>,
) -> Result<Plan, Error> {
    let found = role::load(ctx, mount, name)?;
    match request.operation {
        Operation::Read => Ok(Reply::json(&field.show(&found.ok_or(Error::NotFound)?.value)).into()),
        Operation::Write if field != RoleField::LocalSecretIds => {
            let found = found.ok_or(Error::NotFound)?;
            let given: Map<String, Value> = field
                .names()
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), request.body.get(*name)?.clone())))
                .collect();
            let mut role = found.value.clone();
            if field == RoleField::RoleId {
                role.role_id = fields::text(&given, "role_id")?.unwrap_or_default();
            }
            if given.is_empty() || role.role_id.is_empty() {
                return Err(Error::invalid(format!("missing {}", field.names()[0])));
            }
            role.apply(&given)?;
            change(ctx, mount, name, found.revision, &found.value.role_id, &role)
        }
        Operation::Delete if field.can_be_reset() => {
            let Some(found) = found else { return Ok(Reply::no_content().into()) };
            let mut role = found.value.clone();
            field.reset(&mut role);
            role.apply(&Map::new())?;
            change(ctx, mount, name, found.revision, &found.value.role_id, &role)
        }
        _ => Err(Error::Unsupported),
    }
}

fn change(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    revision: u64,
    old_id: &str,
    role: &Role,
) -> Result<Plan, Error> {
    let txn = role::put(ctx, mount, name, revision, Some(old_id), role)?;
    Ok(Plan { txn, reply: Reply::no_content() })
}
