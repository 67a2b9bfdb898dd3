//! Deciding the slow, obvious way, to hold the compiled way against: every rule of every policy is looked at for every
//! question. Shares nothing with it but the parsed rules and how constraints merge.

use std::cmp::Ordering;

use super::acl::Named;
use super::capability::Capabilities;
use super::constraint::Constraints;
use super::parse::Rule;
use crate::plan::Operation;

/// What the rules for the deciding pattern say together.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    pub pattern: String,
    pub capabilities: Capabilities,
    pub constraints: Constraints,
}

/// The rule that decides about `path`, among policies without templates and ends.
pub fn find(policies: &[Named], path: &str, operation: Operation) -> Option<Verdict> {
    let is_list = matches!(operation, Operation::List | Operation::Scan);
    let bare = path.strip_suffix('/').unwrap_or(path);
    let questions = if is_list { vec![format!("{bare}/"), bare.to_owned()] } else { vec![path.to_owned()] };
    let rules: Vec<&Rule> = policies.iter().flat_map(|named| &named.policy.rules).collect();
    let exact = questions
        .iter()
        .find(|path| rules.iter().any(|rule| rule.path.text() == **path && !has_wildcard(path)));
    if let Some(path) = exact {
        return Some(united(&rules, path));
    }
    questions.iter().find_map(|path| {
        let matching = rules
            .iter()
            .map(|rule| rule.path.text())
            .filter(|text| has_wildcard(text) && matches(text, path));
        matching.max_by(|left, right| compare(left, right)).map(|text| united(&rules, text))
    })
}

fn has_wildcard(text: &str) -> bool {
    text.ends_with('*') || text.split('/').any(|part| part == "+")
}

fn matches(text: &str, path: &str) -> bool {
    let stem = text.strip_suffix('*');
    let parts: Vec<&str> = stem.unwrap_or(text).split('/').collect();
    let given: Vec<&str> = path.split('/').collect();
    if given.len() < parts.len() || (stem.is_none() && given.len() != parts.len()) {
        return false;
    }
    parts.iter().zip(&given).enumerate().all(|(number, (part, given))| {
        let is_last = number + 1 == parts.len();
        *part == "+" || part == given || (stem.is_some() && is_last && given.starts_with(part))
    })
}

/// The greater decides.
fn compare(left: &str, right: &str) -> Ordering {
    let first = |text: &str| {
        let mut at = 0;
        for part in text.split('/') {
            if part == "+" {
                return at;
            }
            at += part.len() + 1;
        }
        text.len() - 1
    };
    let wildcards = |text: &str| text.split('/').filter(|part| *part == "+").count();
    let stem = |text: &str| text.strip_suffix('*').unwrap_or(text).to_owned();
    first(left)
        .cmp(&first(right))
        .then(right.ends_with('*').cmp(&left.ends_with('*')))
        .then(wildcards(right).cmp(&wildcards(left)))
        .then(stem(left).len().cmp(&stem(right).len()))
        .then(stem(left).cmp(&stem(right)))
}

fn united(rules: &[&Rule], text: &str) -> Verdict {
    let same: Vec<&&Rule> = rules.iter().filter(|rule| rule.path.text() == text).collect();
    let denied = same.iter().any(|rule| rule.capabilities.denies());
    let mut capabilities = Capabilities::NONE;
    let mut constraints = Constraints::default();
    for rule in same {
        rule.capabilities.iter().for_each(|capability| capabilities.insert(capability));
        constraints.merge(&rule.constraints);
    }
    if denied {
        constraints = Constraints::default();
    }
    Verdict { pattern: text.to_owned(), capabilities: capabilities.effective(), constraints }
}
