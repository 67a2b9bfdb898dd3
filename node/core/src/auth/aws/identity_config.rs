//! `config/identity`: by what name identity knows who logs in, and what a token tells of him.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::client::refuse_unless_default;
use crate::crypto::{Barrier, Kind};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::{self, Stored};

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;
const METADATA_DEFAULT: [&str; 2] = ["account_id", "auth_type"];
/// What can be told.
const METADATA: [&str; 5] = ["account_id", "auth_type", "canonical_arn", "client_arn", "client_user_id"];
/// "As if it had never been said."
const RESET: &str = "default";
const EC2_ALIAS: &str = "role_id";

/// The name of an alias.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IamAlias {
    /// All who log in by a role are one.
    #[default]
    RoleId,
    /// The id that AWS never gives twice, also when a user or role of this name is made again.
    UniqueId,
    CanonicalArn,
    /// With the session, if a role was assumed.
    FullArn,
}

impl IamAlias {
    const ALL: [(&str, Self); 4] = [
        ("role_id", Self::RoleId),
        ("unique_id", Self::UniqueId),
        ("canonical_arn", Self::CanonicalArn),
        ("full_arn", Self::FullArn),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, alias)| alias)
    }

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, alias)| *alias == self).map_or("", |(name, _)| name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityConfig {
    version: u32,
    pub iam_alias: IamAlias,
    /// `None`: what is told of old.
    #[serde(default)]
    iam_metadata: Option<Vec<String>>,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self { version: VERSION, iam_alias: IamAlias::default(), iam_metadata: None }
    }
}

impl IdentityConfig {
    fn told(&self) -> Vec<&str> {
        match &self.iam_metadata {
            None => METADATA_DEFAULT.to_vec(),
            Some(names) => names.iter().map(String::as_str).collect(),
        }
    }

    /// What of all that is known is told.
    pub fn metadata<'a>(
        &self,
        known: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> BTreeMap<String, String> {
        let told = self.told();
        let known = known.into_iter().filter(|(name, _)| told.contains(name));
        known.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

pub fn key(barrier: &Barrier, mount_uuid: &str) -> Vec<u8> {
    barrier.key(Kind::AwsIdentity, [mount_uuid])
}

pub fn load(ctx: &Context<'_>, mount: &Mount) -> Result<Option<Stored<IdentityConfig>>, Error> {
    let key = key(ctx.barrier, mount.uuid());
    match stored::load::<IdentityConfig>(ctx.view, ctx.barrier, &key, ctx.now_ms)? {
        Some(found) if found.value.version != VERSION => Err(stored::unknown()),
        found => Ok(found),
    }
}

pub fn read(ctx: &Context<'_>, mount: &Mount) -> Result<Plan, Error> {
    let config = load(ctx, mount)?.map(|found| found.value).unwrap_or_default();
    Ok(Reply::json(&json!({
        "ec2_alias": EC2_ALIAS,
        "ec2_metadata": METADATA_DEFAULT,
        "iam_alias": config.iam_alias.name(),
        "iam_metadata": config.told(),
    }))
    .into())
}

pub fn write(ctx: &mut Context<'_>, mount: &Mount, body: &Map<String, Value>) -> Result<Plan, Error> {
    let found = load(ctx, mount)?;
    let revision = found.as_ref().map_or(0, |found| found.revision);
    let mut config = found.map(|found| found.value).unwrap_or_default();
    if fields::text(body, "ec2_alias")?.is_some_and(|alias| alias != EC2_ALIAS) {
        return Err(Error::invalid("ec2_alias is not supported: there are no logins of the type ec2"));
    }
    refuse_unless_default(body, &["ec2_metadata"], "there are no logins of the type ec2")?;
    if let Some(alias) = fields::text(body, "iam_alias")? {
        config.iam_alias = IamAlias::named(&alias).ok_or_else(|| {
            let names = IamAlias::ALL.map(|(name, _)| name).join(" ");
            Error::invalid(format!("iam_alias not in set of allowed values: [{names}]"))
        })?;
    }
    if let Some(mut names) = fields::texts(body, "iam_metadata")? {
        names.sort_unstable();
        names.dedup();
        config.iam_metadata = if names == [RESET] { None } else { Some(names) };
        if config.told().iter().any(|name| !METADATA.contains(name)) {
            return Err(Error::invalid(format!(
                "iam_metadata can have {}, or only {RESET}",
                METADATA.join(", ")
            )));
        }
    }
    let mut txn = mount.guarded_txn(ctx);
    let key = key(ctx.barrier, mount.uuid());
    txn.require(key.clone(), revision);
    stored::put(ctx, &mut txn, &key, mount.uuid(), &config, 0)?;
    Ok(Plan { txn, reply: Reply::no_content() })
}
