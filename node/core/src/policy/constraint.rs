//! Under which conditions a rule grants: parameters of the request, wrapping of the answer, the size of a page.
//!
//! The order of checks and the rules for merging are Vault's; `docs/2026-11-23-policies.md` says where we are stricter.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::decide::{Access, Reason};
use crate::plan::{LIMIT, Operation};

/// Stands for every parameter that is not named.
const ANY: &str = "*";
/// What clients ask for when they take pages of any size.
const LIMIT_MAX: &str = "max";

/// Values of one parameter; none means any value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Values(pub Vec<Value>);

pub type Parameters = BTreeMap<String, Values>;

/// Bounds of how long an answer may lie wrapped, in seconds. With either, an answer must be wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WrapBounds {
    pub min_s: Option<u64>,
    pub max_s: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Constraints {
    /// By lower-case name. `None` and an empty map allow all.
    pub allowed: Option<Parameters>,
    pub denied: Option<Parameters>,
    /// In lower case.
    pub required: Vec<String>,
    pub wrap: WrapBounds,
    /// Most names in one page of a list.
    pub list_limit: Option<u64>,
}

impl Constraints {
    /// Takes in those of another rule for the same pattern. The order in which rules come does not matter.
    pub fn merge(&mut self, other: &Self) {
        merge_parameters(&mut self.allowed, other.allowed.as_ref());
        merge_parameters(&mut self.denied, other.denied.as_ref());
        for name in &other.required {
            if let Err(at) = self.required.binary_search(name) {
                self.required.insert(at, name.clone());
            }
        }
        self.wrap.min_s = smaller(self.wrap.min_s, other.wrap.min_s);
        self.wrap.max_s = smaller(self.wrap.max_s, other.wrap.max_s);
        self.list_limit = smaller(self.list_limit, other.list_limit);
    }

    pub fn check_wrapping(&self, wrap_ttl_s: Option<u64>) -> Result<(), Reason<'_>> {
        let WrapBounds { min_s, max_s } = self.wrap;
        if min_s.is_none() && max_s.is_none() {
            return Ok(());
        }
        let given_s = wrap_ttl_s.ok_or(Reason::MustBeWrapped)?;
        match (min_s, max_s) {
            // Each rule is sound alone, but both together may leave nothing.
            (Some(min), Some(max)) if max < min => Err(Reason::WrapBoundsContradict),
            (_, Some(max)) if given_s > max => Err(Reason::WrapTooLong { max_s: max }),
            (Some(min), _) if given_s < min => Err(Reason::WrapTooShort { min_s: min }),
            _ => Ok(()),
        }
    }

    pub fn check_parameters<'a>(&'a self, given: &'a Map<String, Value>) -> Result<(), Reason<'a>> {
        if let Some(missing) = self.required.iter().find(|name| !given.contains_key(name.as_str())) {
            return Err(Reason::ParameterMissing(missing));
        }
        if given.is_empty() {
            return Ok(());
        }
        if let Some(denied) = self.denied.as_ref().filter(|denied| !denied.is_empty()) {
            if denied.contains_key(ANY) {
                return Err(Reason::ParametersDenied);
            }
            for (name, value) in given {
                if find(denied, name).is_some_and(|values| values.deny(value)) {
                    return Err(Reason::ParameterDenied(name));
                }
            }
        }
        let Some(allowed) = self.allowed.as_ref().filter(|allowed| !allowed.is_empty()) else {
            return Ok(());
        };
        let allows_others = allowed.contains_key(ANY);
        if allows_others && allowed.len() == 1 {
            return Ok(());
        }
        for (name, value) in given {
            match find(allowed, name) {
                Some(values) if values.allow(value) => {}
                Some(_) => return Err(Reason::ValueNotAllowed(name)),
                None if allows_others => {}
                None => return Err(Reason::ParameterNotAllowed(name)),
            }
        }
        Ok(())
    }

    /// How many names a page has for this request, whatever it asked for; `None`: policies set no limit.
    pub fn page(&self, given: Option<&str>) -> Result<Option<u64>, Reason<'_>> {
        let Some(most) = self.list_limit else { return Ok(None) };
        match given {
            // Clients that know no pages get one, unless they are meant to notice.
            None if self.required.iter().any(|name| name == LIMIT) => Err(Reason::LimitMissing),
            None | Some(LIMIT_MAX) => Ok(Some(most)),
            Some(text) => match text.parse() {
                Ok(0) => Ok(Some(most)),
                Ok(limit) if limit <= most => Ok(Some(limit)),
                _ => Err(Reason::LimitRefused { max: most }),
            },
        }
    }

    /// Everything but the page.
    pub fn check<'a>(&'a self, access: &Access<'a>) -> Result<(), Reason<'a>> {
        self.check_wrapping(access.wrap_ttl_s)?;
        match access.operation {
            Operation::Read | Operation::Write | Operation::Patch => self.check_parameters(access.parameters),
            Operation::Delete | Operation::List | Operation::Scan => Ok(()),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn find<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a Values> {
    // Names are mostly in lower case already.
    parameters.get(name).or_else(|| parameters.get(&name.to_lowercase()))
}

fn smaller(left: Option<u64>, right: Option<u64>) -> Option<u64> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (left, right) => left.or(right),
    }
}

