//! `sys/policies/password`: rules for passwords, kept by name, and passwords made by them.

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::decoded;
use super::name;
use super::password::PasswordPolicy;
use crate::crypto::{Barrier, Kind};
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};
use crate::stored::{self, Stored};
use crate::view::View;

/// Password policies of a cluster at most.
const POLICIES_MAX: usize = 1_000;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PasswordRequest {
    List,
    Read,
    Write,
    Delete,
    Generate,
}

#[derive(Serialize, Deserialize)]
struct Record {
    name: String,
    text: String,
}

/// Plans what was asked of the password policy `named`.
///
/// # Errors
/// [`Error`].
pub fn handle(
    ctx: &mut Context<'_>,
    request: PasswordRequest,
    named: &str,
    body: &Map<String, Value>,
) -> Result<Plan, Error> {
    match request {
        PasswordRequest::List => match names(ctx)? {
            keys if keys.is_empty() => Err(Error::NotFound),
            keys => Ok(Reply::json(&json!({ "keys": keys })).into()),
        },
        PasswordRequest::Read => {
            let stored = load(ctx.view, ctx.barrier, &name::normalised(named)?)?.ok_or(Error::NotFound)?;
            Ok(Reply::json(&json!({ "policy": stored.value.text })).into())
        }
        PasswordRequest::Write => {
            let text = fields::text(body, "policy")?.filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| Error::invalid("missing policy"))?;
            Ok(Plan {
                txn: plan_write(ctx, &name::normalised(named)?, decoded(text))?,
                reply: Reply::no_content(),
            })
        }
        PasswordRequest::Delete => {
            let named = name::normalised(named)?;
            let mut txn = Txn::default();
            if let Some(stored) = load(ctx.view, ctx.barrier, &named)? {
                let key = key(ctx.barrier, &named);
                txn.require(key.clone(), stored.revision);
                txn.delete(key);
            }
            Ok(Plan { txn, reply: Reply::no_content() })
        }
        PasswordRequest::Generate => {
            let stored = load(ctx.view, ctx.barrier, &name::normalised(named)?)?.ok_or(Error::NotFound)?;
            let password = parse(&stored.value.text)?.generate(ctx.rng)?;
            Ok(Reply::json(&json!({ "password": password.as_str() })).into())
        }
    }
}

fn plan_write(ctx: &mut Context<'_>, named: &str, text: String) -> Result<Txn, Error> {
    // One that makes no password in the end helps nobody.
    drop(parse(&text)?.generate(ctx.rng)?);
    let before = load(ctx.view, ctx.barrier, named)?;
    if before.is_none() && names(ctx)?.len() >= POLICIES_MAX {
        return Err(Error::invalid(format!("a cluster has at most {POLICIES_MAX} password policies")));
    }
    let key = key(ctx.barrier, named);
    let mut txn = Txn::default();
    txn.require(key.clone(), before.map_or(0, |before| before.revision));
    stored::put(ctx, &mut txn, &key, named, &Record { name: named.to_owned(), text }, 0)?;
    Ok(txn)
}

fn parse(text: &str) -> Result<PasswordPolicy, Error> {
    PasswordPolicy::parse(text).map_err(|error| Error::invalid(format!("invalid password policy: {error}")))
}

fn names(ctx: &Context<'_>) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    stored::each::<Record>(ctx.view, ctx.barrier, Kind::PasswordPolicy, 0, |record| {
        names.push(record.name);
        Ok(())
    })?;
    names.sort_unstable();
    Ok(names)
}

fn load(view: &dyn View, barrier: &Barrier, named: &str) -> Result<Option<Stored<Record>>, Error> {
    stored::load(view, barrier, &key(barrier, named), 0)
}

fn key(barrier: &Barrier, named: &str) -> Vec<u8> {
    barrier.key(Kind::PasswordPolicy, [named])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::seeded;
    use crate::seal::testing::{NOW_MS, barrier};
    use crate::view::testing::MemoryView;

    const TEXT: &str = "length = 20\nrule \"charset\" { charset = \"abc\" min-chars = 1 }";

    fn ask(state: &mut MemoryView, request: PasswordRequest, body: Value) -> Result<Reply, Error> {
        let (barrier, mut rng) = (barrier(), seeded(1));
        let plan = {
            let mut ctx = Context { view: &*state, barrier: &barrier, now_ms: NOW_MS, rng: &mut rng };
            handle(&mut ctx, request, "mine", body.as_object().unwrap_or(&Map::new()))?
        };
        state.apply(&plan.txn).unwrap();
        Ok(plan.reply)
    }

    #[test]
    fn passwords_follow_the_policy_they_are_made_by() {
        let mut state = MemoryView::default();
        ask(&mut state, PasswordRequest::Write, json!({ "policy": TEXT })).unwrap();
        let reply = ask(&mut state, PasswordRequest::Generate, Value::Null).unwrap();
        let data: Value = serde_json::from_slice(&reply.data.unwrap()).unwrap();
        let password = data["password"].as_str().unwrap();
        assert!(password.len() == 20 && password.chars().all(|sign| "abc".contains(sign)), "{password}");
        ask(&mut state, PasswordRequest::Delete, Value::Null).unwrap();
        assert_eq!(ask(&mut state, PasswordRequest::Read, Value::Null).err(), Some(Error::NotFound));
        assert_eq!(ask(&mut state, PasswordRequest::List, Value::Null).err(), Some(Error::NotFound));
    }

    #[test]
    fn what_makes_no_password_is_refused_when_it_is_written() {
        let mut state = MemoryView::default();
        for text in ["length = 20", "rule", "length = 4\nrule \"charset\" { charset = \"ab\" min-chars = 5 }"]
        {
            let refused = ask(&mut state, PasswordRequest::Write, json!({ "policy": text }));
            assert!(matches!(refused, Err(Error::Invalid(_))), "{text}");
        }
    }
}
