//! Users: their passwords and the settings of their tokens.

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::failures;
use crate::auth::method::{MethodRequest, Step};
use crate::auth::named;
use crate::auth::old_names::OldNames;
use crate::auth::params::TokenParams;
use crate::auth::password::{PasswordDone, PasswordWork, StoredHash};
use crate::crypto::{Barrier, Kind};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::{self, Stored};

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    version: u32,
    pub hash: StoredHash,
    pub params: TokenParams,
    /// The old names under which fields were given, and are shown as well.
    #[serde(default)]
    old_names: OldNames,
}

pub fn prefix(barrier: &Barrier, mount_uuid: &str) -> Vec<u8> {
    barrier.key(Kind::UserpassUser, [mount_uuid])
}

pub fn key(barrier: &Barrier, mount_uuid: &str, name: &str) -> Vec<u8> {
    barrier.key(Kind::UserpassUser, [mount_uuid, name])
}

pub fn load(ctx: &Context<'_>, mount: &Mount, name: &str) -> Result<Option<Stored<User>>, Error> {
    let key = key(ctx.barrier, mount.uuid(), name);
    match stored::load::<User>(ctx.view, ctx.barrier, &key, ctx.now_ms)? {
        Some(user) if user.value.version != VERSION => Err(stored::unknown()),
        user => Ok(user),
    }
}

impl User {
    /// Without the password.
    pub fn show(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        self.params.show(&mut shown);
        self.old_names.show(&mut shown);
        shown
    }

    /// Takes over what `body` gives, also under the names that the fields had once.
    fn apply(&mut self, body: &Map<String, Value>) -> Result<(), Error> {
        self.old_names.apply(&mut self.params, body, &["policies", "bound_cidrs", "ttl", "max_ttl"])
    }
}

/// What a body says of the password.
enum Given {
    Nothing,
    Hash(StoredHash),
    /// Not hashed yet.
    Work(PasswordWork),
}

fn password_in(request: &MethodRequest<'_>) -> Result<Given, Error> {
    let text = |name| {
        let text = fields::text(request.body, name)?.map(Zeroizing::new);
        Ok::<_, Error>(text.filter(|text| !text.is_empty()))
    };
    match (text("password")?, text("password_hash")?) {
        (Some(_), Some(_)) => Err(Error::invalid("only one of password or password_hash may be provided")),
        (None, Some(hash)) => StoredHash::bcrypt(&hash).map(Given::Hash),
        (Some(password), None) => Ok(match request.password {
            Some(PasswordDone::Hashed(hash)) => Given::Hash(hash.clone()),
            _ => Given::Work(PasswordWork::hash(password)),
        }),
        (None, None) => Ok(Given::Nothing),
    }
}

fn no_password() -> Error {
    Error::invalid("must provide either password or password_hash")
}

fn no_user() -> Error {
    Error::invalid("username does not exist")
}

/// Makes a user, or changes one.
pub fn write(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    request: &MethodRequest<'_>,
) -> Result<Step, Error> {
    let found = load(ctx, mount, name)?;
    let given = password_in(request)?;
    let old = match (&found, &given) {
        (Some(found), _) => found.value.clone(),
        (None, Given::Nothing) => return Err(no_password()),
        (None, Given::Hash(hash)) => User {
            version: VERSION,
            hash: hash.clone(),
            params: TokenParams::default(),
            old_names: OldNames::default(),
        },
        // What else is wrong is said before anything is hashed.
        (None, Given::Work(work)) => {
            TokenParams::default().apply(request.body)?;
            return Ok(Step::Work(work.clone().into()));
        }
    };
    let mut user = old;
    user.apply(request.body)?;
    match given {
        Given::Work(work) => return Ok(Step::Work(work.into())),
        Given::Hash(hash) => user.hash = hash,
        Given::Nothing => {}
    }
    let txn = put(ctx, mount, name, found.map_or(0, |found| found.revision), &user)?;
    Ok(done(txn, user.params.warnings(mount)))
}

/// Gives a user another password. What was counted against the old one is forgotten.
pub fn write_password(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    request: &MethodRequest<'_>,
) -> Result<Step, Error> {
    let found = load(ctx, mount, name)?.ok_or_else(no_user)?;
    let hash = match password_in(request)? {
        Given::Nothing => return Err(no_password()),
        Given::Work(work) => return Ok(Step::Work(work.into())),
        Given::Hash(hash) => hash,
    };
    let user = User { hash, ..found.value };
    Ok(done(put(ctx, mount, name, found.revision, &user)?, Vec::new()))
}

/// Gives a user other policies.
pub fn write_policies(
    ctx: &mut Context<'_>,
    mount: &Mount,
    name: &str,
    request: &MethodRequest<'_>,
) -> Result<Plan, Error> {
    let found = load(ctx, mount, name)?.ok_or_else(no_user)?;
    let mut user = found.value;
    let named = |field: &String| matches!(field.as_str(), "policies" | "token_policies");
    let body = request.body.iter().filter(|(field, _)| named(field));
    user.apply(&body.map(|(field, value)| (field.clone(), value.clone())).collect())?;
    let txn = put(ctx, mount, name, found.revision, &user)?;
    Ok(Plan { txn, reply: Reply::no_content() })
}

/// Deletes a user, and what was counted against the name. No such user is no fault.
pub fn delete(ctx: &mut Context<'_>, mount: &Mount, name: &str) -> Result<Plan, Error> {
    let Some(found) = load(ctx, mount, name)? else { return Ok(Reply::no_content().into()) };
    let mut txn = mount.guarded_txn(ctx);
    let key = key(ctx.barrier, mount.uuid(), name);
    txn.require(key.clone(), found.revision);
    txn.delete(key);
    txn.delete(failures::key(ctx.barrier, mount.uuid(), name));
    Ok(Plan { txn, reply: Reply::no_content() })
}

fn put(ctx: &mut Context<'_>, mount: &Mount, name: &str, revision: u64, user: &User) -> Result<Txn, Error> {
    named::put(ctx, mount, key(ctx.barrier, mount.uuid(), name), name, revision, user)
}

fn done(txn: Txn, warnings: Vec<String>) -> Step {
    let status = if warnings.is_empty() { 204 } else { 200 };
    Step::Done(Plan { txn, reply: Reply { warnings, ..Reply::empty(status) } })
}
