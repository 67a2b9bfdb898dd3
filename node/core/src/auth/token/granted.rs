//! Which policies a new token gets: those that its maker may give away, or those that a role allows.

use std::collections::BTreeSet;

use super::identify::Identified;
use super::role::{Role, is_listed};
use crate::error::Error;
use crate::policy::name;

/// What was asked for, and by whom.
pub struct Grant<'a> {
    pub asked: &'a [String],
    pub no_default_policy: bool,
    pub maker: &'a Identified,
    /// Whether the maker has `sudo` where he asks.
    pub may_sudo: bool,
    pub role: Option<&'a Role>,
}

impl Grant<'_> {
    /// The policies, in order, each once.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the maker may not give these away.
    pub fn policies(&self) -> Result<Vec<String>, Error> {
        let mut policies = match self.role {
            Some(role) if role.rules_policies() => self.by_role(role)?,
            _ => self.by_right()?,
        };
        if self.no_default_policy {
            policies.remove(name::DEFAULT);
        }
        if let Some(policy) = policies.iter().find(|policy| !name::is_assignable(policy)) {
            return Err(Error::invalid(format!("cannot assign policy {policy:?}")));
        }
        if policies.contains(name::ROOT) {
            if !self.maker.entry.is_root() {
                return Err(Error::invalid("root tokens may not be created without parent token being root"));
            }
            return Ok(vec![name::ROOT.to_owned()]);
        }
        Ok(policies.into_iter().collect())
    }

    fn asked(&self) -> BTreeSet<String> {
        self.asked.iter().cloned().collect()
    }

    /// Those of the maker, or some of them; any, for who may do everything here.
    fn by_right(&self) -> Result<BTreeSet<String>, Error> {
        let own: BTreeSet<&str> = self.maker.entry.policies.iter().map(String::as_str).collect();
        let may_all = self.may_sudo || self.maker.entry.is_root();
        let mut policies = self.asked();
        if policies.is_empty() {
            policies = own.iter().map(|policy| (*policy).to_owned()).collect();
        }
        if policies.contains(name::ROOT) && !self.maker.entry.is_root() {
            return Err(Error::invalid("root tokens may not be created without parent token being root"));
        }
        let is_own = |policy: &String| own.contains(policy.as_str()) || policy == name::DEFAULT;
        if !may_all && !policies.iter().all(is_own) {
            return Err(Error::invalid("child policies must be subset of parent"));
        }
        let role_refuses = self.role.is_some_and(|role| role.no_default_policy);
        // Who has not got it cannot give it away by not saying so.
        if !self.no_default_policy && !role_refuses && (may_all || own.contains(name::DEFAULT)) {
            policies.insert(name::DEFAULT.to_owned());
        }
        Ok(policies)
    }

    /// Those that the role allows, whatever the maker's are: that is what a role is for. Where it only says what it does not
    /// allow, all others are, but never `root` for who is not.
    fn by_role(&self, role: &Role) -> Result<BTreeSet<String>, Error> {
        let adds_default =
            !self.no_default_policy && !role.no_default_policy && !role.disallows(name::DEFAULT);
        let with_default = |policies: &mut BTreeSet<String>| {
            if adds_default && !policies.contains(name::ROOT) {
                policies.insert(name::DEFAULT.to_owned());
            }
        };
        let mut policies = self.asked();
        if role.limits_policies() {
            let mut allowed: BTreeSet<String> = role.allowed_policies.iter().cloned().collect();
            with_default(&mut allowed);
            if policies.is_empty() {
                policies = allowed;
            } else {
                with_default(&mut policies);
                let allowed: Vec<String> = allowed.into_iter().collect();
                if !policies.iter().all(|policy| is_listed(policy, &allowed, &role.allowed_policies_glob)) {
                    return Err(Error::invalid(format!(
                        "token policies ({}) must be subset of the role's allowed policies ({}) or glob policies ({})",
                        list(&policies),
                        list(&allowed),
                        list(&role.allowed_policies_glob)
                    )));
                }
            }
        } else {
            if policies.is_empty() {
                policies = self.maker.entry.policies.iter().cloned().collect();
            }
            with_default(&mut policies);
        }
        if let Some(policy) = policies.iter().find(|policy| role.disallows(policy)) {
            return Err(Error::invalid(format!("token policy {policy:?} is disallowed by this role")));
        }
        Ok(policies)
    }
}

/// As Go prints a list of texts.
fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("{name:?}")).collect();
    format!("[{}]", names.join(" "))
}
