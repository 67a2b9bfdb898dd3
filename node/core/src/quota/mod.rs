//! Rate limits: what a client may ask of a path in a while. Rules are replicated; each node counts for itself, for the
//! clients that ask it.
//!
//! Of all rules that fit a path only the most specific one counts, as in Vault. How many leases there may be: [`leases`].

pub mod api;
pub mod lease_api;
pub mod leases;

use std::cell::OnceCell;
use std::cmp::Reverse;

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use crate::crypto::{Barrier, Kind, plain_key};
use crate::error::Error;
use crate::plan::Context;
use crate::stored;
use crate::view::View;

/// Rules of a cluster at most: each request is held against them.
const RULES_MAX: usize = 1_000;
/// Paths that are spared, at most.
const EXEMPT_PATHS_MAX: usize = 1_000;
/// Below this path nothing is ever refused: whoever set a limit too low must be able to undo it. OpenBao counts these
/// requests too, and an operator can lock all out, themselves included.
const NEVER_REFUSED: &str = "sys/quotas/";
/// What is spared unless an operator says otherwise: what a cluster is watched and opened with.
const EXEMPT_PATHS: [&str; 7] = [
    "sys/generate-recovery-token/attempt",
    "sys/generate-recovery-token/update",
    "sys/generate-root/attempt",
    "sys/generate-root/update",
    "sys/health",
    "sys/seal-status",
    "sys/unseal",
];

/// How often each client may ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub name: String,
    /// Empty: every path. With a slash at its end: all below. With a star: all that begin so. Else this very path.
    pub path: String,
    /// Logins with this role at the mount; empty: all requests.
    #[serde(default)]
    pub role: String,
    /// Requests in an interval; above 0.
    pub rate: f64,
    pub interval_s: u64,
    /// How long a client that asked too often is refused everything here, in seconds; 0: until it may ask again.
    pub block_interval_s: u64,
}

impl Rule {
    /// Requests that a client may make at once. A part of one counts as one.
    pub fn burst(&self) -> u32 {
        self.rate.ceil().clamp(1.0, f64::from(u32::MAX)) as u32
    }

    fn fits(&self, path: &str) -> bool {
        match self.path.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None if self.path.is_empty() => true,
            None if self.path.ends_with('/') => path.starts_with(&self.path),
            None => path.trim_end_matches('/') == self.path,
        }
    }

    /// Rules for a role come first; then those for one path before those for a beginning, those before a mount's, and
    /// longer ones before shorter.
    fn precedence(&self) -> (bool, u8, Reverse<usize>) {
        let class = match self.path.chars().last() {
            None => 3,
            Some('/') => 2,
            Some('*') => 1,
            Some(_) => 0,
        };
        (self.role.is_empty(), class, Reverse(self.path.len()))
    }
}

/// All rules, and what holds for all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quotas {
    rules: Vec<Rule>,
    exempt_paths: Vec<String>,
    /// Answers tell how much is left.
    pub with_headers: bool,
    /// Whoever is refused is recorded too.
    pub with_audit: bool,
}

impl Default for Quotas {
    fn default() -> Self {
        let exempt_paths = EXEMPT_PATHS.map(str::to_owned).to_vec();
        Self { rules: Vec::new(), exempt_paths, with_headers: false, with_audit: false }
    }
}

impl Quotas {
    /// All rules with the revision of their record; 0 before anybody has made one.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::View`].
    pub fn load(view: &dyn View, barrier: &Barrier) -> Result<(Self, u64), Error> {
        let stored = stored::load(view, barrier, &record_key(), 0)?;
        Ok(stored.map_or_else(Default::default, |stored| (stored.value, stored.revision)))
    }

    /// The rule that counts for a request to `path`, if there is one, and its place among [`Quotas::rules`]. `role_of`: the
    /// role that it would log in with; asked only if a rule depends on it.
    pub fn rule_for(&self, path: &str, role_of: impl Fn() -> Option<String>) -> Option<(usize, &Rule)> {
        if self.rules.is_empty() || path.starts_with(NEVER_REFUSED) || self.is_exempt(path) {
            return None;
        }
        let role = OnceCell::new();
        let is_by = |rule: &Rule| {
            rule.role.is_empty() || role.get_or_init(&role_of).as_deref() == Some(rule.role.as_str())
        };
        self.rules.iter().enumerate().find(|(_, rule)| rule.fits(path) && is_by(rule))
    }