fn merge_parameters(into: &mut Option<Parameters>, other: Option<&Parameters>) {
    let Some(other) = other.filter(|other| !other.is_empty()) else { return };
    let into = into.get_or_insert_default();
    for (name, values) in other {
        match into.get_mut(name) {
            None => {
                into.insert(name.clone(), values.clone());
            }
            // Any value: no list narrows that, nor widens it.
            Some(known) if known.0.is_empty() || values.0.is_empty() => known.0.clear(),
            Some(known) => {
                for value in &values.0 {
                    if !known.0.contains(value) {
                        known.0.push(value.clone());
                    }
                }
            }
        }
    }
}

impl Values {
    fn allow(&self, given: &Value) -> bool {
        self.0.is_empty() || self.0.iter().any(|listed| is_same(listed, given))
    }

    /// Stricter than [`allow`](Self::allow) where in doubt: a lone `*` denies every value, and a list is denied for one
    /// of its members: whoever forbids the policy `root` means it in any company.
    fn deny(&self, given: &Value) -> bool {
        self.allow(given)
            || self.0.iter().any(|listed| listed == ANY)
            || given.as_array().is_some_and(|items| items.iter().any(|item| self.deny(item)))
    }
}

/// Scalars are compared by their text, because endpoints take `5` and `"5"` alike; texts may have a `*` at either end.
fn is_same(listed: &Value, given: &Value) -> bool {
    let flag = |flag: bool| if flag { "true" } else { "false" };
    match (listed, given) {
        (Value::String(pattern), Value::String(text)) => is_globbed(pattern, text),
        (Value::String(pattern), Value::Number(number)) => is_globbed(pattern, &number.to_string()),
        (Value::String(pattern), Value::Bool(given)) => is_globbed(pattern, flag(*given)),
        (Value::Number(number), Value::String(text)) => number.to_string() == *text,
        (Value::Bool(listed), Value::String(text)) => flag(*listed) == text,
        (Value::Number(left), Value::Number(right)) => {
            left == right || left.as_f64().is_some_and(|left| right.as_f64() == Some(left))
        }
        _ => listed == given,
    }
}

/// A lone `*` is itself, as in Vault: any value is written `[]`.
fn is_globbed(pattern: &str, text: &str) -> bool {
    if pattern == ANY {
        return pattern == text;
    }
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), Some(_)) => text.contains(&end[..end.len() - 1]),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => pattern == text,
    }
}

#[cfg(test)]
#[path = "constraint_tests.rs"]
mod tests;
