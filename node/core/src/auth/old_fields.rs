//! Names that the settings of tokens had once (`policies` for `token_policies`): still taken, and shown if they were used.

use serde_json::{Map, Value, json};

use super::params::{TokenParams, lifetime_s, nets, policies_of};
use crate::error::Error;
use crate::fields;

/// The old names, each short for one with `token_` before it.
pub const OLD_FIELDS: [&str; 6] = ["policies", "bound_cidrs", "num_uses", "ttl", "max_ttl", "period"];

/// Takes over what `body` gives under old names, and notes in `used` which were used. What is given under a name of today
/// is not for here, and ends the use of the old one.
///
/// # Errors
/// [`Error::Invalid`], naming the field.
pub fn apply(
    params: &mut TokenParams,
    used: &mut Vec<String>,
    body: &Map<String, Value>,
) -> Result<(), Error> {
    for old in OLD_FIELDS {
        let (has_new, has_old) = (body.contains_key(&format!("token_{old}")), body.contains_key(old));
        if has_new || has_old {
            used.retain(|name| name != old);
        }
        if has_new || !has_old {
            continue;
        }
        used.push(old.to_owned());
        let seconds = || lifetime_s(fields::duration_s(body, old)?.unwrap_or(0), old);
        match old {
            "policies" => params.policies = policies_of(&fields::texts(body, old)?.unwrap_or_default())?,
            "bound_cidrs" => params.bound_cidrs = nets(&fields::texts(body, old)?.unwrap_or_default(), old)?,
            "num_uses" => {
                let uses = u64::try_from(fields::integer(body, old)?.unwrap_or(0));
                params.num_uses = uses.map_err(|_| Error::invalid("'num_uses' cannot be negative"))?;
            }
            "ttl" => params.ttl_s = seconds()?,
            "max_ttl" => params.max_ttl_s = seconds()?,
            _ => params.period_s = seconds()?,
        }
    }
    Ok(())
}

/// Adds the old names that were used, unless what they stand for is empty.
pub fn show(used: &[String], shown: &mut Map<String, Value>) {
    for name in used {
        let value = shown.get(&format!("token_{name}")).cloned().unwrap_or_default();
        if value != json!(0) && value != json!([]) {
            shown.insert(name.clone(), value);
        }
    }
}
