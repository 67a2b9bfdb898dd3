//! From a login that a method has accepted to its token, by way of what else must be proven.

use conclave_proto::log::Txn;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::basis::Basis;
use super::table::{Enforcement, Table};
use super::{check, laid_aside, method};
use crate::auth::login;
use crate::auth::method::{MethodRequest, Step};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::identity::new_id;
use crate::plan::Context;

const NOT_NEEDED: &str = "Found MFA header but failed to find MFA Enforcement Config";
const TO_VALIDATE: &str = "A login request was issued that is subject to MFA validation. Please make sure to validate \
                           the login by sending another request to mfa/validate endpoint.";

/// Makes the token of a login that was accepted, if nothing else is demanded or it came with the login; else lays the
/// login aside, and answers what is demanded. What is no accepted login stays as it is.
///
/// # Errors
/// As making a token.
pub fn settle(
    ctx: &mut Context<'_>,
    mount: &Mount,
    request: &MethodRequest<'_>,
    step: Step,
) -> Result<Step, Error> {
    let Step::Done(mut plan) = step else { return Ok(step) };
    let Some(mut ready) = plan.reply.login.take() else { return Ok(Step::Done(plan)) };
    let spent = std::mem::take(&mut ready.spent);
    let table = Table::load(ctx)?;
    let basis = Basis::of(&plan.txn, ready.own_from);
    table.require(&mut plan.txn);
    if !table.enforcements.is_empty() {
        // That he is in no further group whose logins need more.
        plan.txn.preconditions.extend(ready.who.preconditions.iter().cloned());
    }
    let demanded = table.matching(mount, &ready.who);
    if demanded.is_empty() {
        if !request.codes.is_empty() {
            plan.reply.warnings.push(NOT_NEEDED.to_owned());
        }
        plan.txn.append(spent);
        return login::issue(ctx, plan, *ready).map(Step::Done);
    }
    if request.codes.is_empty() {
        let id = new_id(ctx);
        let auth = told(&id, &table, &demanded);
        laid_aside::put(ctx, &mut plan.txn, &id, *ready, basis)?;
        plan.txn.append(spent);
        plan.reply.auth = Some(auth);
        plan.reply.warnings.push(TO_VALIDATE.to_owned());
        return Ok(Step::Done(plan));
    }
    let mut checked = Txn::default();
    match check::codes(ctx, &mut checked, &table, &demanded, &ready.who.entity.id, request.codes)? {
        Ok(()) => {
            plan.txn.append(checked);
            plan.txn.append(spent);
            login::issue(ctx, plan, *ready).map(Step::Done)
        }
        // Of a login that is refused nothing stays but that a code was wrong, and what is good for one login only.
        Err(_) => {
            checked.append(spent);
            Ok(Step::Refused(checked, Error::Denied))
        }
    }
}

/// `auth` without a token, and with what is demanded in its place.
fn told(id: &str, table: &Table, demanded: &[&Enforcement]) -> Zeroizing<Vec<u8>> {
    let method = |id: &String| {
        let name = table.methods.get(id).map_or("", |method| method.name.as_str());
        json!({ "type": method::TYPE, "id": id, "uses_passcode": true, "name": name })
    };
    let any = |enforcement: &&Enforcement| {
        let methods: Vec<Value> = enforcement.method_ids.iter().map(method).collect();
        (enforcement.name.clone(), json!({ "any": methods }))
    };
    let constraints: serde_json::Map<String, Value> = demanded.iter().map(any).collect();
    let auth = json!({
        "client_token": "",
        "accessor": "",
        "policies": null,
        "metadata": null,
        "lease_duration": 0,
        "renewable": false,
        "entity_id": "",
        "token_type": "default",
        "orphan": false,
        "mfa_requirement": { "mfa_request_id": id, "mfa_constraints": constraints },
        "num_uses": 0,
    });
    Zeroizing::new(serde_json::to_vec(&auth).expect("text and numbers always become JSON"))
}
