//! `sys/quotas`: rules are written, read and taken back here.

use conclave_proto::log::Txn;
use serde_json::{Map, Value, json};

use super::{EXEMPT_PATHS_MAX, Quotas, Rule};
use crate::auth::method::subject;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Reply};

/// Longest name of a rule, in bytes: it is a label of a metric.
const NAME_BYTES_MAX: usize = 128;
/// Longest path of a rule, in bytes.
const PATH_BYTES_MAX: usize = 1_024;
/// Longest interval, in seconds: a year.
const INTERVAL_S_MAX: u64 = 366 * 86_400;

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuotaRequest {
    ReadConfig,
    WriteConfig,
    List,
    Read,
    Write,
    Delete,
}

/// What is served below a path.
pub struct Mounted {
    /// `None`: it is shown and not in the table.
    pub uuid: Option<String>,
    pub is_auth: bool,
    /// Whether it is a login method whose logins have roles.
    pub has_roles: bool,
}

/// Plans what was asked of the rule `named`. `mounted`: what is served below a path that ends in a slash.
///
/// # Errors
/// [`Error`].
pub fn handle(
    ctx: &mut Context<'_>,
    request: QuotaRequest,
    named: &str,
    body: &Map<String, Value>,
    mounted: &dyn Fn(&str) -> Option<Mounted>,
) -> Result<Plan, Error> {
    let (mut quotas, revision) = Quotas::load(ctx.view, ctx.barrier)?;
    let reply = match request {
        QuotaRequest::ReadConfig => json!({
            "enable_rate_limit_audit_logging": quotas.with_audit,
            "enable_rate_limit_response_headers": quotas.with_headers,
            "rate_limit_exempt_paths": quotas.exempt_paths,
        }),
        QuotaRequest::List => {
            let mut names: Vec<&str> = quotas.rules.iter().map(|rule| rule.name.as_str()).collect();
            names.sort_unstable();
            if names.is_empty() {
                return Err(Error::NotFound);
            }
            json!({ "keys": names })
        }
        QuotaRequest::Read => described(quotas.named(named).ok_or(Error::NotFound)?),
        QuotaRequest::WriteConfig => {
            configure(&mut quotas, body)?;
            return Ok(Plan { txn: quotas.plan_save(ctx, revision)?, reply: Reply::no_content() });
        }
        QuotaRequest::Write => {
            let rule = parse(named, quotas.named(named), body, mounted)?;
            quotas.insert(rule)?;
            return Ok(Plan { txn: quotas.plan_save(ctx, revision)?, reply: Reply::no_content() });
        }
        QuotaRequest::Delete => {
            let mut txn = Txn::default();
            if quotas.named(named).is_some() {
                quotas.rules.retain(|rule| rule.name != named);
                txn = quotas.plan_save(ctx, revision)?;
            }
            return Ok(Plan { txn, reply: Reply::no_content() });
        }
    };
    Ok(Reply::json(&reply).into())
}

fn described(rule: &Rule) -> Value {
    json!({
        "block_interval": rule.block_interval_s,
        "inheritable": rule.path.is_empty(),
        "interval": rule.interval_s,
        "name": rule.name,
        "path": rule.path,
        "rate": number(rule.rate),
        "role": rule.role,
        "type": "rate-limit",
    })
}

/// Whole numbers without a point, as Go writes them.
fn number(rate: f64) -> Value {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if rate.fract() == 0.0 && rate < EXACT_MAX { json!(rate as u64) } else { json!(rate) }
}

fn configure(quotas: &mut Quotas, body: &Map<String, Value>) -> Result<(), Error> {
    if let Some(paths) = fields::texts(body, "rate_limit_exempt_paths")? {
        if paths.len() > EXEMPT_PATHS_MAX {
            return Err(Error::invalid(format!("at most {EXEMPT_PATHS_MAX} paths can be exempt")));
        }
        quotas.exempt_paths = paths.iter().map(|path| bounded(path)).collect::<Result<_, _>>()?;
    }
    quotas.with_headers =
        fields::boolean(body, "enable_rate_limit_response_headers")?.unwrap_or(quotas.with_headers);
    quotas.with_audit =
        fields::boolean(body, "enable_rate_limit_audit_logging")?.unwrap_or(quotas.with_audit);
    Ok(())
}

