//! All policies of one caller, compiled: from a path to the one rule that decides it.
//!
//! A rule without wildcards for exactly this path decides. Otherwise the matching patterns are compared, and the
//! first difference decides which comes first: the later first wildcard; no `*` at the end; fewer `+`; the longer; the
//! greater by its bytes. The first wildcard stands where the pattern's literal head ends, so patterns are kept by head,
//! in byte order, and the heads that a path begins with are visited from the longest to the shortest: each is found from
//! the one before it. The same pattern in several policies is one rule that unites them.

use std::collections::HashMap;
use std::sync::Arc;

use super::capability::Capabilities;
use super::constraint::Constraints;
use super::name::ROOT;
use super::parse::{Policy, Rule};
use super::pattern::Pattern;
use super::template::Subject;
use crate::error::Error;
use crate::plan::Operation;

/// Policies of one caller at most.
pub const POLICIES_MAX: usize = 1_000;
/// Rules of one caller at most, over all policies.
pub const CALLER_RULES_MAX: usize = 50_000;

/// A policy in force: what compilation needs of one that is stored.
#[derive(Debug, Clone)]
pub struct Named {
    pub name: Arc<str>,
    pub policy: Arc<Policy>,
    /// From then on it does not count, as a whole. Unix milliseconds of the cluster's time.
    pub expires_ms: Option<u64>,
}

/// What a caller may do.
#[derive(Debug, Default)]
pub struct Acl {
    is_root: bool,
    grants: Vec<Grant>,
    exact: HashMap<Box<str>, u32>,
    /// In byte order.
    heads: Vec<Head>,
    /// What some rule could not be, for lack of a value: for explanations.
    void: Vec<Source>,
    expires_ms: Option<u64>,
}

/// The literal beginning of patterns with wildcards.
#[derive(Debug)]
struct Head {
    text: Box<str>,
    /// The longest other head that this one begins with.
    shorter: Option<u32>,
    /// By descending priority.
    grants: Vec<u32>,
}

/// What all policies together grant for one pattern.
#[derive(Debug)]
pub struct Grant {
    pub pattern: Pattern,
    pub capabilities: Capabilities,
    pub constraints: Constraints,
    pub sources: Vec<Source>,
}

/// A rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub policy: Arc<str>,
    /// As written, with its templates.
    pub path: String,
    /// 0 if not known.
    pub line: u32,
    pub capabilities: Capabilities,
    pub comment: Option<String>,
}

impl Acl {
    /// May do everything.
    pub fn root() -> Self {
        Self { is_root: true, ..Self::default() }
    }

    /// Compiles the policies of a caller, as of `now_ms`. Use it until [`Self::expires_ms`], and while the policies and
    /// the subject are those that it was made from.
    ///
    /// # Errors
    /// [`Error::Invalid`]: `root` stands beside others, or there are more policies or rules than one caller may have.
    pub fn compile(policies: &[Named], subject: &Subject, now_ms: u64) -> Result<Self, Error> {
        let is_root = policies.iter().any(|named| *named.name == *ROOT);
        if is_root {
            return if policies.len() == 1 {
                Ok(Self::root())
            } else {
                Err(Error::invalid("the policy root stands alone: a token with it has no others"))
            };
        }
        if policies.len() > POLICIES_MAX {
            return Err(Error::invalid(format!("a caller has at most {POLICIES_MAX} policies")));
        }
        let mut compiler = Compiler { acl: Self::default(), known: HashMap::new(), rules: 0 };
        for named in policies {
            compiler.add(named, subject, now_ms)?;
        }
        Ok(compiler.finish())
    }

    pub fn is_root(&self) -> bool {
        self.is_root
    }

    /// When the first of its rules ends, so that it must be made anew. Unix milliseconds of the cluster's time.
    pub fn expires_ms(&self) -> Option<u64> {
        self.expires_ms
    }

    /// All that is granted, one for each pattern, in no order.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Rules that grant nothing to this caller, because a template in them has no value that could be used.
    pub fn void(&self) -> &[Source] {
        &self.void
    }

    /// The rule that decides about `path`. Lists go by the path with a slash at its end, and then by that without:
    /// whoever may list `a/b` may list `a/b/`, unless a rule for the latter says otherwise.
    pub fn find(&self, path: &str, operation: Operation) -> Option<&Grant> {
        if !matches!(operation, Operation::List | Operation::Scan) {
            return self.exact(path).or_else(|| self.wild(path));
        }
        let bare = path.strip_suffix('/').unwrap_or(path);
        let slashed;
        let prefix = if bare.len() < path.len() {
            path
        } else {
            slashed = format!("{path}/");
            &slashed
        };
        self.exact(prefix)
            .or_else(|| self.exact(bare))
            .or_else(|| self.wild(prefix))
            .or_else(|| self.wild(bare))
    }

