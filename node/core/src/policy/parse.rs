//! A policy: rules, each a path and what is granted there, read from HCL or JSON.

use std::collections::BTreeMap;

use serde_json::Value;

use super::capability::{Capabilities, Capability};
use super::constraint::{Constraints, Values, WrapBounds};
use super::document::{self, DocumentError, Entry, Node};
use super::pattern::PathTemplate;
use crate::duration;

/// Rules in one policy at most.
pub const RULES_MAX: usize = 2_000;
/// Longest comment of a rule, in bytes.
const COMMENT_BYTES_MAX: usize = 1024;
/// Longest key of a document that is repeated to its author, in bytes.
const REPEATED_KEY_BYTES_MAX: usize = 32;

const RULE_KEYS: &str = "capabilities, policy, allowed_parameters, denied_parameters, required_parameters, \
    min_wrapping_ttl, max_wrapping_ttl, pagination_limit, expiration, comment";

/// Keys that OpenBao has and we have not. To ignore them would grant more than their author meant.
const NOT_SUPPORTED: [&str; 3] = ["control_group", "mfa_methods", "list_scan_response_keys_filter_path"];

/// A policy as its author wrote it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    pub rules: Vec<Rule>,
}

/// What is granted at one path.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub path: PathTemplate,
    pub capabilities: Capabilities,
    pub constraints: Constraints,
    /// From then on the rule does not count. Unix milliseconds of the cluster's time.
    pub expires_ms: Option<u64>,
    pub comment: Option<String>,
    /// Where it stands, counted from 1; 0 in JSON.
    pub line: u32,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// A sentence for the author, with the line where it is known.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let mut rules = Vec::new();
        for entry in document::parse(text)? {
            match entry.name.as_str() {
                "path" => paths(entry, &mut rules)?,
                // Vault takes a name here and does not look at it.
                "name" => {}
                _ => return Err(unknown_key(&entry, "path, name")),
            }
            if rules.len() > RULES_MAX {
                return Err(DocumentError::whole(format!("a policy has at most {RULES_MAX} rules")));
            }
        }
        Ok(Self { rules })
    }

    /// Whether what it grants depends on who asks.
    pub fn is_templated(&self) -> bool {
        self.rules.iter().any(|rule| rule.path.is_templated())
    }
}

/// `path "x" {...}`, or in JSON an object of paths, or a list of such objects.
fn paths(entry: Entry, rules: &mut Vec<Rule>) -> Result<(), DocumentError> {
    let refuse =
        |line| DocumentError::at(line, "a rule is written: path \"a/b\" { capabilities = [\"read\"] }");
    match entry.node {
        Node::Map(paths) => {
            for path in paths {
                rules.push(rule(path)?);
            }
        }
        Node::List(items) => {
            for node in items {
                let Node::Map(_) = node else { return Err(refuse(entry.line)) };
                paths(Entry { name: String::new(), line: entry.line, node }, rules)?;
            }
        }
        Node::Scalar(_) => return Err(refuse(entry.line)),
    }
    Ok(())
}

fn rule(entry: Entry) -> Result<Rule, DocumentError> {
    let line = entry.line;
    let refuse = |sentence: &str| DocumentError::at(line, sentence);
    let Node::Map(settings) = entry.node else {
        return Err(refuse("a rule is written: path \"a/b\" { capabilities = [\"read\"] }"));
    };
    let path = PathTemplate::parse(&entry.name).map_err(refuse)?;
    let mut rule = Rule {
        path,
        capabilities: Capabilities::NONE,
        constraints: Constraints::default(),
        expires_ms: None,
        comment: None,
        line,
    };
    let mut wrap = WrapBounds::default();
    let mut seen = Vec::with_capacity(settings.len());
    for setting in settings {
        if seen.contains(&setting.name) {
            return Err(DocumentError::at(setting.line, "a rule sets the same key twice"));
        }
        seen.push(setting.name.clone());
        apply(setting, &mut rule, &mut wrap)?;
    }
    if matches!((wrap.min_s, wrap.max_s), (Some(min), Some(max)) if max < min) {
        return Err(refuse("max_wrapping_ttl cannot be less than min_wrapping_ttl"));
    }
    rule.constraints.wrap = wrap;
    if rule.capabilities.denies() {
        // Nothing can be allowed on conditions where nothing is allowed.
        rule.capabilities = rule.capabilities.effective();
        rule.constraints = Constraints::default();
    }
    Ok(rule)
}

fn apply(setting: Entry, rule: &mut Rule, wrap: &mut WrapBounds) -> Result<(), DocumentError> {
    let line = setting.line;
    let constraints = &mut rule.constraints;
    match setting.name.as_str() {
        "capabilities" => capabilities(setting, &mut rule.capabilities)?,
        "policy" => legacy(&setting)?.iter().for_each(|capability| rule.capabilities.insert(*capability)),
        "allowed_parameters" => constraints.allowed = Some(parameters(setting)?),
        "denied_parameters" => constraints.denied = Some(parameters(setting)?),
        "required_parameters" => {
            let names = texts(setting)?;
            constraints.required = names.into_iter().map(|name| name.to_lowercase()).collect();
            constraints.required.sort_unstable();
            constraints.required.dedup();
        }
        "min_wrapping_ttl" => wrap.min_s = wrapping_s(&setting)?,
        "max_wrapping_ttl" => wrap.max_s = wrapping_s(&setting)?,
        "pagination_limit" => constraints.list_limit = list_limit(&setting)?,
        "expiration" => rule.expires_ms = Some(moment_ms(&setting)?),
        "comment" => {
            let comment = setting.node.as_text().filter(|text| text.len() <= COMMENT_BYTES_MAX);
            let refuse =
                || DocumentError::at(line, format!("comment is a text of at most {COMMENT_BYTES_MAX} bytes"));
            rule.comment = Some(comment.ok_or_else(refuse)?.to_owned());
        }
        name if NOT_SUPPORTED.contains(&name) => {
            return Err(DocumentError::at(line, format!("{name} is not supported")));
        }
        _ => return Err(unknown_key(&setting, RULE_KEYS)),
    }
    Ok(())
}

