//! Names that the settings of tokens had once, `policies` for `token_policies`: still taken, and shown if they were used.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::params::{TokenParams, lifetime_s, nets, policies_of};
use crate::error::Error;
use crate::fields;

/// The old names that somebody used, which are shown beside those of today.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OldNames(Vec<String>);

impl OldNames {
    /// All that there are; not every method has had each.
    pub const ALL: [&str; 6] = ["policies", "bound_cidrs", "num_uses", "ttl", "max_ttl", "period"];

    /// Takes over what `body` gives of `params`, also under those of the old names that the method had. The names of today
    /// win.
    ///
    /// # Errors
    /// As [`TokenParams::apply`].
    pub fn apply(
        &mut self,
        params: &mut TokenParams,
        body: &Map<String, Value>,
        names: &[&str],
    ) -> Result<(), Error> {
        for old in names.iter().copied() {
            let (has_new, has_old) = (body.contains_key(&format!("token_{old}")), body.contains_key(old));
            if has_new || has_old {
                self.0.retain(|name| name != old);
            }
            if has_old {
                self.0.push(old.to_owned());
            }
            if has_new || !has_old {
                continue;
            }
            let listed = || Ok::<_, Error>(fields::texts(body, old)?.unwrap_or_default());
            let seconds = || lifetime_s(fields::duration_s(body, old)?.unwrap_or(0), old);
            match old {
                "policies" => params.policies = policies_of(&listed()?)?,
                "bound_cidrs" => params.bound_cidrs = nets(&listed()?, old)?,
                "num_uses" => {
                    let uses = u64::try_from(fields::integer(body, old)?.unwrap_or(0));
                    params.num_uses = uses.map_err(|_| Error::invalid("'num_uses' cannot be negative"))?;
                }
                "ttl" => params.ttl_s = seconds()?,
                "max_ttl" => params.max_ttl_s = seconds()?,
                _ => params.period_s = seconds()?,
            }
        }
        params.apply(body)
    }

    /// Adds those that stand for something; `shown` has the names of today already.
    pub fn show(&self, shown: &mut Map<String, Value>) {
        for name in &self.0 {
            let value = shown.get(&format!("token_{name}")).cloned().unwrap_or_default();
            if value != json!(0) && value != json!([]) {
                shown.insert(name.clone(), value);
            }
        }
    }

    pub fn forget(&mut self, names: &[&str]) {
        self.0.retain(|name| !names.contains(&name.as_str()));
    }
}
