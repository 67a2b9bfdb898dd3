//! A login by name and password.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::{failures, user};
use crate::auth::login::{Accepted, plan_login};
use crate::auth::method::{self, Method, MethodRequest, Step};
use crate::auth::password::{PasswordDone, PasswordWork};
use crate::auth::token::LoginOrigin;
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::fields::{self, unknown_warning};
use crate::plan::Context;

/// Fields of a login: the name is one, and stands in the path.
const FIELDS: [&str; 2] = ["username", "password"];

/// Plans the login. The first decision asks for the password to be checked; whoever is locked out costs nothing.
///
/// # Errors
/// [`Error::Denied`]: locked out, or not from there. [`Error::Invalid`]: a field is missing.
pub fn login(ctx: &mut Context<'_>, mount: &Mount, request: &MethodRequest<'_>) -> Result<Step, Error> {
    let name = method::subject(request.path.strip_prefix("login/").unwrap_or_default())?;
    let password = fields::text(request.body, "password")?.map(Zeroizing::new);
    let password = password.filter(|password| !password.is_empty());
    let password = password.ok_or_else(|| Error::invalid("missing password"))?;
    let counted = failures::load(ctx, mount, &name)?;
    if counted.is_locked {
        return Err(Error::Denied);
    }
    let found = user::load(ctx, mount, &name)?;
    let hash = found.as_ref().map(|found| &found.value.hash);
    let matches = match request.password {
        // Of the hash that stands there now: the password may have been changed meanwhile.
        Some(PasswordDone::Verified { against, matches }) if against.as_ref() == hash => *matches,
        _ => return Ok(Step::Work(PasswordWork::verify(password, hash.cloned()).into())),
    };
    let Some(user) = found.filter(|_| matches) else {
        let mut txn = mount.guarded_txn(ctx);
        failures::add(ctx, mount, &name, &counted, &mut txn)?;
        return Ok(Step::Refused(txn, Error::invalid("invalid username or password")));
    };
    // Of one user there is one path, however his name was typed: what is revoked or counted below it is all there is.
    let path = format!("{}login/{name}", mount.path());
    let accepted = Accepted {
        origin: LoginOrigin {
            method: Method::Userpass,
            mount_uuid: mount.uuid().to_owned(),
            mount_accessor: mount.accessor().to_owned(),
            alias: name.clone(),
            subject: name.clone(),
            principal: String::new(),
        },
        display_name: &name,
        meta: BTreeMap::from([("username".to_owned(), name.clone())]),
        alias_meta: BTreeMap::new(),
        groups: None,
        params: &user.value.params,
        bound_cidrs: &[],
        path: &path,
        from: request.from,
        warnings: unknown_warning(request.body.keys().map(String::as_str), &FIELDS),
    };
    let mut plan = plan_login(ctx, mount, accepted)?;
    plan.txn.require(user::key(ctx.barrier, mount.uuid(), &name), user.revision);
    failures::forget(ctx, mount, &name, &counted, &mut plan.txn);
    Ok(Step::Done(plan))
}