    /// In the order of their precedence.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    fn is_exempt(&self, path: &str) -> bool {
        self.exempt_paths.iter().any(|exempt| match exempt.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => exempt == path,
        })
    }

    fn named(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    fn insert(&mut self, rule: Rule) -> Result<(), Error> {
        self.rules.retain(|other| other.name != rule.name);
        if let Some(twin) = self.rules.iter().find(|other| other.path == rule.path && other.role == rule.role)
        {
            let name = &twin.name;
            let sentence = format!("quota rule with similar properties exists under the name {name:?}");
            return Err(Error::invalid(sentence));
        }
        if self.rules.len() >= RULES_MAX {
            return Err(Error::invalid(format!("a cluster has at most {RULES_MAX} quota rules")));
        }
        self.rules.push(rule);
        self.rules.sort_by_key(Rule::precedence);
        Ok(())
    }

    fn plan_save(&self, ctx: &mut Context<'_>, before: u64) -> Result<Txn, Error> {
        let (key, mut txn) = (record_key(), Txn::default());
        txn.require(key.clone(), before);
        stored::put(ctx, &mut txn, &key, "quotas", self, 0)?;
        Ok(txn)
    }
}

/// Where all rules lie: its revision tells whether they changed.
pub fn record_key() -> Vec<u8> {
    plain_key(Kind::Quotas)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(paths: &[&str]) -> Quotas {
        let mut quotas = Quotas::default();
        for path in paths {
            let rule = Rule {
                name: format!("for {path}"),
                path: (*path).to_owned(),
                role: String::new(),
                rate: 1.0,
                interval_s: 1,
                block_interval_s: 0,
            };
            quotas.insert(rule).unwrap();
        }
        quotas
    }

    #[test]
    fn the_most_specific_rule_counts_and_no_other() {
        let quotas =
            quotas(&["", "secret/", "secret/data/*", "secret/data/a*", "secret/data/app", "auth/token/"]);
        for (path, rule) in [
            ("secret/data/app", "secret/data/app"),
            ("secret/data/apple", "secret/data/a*"),
            ("secret/data/b", "secret/data/*"),
            ("secret/metadata/app", "secret/"),
            ("auth/token/create", "auth/token/"),
            ("secretive/data/app", ""),
            ("sys/mounts", ""),
        ] {
            assert_eq!(quotas.rule_for(path, || None).unwrap().1.path, rule, "{path}");
        }
    }

    #[test]
    fn what_opens_the_cluster_and_what_undoes_a_limit_is_spared() {
        let quotas = quotas(&["", "sys/quotas/rate-limit/x"]);
        for spared in ["sys/health", "sys/unseal", "sys/quotas/config", "sys/quotas/rate-limit/x"] {
            assert_eq!(quotas.rule_for(spared, || None), None, "{spared}");
        }
        assert!(quotas.rule_for("sys/healthy", || None).is_some());
    }

    #[test]
    fn a_rule_for_a_role_counts_before_all_others_and_for_its_logins_only() {
        let mut quotas = quotas(&["", "auth/approle/", "auth/approle/login"]);
        let role = Rule { name: "r".to_owned(), role: "ci".to_owned(), ..quotas.rules[1].clone() };
        quotas.insert(role).unwrap();
        let rule_for = |path, role: Option<&str>| {
            let (_, rule) = quotas.rule_for(path, || role.map(str::to_owned)).unwrap();
            (rule.path.as_str(), rule.role.as_str())
        };
        assert_eq!(rule_for("auth/approle/login", Some("ci")), ("auth/approle/", "ci"));
        assert_eq!(rule_for("auth/approle/login", Some("other")), ("auth/approle/login", ""));
        assert_eq!(rule_for("auth/approle/login", None), ("auth/approle/login", ""));
        assert_eq!(rule_for("auth/other/login", Some("ci")), ("", ""));
    }

    #[test]
    fn nobody_asks_for_a_role_unless_a_rule_depends_on_it() {
        let quotas = quotas(&["", "auth/approle/"]);
        assert!(quotas.rule_for("auth/approle/login", || panic!("asked")).is_some());
    }

    #[test]
    fn a_part_of_a_request_counts_as_one() {
        let burst = |rate| Rule { rate, ..quotas(&[""]).rules[0].clone() }.burst();
        assert_eq!((burst(0.1), burst(1.5), burst(100.0), burst(1e300)), (1, 2, 100, u32::MAX));
    }
}
