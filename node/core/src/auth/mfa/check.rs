//! Whether codes satisfy what is demanded. A code is taken once and a wrong one is counted, both in the transaction that
//! the answer is decided with: at whichever nodes codes are tried at once, one is taken and each guess counts.

use std::collections::{BTreeMap, BTreeSet};

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use super::codes::{Codes, passcode};
use super::secret;
use super::table::{Enforcement, Method, Table};
use crate::crypto::{Barrier, Kind};
use crate::error::Error;
use crate::plan::Context;
use crate::stored;

const MS_PER_S: u64 = 1_000;

/// Wrong codes of an entity, until the record expires.
#[derive(Serialize, Deserialize)]
struct Attempts {
    count: u64,
}

pub fn key(barrier: &Barrier, method: &str, entity: &str) -> Vec<u8> {
    barrier.key(Kind::TotpAttempts, [method, entity])
}

/// Below which all that is counted of a method lies.
pub fn prefix(barrier: &Barrier, method: &str) -> Vec<u8> {
    barrier.key(Kind::TotpAttempts, [method])
}

/// Holds `codes` against all of `demanded`, and adds what that changes to `txn`, which is to be committed whatever the
/// verdict is. The inner error says which enforcement is not satisfied, and why.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn codes(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    table: &Table,
    demanded: &[&Enforcement],
    entity: &str,
    codes: &Codes,
) -> Result<Result<(), String>, Error> {
    // Each method once: a code that two enforcements ask for is one code.
    let ids: BTreeSet<&String> = demanded.iter().flat_map(|enforcement| &enforcement.method_ids).collect();
    let mut verdicts = BTreeMap::new();
    for id in ids {
        let Some(method) = table.methods.get(id) else { continue };
        let Some(sent) = codes.of_method(id, &method.name) else { continue };
        let verdict = match passcode(sent) {
            Ok(code) => one(ctx, txn, method, entity, code)?,
            Err(sentence) => Err(sentence.to_owned()),
        };
        verdicts.insert(id, verdict);
    }
    for enforcement in demanded {
        let tried = || enforcement.method_ids.iter().filter_map(|id| verdicts.get(id));
        if tried().any(Result::is_ok) {
            continue;
        }
        let mut sentences: Vec<String> = tried().filter_map(|verdict| verdict.clone().err()).collect();
        sentences.push(format!(
            "login MFA validation failed for methodID: [{}]",
            enforcement.method_ids.join(" ")
        ));
        return Ok(Err(format!(
            "failed to satisfy enforcement {}. error: {}",
            enforcement.name,
            sentences.join("; ")
        )));
    }
    Ok(Ok(()))
}

/// One code of one method.
fn one(
    ctx: &mut Context<'_>,
    txn: &mut Txn,
    method: &Method,
    entity: &str,
    code: &str,
) -> Result<Result<(), String>, Error> {
    let Some(found) = secret::load(ctx, &method.id, entity)? else {
        return Ok(Err(format!(
            "MFA secret for method name {:?} not present in entity {entity:?}",
            method.name
        )));
    };
    let key = key(ctx.barrier, &method.id, entity);
    let period_s = found.value.scheme.period_s;
    // One that has expired may still be there, and be what a transaction finds.
    let revision = ctx.view.stamp(&key)?.map_or(0, |stamp| stamp.revision);
    let counted = stored::load::<Attempts>(ctx.view, ctx.barrier, &key, ctx.now_ms)?;
    let count = counted.as_ref().map_or(0, |counted| counted.value.count);
    if count >= method.attempts_max {
        return Ok(Err(format!(
            "maximum TOTP validation attempts {} exceeded the allowed attempts {}. Please try again in {period_s}s \
             seconds",
            count + 1,
            method.attempts_max
        )));
    }
    match found.value.scheme.step_of(&found.value.bytes, ctx.now_ms, code) {
        Some(step) if step <= found.value.used_step => {
            Ok(Err(format!("code already used; new code is available in {period_s} seconds")))
        }
        Some(step) => {
            secret::put_used(ctx, txn, (&method.id, entity), &found, step)?;
            // Whoever guessed too often meanwhile does not come in any more.
            txn.require(key.clone(), revision);
            if revision > 0 {
                txn.delete(key);
            }
            Ok(Ok(()))
        }
        None => {
            txn.require(key.clone(), revision);
            let begins_anew = ctx.now_ms.saturating_add(period_s * MS_PER_S);
            let expires_at_ms = counted.map_or(begins_anew, |counted| counted.expires_at_ms);
            let path = format!("{}/{entity}", method.id);
            stored::put(ctx, txn, &key, &path, &Attempts { count: count + 1 }, expires_at_ms)?;
            Ok(Err("failed to validate TOTP passcode".to_owned()))
        }
    }
}