/// The rule that `body` tells; what it leaves out stays as it was `before`.
fn parse(
    name: &str,
    before: Option<&Rule>,
    body: &Map<String, Value>,
    mounted: &dyn Fn(&str) -> Option<Mounted>,
) -> Result<Rule, Error> {
    check_name(name)?;
    if fields::text(body, "type")?.is_some_and(|kind| !matches!(kind.as_str(), "" | "rate-limit")) {
        return Err(Error::invalid("'type' is invalid: at this path it is rate-limit"));
    }
    let path = placed_in(body, before.map(|rule| rule.path.as_str()), mounted)?;
    let role = check_role(body, before.map(|rule| rule.role.as_str()), &path, mounted)?;
    check_inheritable(body, &path)?;
    let rate = rate(body)?.or(before.map(|rule| rule.rate)).unwrap_or_default();
    if !(rate.is_finite() && rate > 0.0) {
        return Err(Error::invalid("'rate' is invalid"));
    }
    let interval_s = match seconds(body, "interval")? {
        None | Some(0) => before.map_or(1, |rule| rule.interval_s),
        Some(given) => given,
    };
    let block_interval_s =
        seconds(body, "block_interval")?.or(before.map(|rule| rule.block_interval_s)).unwrap_or_default();
    Ok(Rule { name: name.to_owned(), path, role, rate, interval_s, block_interval_s })
}

/// # Errors
/// [`Error::Invalid`]: no rule can have this name.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Error::invalid(format!("a quota's name has at most {NAME_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// The rule's path as `body` says it, or as it was.
pub(super) fn placed_in(
    body: &Map<String, Value>,
    before: Option<&str>,
    mounted: &dyn Fn(&str) -> Option<Mounted>,
) -> Result<String, Error> {
    match fields::text(body, "path")? {
        Some(path) => placed(&bounded(&path)?, &|path| mounted(path).is_some()),
        None => Ok(before.unwrap_or_default().to_owned()),
    }
}

/// There is one namespace.
pub(super) fn check_inheritable(body: &Map<String, Value>, path: &str) -> Result<(), Error> {
    match fields::boolean(body, "inheritable")? {
        Some(inheritable) if inheritable != path.is_empty() => {
            Err(Error::invalid("'inheritable' is true for the quota without a path, and for no other"))
        }
        _ => Ok(()),
    }
}

/// The rule's role as `body` says it, or as it was: one of logins at a mount, which `path` must be.
pub(super) fn check_role(
    body: &Map<String, Value>,
    before: Option<&str>,
    path: &str,
    mounted: &dyn Fn(&str) -> Option<Mounted>,
) -> Result<String, Error> {
    let role = fields::text(body, "role")?.unwrap_or_else(|| before.unwrap_or_default().to_owned());
    if role.is_empty() {
        return Ok(role);
    }
    if !path.is_empty() && !path.ends_with('/') {
        return Err(Error::invalid(
            "Quotas cannot contain both a path suffix and a role. If a role is provided, path must be a valid auth \
             mount with a concept of roles",
        ));
    }
    let Some(mount) = mounted(path).filter(|mount| mount.is_auth) else {
        return Err(Error::invalid(format!(
            "Mount path {path:?} is not a valid auth method and therefore unsuitable for use with role-based quotas"
        )));
    };
    if !mount.has_roles {
        return Err(Error::invalid(format!(
            "Mount path {path:?} does not support use with role-based quotas"
        )));
    }
    if role.len() > NAME_BYTES_MAX {
        return Err(Error::invalid(format!("a role's name has at most {NAME_BYTES_MAX} bytes")));
    }
    // As the tokens of its logins name it, or the rule would hold for none of them.
    subject(&role).map_err(|_| Error::invalid("no role has such a name"))
}