    fn exact(&self, path: &str) -> Option<&Grant> {
        self.exact.get(path).map(|&at| &self.grants[at as usize])
    }

    fn wild(&self, path: &str) -> Option<&Grant> {
        self.matching(path).next()
    }

    /// All rules with wildcards that match, by descending priority.
    pub fn matching<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a Grant> {
        // What a path begins with stands before it in byte order, and what stands between begins with that too.
        let last = self.heads.partition_point(|head| *head.text <= *path).checked_sub(1);
        let chain = std::iter::successors(last, |&at| self.heads[at].shorter.map(|shorter| shorter as usize));
        chain
            .map(|at| &self.heads[at])
            .filter_map(|head| Some((head, path.strip_prefix(&*head.text)?)))
            .flat_map(|(head, rest)| {
                let grants = head.grants.iter().map(|&at| &self.grants[at as usize]);
                grants.filter(move |grant| grant.pattern.matches_tail(rest))
            })
    }
}

struct Compiler {
    acl: Acl,
    known: HashMap<Pattern, u32>,
    rules: usize,
}

impl Compiler {
    fn add(&mut self, named: &Named, subject: &Subject, now_ms: u64) -> Result<(), Error> {
        if !self.counts(named.expires_ms, now_ms) {
            return Ok(());
        }
        self.rules += named.policy.rules.len();
        if self.rules > CALLER_RULES_MAX {
            return Err(Error::invalid(format!("a caller has at most {CALLER_RULES_MAX} rules")));
        }
        for rule in &named.policy.rules {
            if self.counts(rule.expires_ms, now_ms) {
                self.add_rule(&named.name, rule, subject);
            }
        }
        Ok(())
    }

    /// Whether something still holds; if so, when it ends.
    fn counts(&mut self, expires_ms: Option<u64>, now_ms: u64) -> bool {
        let Some(expires_ms) = expires_ms else { return true };
        if expires_ms <= now_ms {
            return false;
        }
        self.acl.expires_ms = Some(self.acl.expires_ms.map_or(expires_ms, |first| first.min(expires_ms)));
        true
    }

    fn add_rule(&mut self, policy: &Arc<str>, rule: &Rule, subject: &Subject) {
        let source = Source {
            policy: policy.clone(),
            path: rule.path.text().to_owned(),
            line: rule.line,
            capabilities: rule.capabilities,
            comment: rule.comment.clone(),
        };
        let Ok(pattern) = rule.path.resolve(subject, rule.capabilities.denies()) else {
            self.acl.void.push(source);
            return;
        };
        let Some(&at) = self.known.get(&pattern) else {
            let at = u32::try_from(self.acl.grants.len()).expect("the number of rules is bounded");
            self.known.insert(pattern.clone(), at);
            self.acl.grants.push(Grant {
                pattern,
                capabilities: rule.capabilities,
                constraints: rule.constraints.clone(),
                sources: vec![source],
            });
            return;
        };
        let grant = &mut self.acl.grants[at as usize];
        grant.sources.push(source);
        grant.capabilities = grant.capabilities.united(rule.capabilities);
        if grant.capabilities.denies() {
            grant.constraints = Constraints::default();
        } else {
            grant.constraints.merge(&rule.constraints);
        }
    }

    fn finish(mut self) -> Acl {
        let mut heads: HashMap<String, Vec<u32>> = HashMap::new();
        for (pattern, at) in self.known {
            if pattern.is_exact() {
                self.acl.exact.insert(pattern.stem().into(), at);
            } else {
                heads.entry(pattern.head()).or_default().push(at);
            }
        }
        let grants = &self.acl.grants;
        let mut heads: Vec<Head> = heads
            .into_iter()
            .map(|(text, mut below)| {
                below.sort_by_cached_key(|&at| std::cmp::Reverse(priority(&grants[at as usize].pattern)));
                Head { text: text.into(), shorter: None, grants: below }
            })
            .collect();
        heads.sort_unstable_by(|left, right| left.text.cmp(&right.text));
        // The heads that the current one begins with, the longest last.
        let mut open: Vec<u32> = Vec::new();
        for at in 0..heads.len() {
            while open.last().is_some_and(|&last| !heads[at].text.starts_with(&*heads[last as usize].text)) {
                open.pop();
            }
            heads[at].shorter = open.last().copied();
            open.push(u32::try_from(at).expect("the number of rules is bounded"));
        }
        self.acl.heads = heads;
        self.acl
    }
}

/// Among patterns with the same head: the greater comes first.
fn priority(pattern: &Pattern) -> (bool, std::cmp::Reverse<usize>, usize, String) {
    let stem = pattern.stem();
    (!pattern.is_glob(), std::cmp::Reverse(pattern.wildcards()), stem.len(), stem)
}

#[cfg(test)]
#[path = "acl_tests.rs"]
mod tests;
