//! Roles: which service accounts log in by them, and how tokens are made.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::auth::jwt::bounded;
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
/// Entries of a list at most.
const ENTRIES_MAX: usize = 256;
/// Longest text, in bytes.
const TEXT_BYTES_MAX: usize = 2_048;
/// Stands for everybody, and alone.
const ANY: &str = "*";

const NAMES: &str = "bound_service_account_names";
const NAMESPACES: &str = "bound_service_account_namespaces";
const SELECTOR: &str = "bound_service_account_namespace_selector";

/// By what an account is known to be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AliasSource {
    /// Its own id: another account of the same name is another.
    #[serde(rename = "serviceaccount_uid")]
    Uid,
    /// Its namespace and name.
    #[serde(rename = "serviceaccount_name")]
    Name,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Role {
    version: u32,
    pub names: Vec<String>,
    pub namespaces: Vec<String>,
    /// Empty: any.
    pub audience: String,
    pub alias_source: AliasSource,
    pub params: TokenParams,
    /// The old names under which fields were given, and are shown as well.
    #[serde(default)]
    old_names: OldNames,
}

pub fn prefix(barrier: &Barrier, mount_uuid: &str) -> Vec<u8> {
    barrier.key(Kind::KubernetesRole, [mount_uuid])
}

pub fn key(barrier: &Barrier, mount_uuid: &str, name: &str) -> Vec<u8> {
    barrier.key(Kind::KubernetesRole, [mount_uuid, name])
}

pub fn load(ctx: &Context<'_>, mount: &Mount, name: &str) -> Result<Option<Stored<Role>>, Error> {
    let key = key(ctx.barrier, mount.uuid(), name);
    match stored::load::<Role>(ctx.view, ctx.barrier, &key, ctx.now_ms)? {
        Some(role) if role.value.version != VERSION => Err(stored::unknown()),
        role => Ok(role),
    }
}

/// Makes a role, or changes one.
pub fn write(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    let found = load(ctx, mount, name)?;
    let revision = found.as_ref().map_or(0, |found| found.revision);
    let mut role = found.map_or_else(Role::new, |found| found.value);
    role.apply(body)?;
    let txn = named::put(ctx, mount, key(ctx.barrier, mount.uuid(), name), name, revision, &role)?;
    if role.params.max_ttl_s <= mount.effective_max_lease_s() {
        return Ok(Plan { txn, reply: Reply::no_content() });
    }
    let sentence = "max_ttl is greater than the system or backend mount's maximum TTL value; issued tokens' max TTL \
                    value will be truncated";
    Ok(Plan { txn, reply: Reply { warnings: vec![sentence.to_owned()], ..Reply::empty(200) } })
}

/// Deletes a role. No such role is no fault.
pub fn delete(ctx: &Context<'_>, mount: &Mount, name: &str) -> Result<Plan, Error> {
    let found = load(ctx, mount, name)?;
    Ok(named::delete(ctx, mount, key(ctx.barrier, mount.uuid(), name), found.as_ref()))
}

impl Role {
    fn new() -> Self {
        Self {
            version: VERSION,
            names: Vec::new(),
            namespaces: Vec::new(),
            audience: String::new(),
            alias_source: AliasSource::Uid,
            params: TokenParams::default(),
            old_names: OldNames::default(),
        }
    }

    fn apply(&mut self, body: &Map<String, Value>) -> Result<(), Error> {
        self.old_names.apply(&mut self.params, body, &OldNames::ALL)?;
        if let Some(names) = fields::texts(body, NAMES)? {
            self.names = names;
        }
        if self.names.is_empty() {
            return Err(Error::invalid(format!("{NAMES:?} can not be empty")));
        }
        alone(&self.names)?;
        if let Some(namespaces) = fields::texts(body, NAMESPACES)? {
            self.namespaces = namespaces;
        }
        if !bounded(body, SELECTOR, TEXT_BYTES_MAX)?.is_empty() {
            return Err(Error::invalid(format!("{SELECTOR} is not supported")));
        }
        if self.namespaces.is_empty() {
            return Err(Error::invalid(format!(
                "{NAMESPACES:?} can not be empty if {SELECTOR:?} is not set"
            )));
        }
        alone(&self.namespaces)?;
        if body.contains_key("audience") {
            self.audience = bounded(body, "audience", TEXT_BYTES_MAX)?;
        }
        match fields::text(body, "alias_name_source")?.as_deref() {
            None => {}
            Some("serviceaccount_uid") => self.alias_source = AliasSource::Uid,
            Some("serviceaccount_name") => self.alias_source = AliasSource::Name,
            Some(_) => {
                return Err(Error::invalid(
                    "invalid alias_name_source, must be one of: serviceaccount_uid, serviceaccount_name",
                ));
            }
        }
        Ok(())
    }

    pub fn show(&self) -> Map<String, Value> {
        let own = json!({
            "alias_name_source": self.alias_source,
            NAMES: self.names,
            NAMESPACES: self.namespaces,
            SELECTOR: "",
        });
        let mut shown = Map::new();
        self.params.show(&mut shown);
        self.old_names.show(&mut shown);
        if let Value::Object(own) = own {
            shown.extend(own);
        }
        if !self.audience.is_empty() {
            shown.insert("audience".to_owned(), self.audience.clone().into());
        }
        shown
    }
}

/// What stands for everybody makes all others meaningless.
fn alone(list: &[String]) -> Result<(), Error> {
    if list.len() > ENTRIES_MAX || list.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(Error::invalid(format!("a role is bound to at most {ENTRIES_MAX} names or namespaces")));
    }
    if list.len() > 1 && list.iter().any(|text| text == ANY) {
        return Err(Error::invalid("can not mix \"*\" with values"));
    }
    Ok(())
}