/// A key that is not there is most often a slip, so it is repeated if it looks like one.
fn unknown_key(entry: &Entry, known: &str) -> DocumentError {
    let looks_like_a_key = entry.name.len() <= REPEATED_KEY_BYTES_MAX
        && entry.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let key = if looks_like_a_key { format!("key {:?}", entry.name) } else { "a key".to_owned() };
    DocumentError::at(entry.line, format!("invalid {key}; there are: {known}"))
}

fn texts(setting: Entry) -> Result<Vec<String>, DocumentError> {
    let refuse = || DocumentError::at(setting.line, format!("{} is a list of texts", setting.name));
    let Node::List(items) = &setting.node else { return Err(refuse()) };
    items.iter().map(|item| item.as_text().map(str::to_owned).ok_or_else(refuse)).collect()
}

fn capabilities(setting: Entry, into: &mut Capabilities) -> Result<(), DocumentError> {
    let line = setting.line;
    for name in texts(setting)? {
        let capability = Capability::find(&name).ok_or_else(|| {
            let known: Vec<&str> = Capability::ALL.into_iter().map(Capability::name).collect();
            DocumentError::at(line, format!("invalid capability; there are: {}", known.join(", ")))
        })?;
        into.insert(capability);
    }
    Ok(())
}

/// The one word of Vault's first policies.
fn legacy(setting: &Entry) -> Result<&'static [Capability], DocumentError> {
    use Capability::{Create, Delete, Deny, List, Read, Sudo, Update};
    match setting.node.as_text() {
        Some("deny") => Ok(&[Deny]),
        Some("read") => Ok(&[Read, List]),
        Some("write") => Ok(&[Create, Read, Update, Delete, List]),
        Some("sudo") => Ok(&[Create, Read, Update, Delete, List, Sudo]),
        _ => Err(DocumentError::at(setting.line, "invalid policy; there are: deny, read, write, sudo")),
    }
}

fn parameters(setting: Entry) -> Result<BTreeMap<String, Values>, DocumentError> {
    let refuse = |line| {
        DocumentError::at(line, "parameters are written: { \"name\" = [\"value\"] }, with [] for any value")
    };
    let Node::Map(entries) = setting.node else { return Err(refuse(setting.line)) };
    let mut parameters = BTreeMap::new();
    for entry in entries {
        let Node::List(items) = entry.node else { return Err(refuse(entry.line)) };
        let values: Vec<Value> = items.into_iter().map(Node::into_json).collect();
        if parameters.insert(entry.name.to_lowercase(), Values(values)).is_some() {
            return Err(DocumentError::at(
                entry.line,
                "parameters name one twice; upper and lower case are the same",
            ));
        }
    }
    Ok(parameters)
}

fn wrapping_s(setting: &Entry) -> Result<Option<u64>, DocumentError> {
    let seconds = match &setting.node {
        Node::Scalar(value) => duration::from_json_s(value).ok(),
        _ => None,
    };
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let refuse =
        || DocumentError::at(setting.line, format!("{} is a duration, such as \"90s\"", setting.name));
    // Zero sets no bound, as in Vault.
    Ok(Some(seconds.ok_or_else(refuse)?).filter(|seconds| *seconds > 0))
}

fn list_limit(setting: &Entry) -> Result<Option<u64>, DocumentError> {
    let limit = match &setting.node {
        Node::Scalar(Value::Number(number)) => number.as_u64(),
        Node::Scalar(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let refuse = || DocumentError::at(setting.line, "pagination_limit is a whole number; 0 sets no limit");
    Ok(Some(limit.ok_or_else(refuse)?).filter(|limit| *limit > 0))
}

/// RFC 3339, or whole seconds since 1970, as a number or as text.
fn moment_ms(setting: &Entry) -> Result<u64, DocumentError> {
    let moment = match &setting.node {
        Node::Scalar(Value::Number(number)) => number.as_i64().and_then(of_seconds),
        Node::Scalar(Value::String(text)) => match text.parse() {
            Ok(seconds) => of_seconds(seconds),
            Err(_) => text.parse().ok(),
        },
        _ => None,
    };
    let moment_ms = moment.and_then(|moment: jiff::Timestamp| u64::try_from(moment.as_millisecond()).ok());
    moment_ms.ok_or_else(|| {
        DocumentError::at(setting.line, "expiration is a moment such as \"2030-01-02T15:04:05Z\"")
    })
}

fn of_seconds(seconds: i64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(seconds).ok()
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