/// A rule's path: of a mount, or of something below one.
fn placed(path: &str, is_mounted: &dyn Fn(&str) -> bool) -> Result<String, Error> {
    let whole = format!("{}/", path.trim_end_matches('/'));
    if path.is_empty() || is_mounted(&whole) && !path.ends_with('/') && !path.contains('*') {
        return Ok(if path.is_empty() { String::new() } else { whole });
    }
    let mut ends = path.match_indices('/').map(|(at, _)| &path[..=at]);
    if !ends.any(is_mounted) {
        return Err(Error::invalid(format!("invalid mount path {path:?}")));
    }
    Ok(path.to_owned())
}

fn bounded(path: &str) -> Result<String, Error> {
    if path.len() > PATH_BYTES_MAX {
        return Err(Error::invalid(format!("a quota's path has at most {PATH_BYTES_MAX} bytes")));
    }
    Ok(path.trim_start_matches('/').to_owned())
}

fn rate(body: &Map<String, Value>) -> Result<Option<f64>, Error> {
    let refuse = || Error::invalid("error converting input for field \"rate\": expected a number");
    match body.get("rate") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => number.as_f64().map(Some).ok_or_else(refuse),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| refuse()),
        Some(_) => Err(refuse()),
    }
}

fn seconds(body: &Map<String, Value>, name: &str) -> Result<Option<u64>, Error> {
    let Some(given) = fields::duration_s(body, name)? else { return Ok(None) };
    let within = u64::try_from(given).ok().filter(|given| *given <= INTERVAL_S_MAX);
    let refuse = || {
        Error::invalid(format!(
            "error converting input for field {name:?}: expected 0 to {INTERVAL_S_MAX} seconds"
        ))
    };
    within.map(Some).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::seeded;
    use crate::seal::testing::{NOW_MS, barrier};
    use crate::view::testing::MemoryView;

    fn ask(state: &mut MemoryView, request: QuotaRequest, named: &str, body: &Value) -> Result<Value, Error> {
        let (barrier, mut rng) = (barrier(), seeded(1));
        let mounted = |path: &str| {
            let is_there = matches!(path, "secret/" | "auth/token/" | "auth/approle/" | "sys/");
            let (is_auth, has_roles) = (path.starts_with("auth/"), path == "auth/approle/");
            is_there.then_some(Mounted { uuid: None, is_auth, has_roles })
        };
        let plan = {
            let mut ctx = Context { view: &*state, barrier: &barrier, now_ms: NOW_MS, rng: &mut rng };
            handle(&mut ctx, request, named, body.as_object().unwrap_or(&Map::new()), &mounted)?
        };
        state.apply(&plan.txn).unwrap();
        Ok(plan.reply.data.map_or(Value::Null, |data| serde_json::from_slice(&data).unwrap()))
    }

    #[test]
    fn a_rule_is_read_as_openbao_tells_it_and_changed_in_part() {
        let mut state = MemoryView::default();
        assert_eq!(ask(&mut state, QuotaRequest::List, "", &Value::Null), Err(Error::NotFound));
        let body = json!({ "rate": 1.5, "path": "secret/", "interval": "2s", "block_interval": "10s" });
        ask(&mut state, QuotaRequest::Write, "b", &body).unwrap();
        let told = json!({"block_interval":10,"inheritable":false,"interval":2,"name":"b","path":"secret/","rate":1.5,
            "role":"","type":"rate-limit"});
        assert_eq!(ask(&mut state, QuotaRequest::Read, "b", &Value::Null).unwrap(), told);
        ask(&mut state, QuotaRequest::Write, "b", &json!({ "rate": "20" })).unwrap();
        let told = ask(&mut state, QuotaRequest::Read, "b", &Value::Null).unwrap();
        assert_eq!(
            (&told["rate"], &told["interval"], &told["path"]),
            (&json!(20), &json!(2), &json!("secret/"))
        );
        assert_eq!(ask(&mut state, QuotaRequest::List, "", &Value::Null).unwrap(), json!({"keys": ["b"]}));
        ask(&mut state, QuotaRequest::Delete, "b", &Value::Null).unwrap();
        ask(&mut state, QuotaRequest::Delete, "b", &Value::Null).unwrap();
        assert_eq!(ask(&mut state, QuotaRequest::Read, "b", &Value::Null), Err(Error::NotFound));
    }

    #[test]
    fn what_limits_nothing_is_refused() {
        let mut state = MemoryView::default();
        ask(&mut state, QuotaRequest::Write, "first", &json!({ "rate": 1, "path": "secret" })).unwrap();
        for body in [
            json!({}),
            json!({ "rate": 0 }),
            json!({ "rate": -1 }),
            json!({ "rate": "NaN" }),
            json!({ "rate": "abc" }),
            json!({ "rate": 1, "interval": -2 }),
            json!({ "rate": 1, "interval": "999999h" }),
            json!({ "rate": 1, "path": "nomount/" }),
            json!({ "rate": 1, "path": "nomount/x" }),
            json!({ "rate": 1, "path": "secret/" }),
            json!({ "rate": 1, "path": "secret/", "inheritable": true }),
            json!({ "rate": 1, "role": "x", "path": "auth/token" }),
            json!({ "rate": 1, "role": "x", "path": "secret" }),
            json!({ "rate": 1, "role": "x", "path": "auth/approle/login" }),
            json!({ "rate": 1, "role": "x" }),
            json!({ "rate": 1, "type": "lease-count" }),
        ] {
            let refused = ask(&mut state, QuotaRequest::Write, "x", &body);
            assert!(matches!(refused, Err(Error::Invalid(_))), "{body}: {refused:?}");
        }
        assert_eq!(
            ask(&mut state, QuotaRequest::List, "", &Value::Null).unwrap(),
            json!({"keys": ["first"]})
        );
    }

    #[test]
    fn a_rule_may_be_for_the_logins_of_a_role() {
        let mut state = MemoryView::default();
        for (name, role) in [("a", "x"), ("b", "y"), ("c", "")] {
            let body = json!({ "rate": 1, "role": role, "path": "auth/approle" });
            ask(&mut state, QuotaRequest::Write, name, &body).unwrap();
        }
        let told = ask(&mut state, QuotaRequest::Read, "a", &Value::Null).unwrap();
        assert_eq!((&told["role"], &told["path"]), (&json!("x"), &json!("auth/approle/")));
        for twin in ["x", "X"] {
            let twin = json!({ "rate": 1, "role": twin, "path": "auth/approle" });
            let refused = ask(&mut state, QuotaRequest::Write, "d", &twin);
            assert!(matches!(refused, Err(Error::Invalid(_))));
        }
        ask(&mut state, QuotaRequest::Write, "a", &json!({ "role": "Z", "path": "auth/approle" })).unwrap();
        assert_eq!(ask(&mut state, QuotaRequest::Read, "a", &Value::Null).unwrap()["role"], "z");
    }

    #[test]
    fn what_is_spared_can_be_said() {
        let mut state = MemoryView::default();
        let told = ask(&mut state, QuotaRequest::ReadConfig, "", &Value::Null).unwrap();
        assert_eq!(told["rate_limit_exempt_paths"].as_array().unwrap().len(), 7);
        let body = json!({ "rate_limit_exempt_paths": "secret/data/x,sys/*", "enable_rate_limit_response_headers": true });
        ask(&mut state, QuotaRequest::WriteConfig, "", &body).unwrap();
        let told = ask(&mut state, QuotaRequest::ReadConfig, "", &Value::Null).unwrap();
        assert_eq!(told["rate_limit_exempt_paths"], json!(["secret/data/x", "sys/*"]));
        assert_eq!(told["enable_rate_limit_response_headers"], json!(true));
        assert_eq!(told["enable_rate_limit_audit_logging"], json!(false));
    }
}
