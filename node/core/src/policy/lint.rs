//! What in a policy is probably not meant: warnings for its author, when it is written. It is taken all the same.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::capability::{Capabilities, Capability};
use super::parse::{Policy, Rule};
use super::pattern::{Pattern, Segment};
use super::template::{Subject, Variable};

/// Warnings about one policy at most.
const WARNINGS_MAX: usize = 20;
/// The folders of a KV v2 mount.
const VERSIONED_FOLDERS: [&str; 8] =
    ["data", "metadata", "delete", "undelete", "destroy", "subkeys", "detailed-metadata", "config"];

/// Warnings about `policy`, in the order of its rules. `versioned` are the paths of all KV v2 mounts, each with its slash
/// at the end; `now_ms` is the cluster's time.
pub fn lint(policy: &Policy, versioned: &[&str], now_ms: u64) -> Vec<String> {
    let known = Known::of(policy);
    let mut warnings = Vec::new();
    let mut left_out = 0_usize;
    for (number, rule) in policy.rules.iter().enumerate() {
        let mut about_rule = Vec::new();
        about_path(rule, &mut about_rule);
        about_grants(rule, now_ms, &mut about_rule);
        about_versioned(rule, versioned, &mut about_rule);
        known.about(number, policy, &mut about_rule);
        let place =
            if rule.line > 0 { format!("line {}", rule.line) } else { format!("rule {}", number + 1) };
        for warning in about_rule {
            if warnings.len() < WARNINGS_MAX {
                warnings.push(format!("{place}: {warning}"));
            } else {
                left_out += 1;
            }
        }
    }
    if left_out > 0 {
        warnings.push(format!("and {left_out} more warnings"));
    }
    warnings
}

fn about_path(rule: &Rule, warnings: &mut Vec<String>) {
    let mut warn = |sentence: &str| warnings.push(sentence.to_owned());
    let text = rule.path.text();
    let stem = text.strip_suffix('*').unwrap_or(text);
    if rule.path.has_star_inside() {
        warn("`*` is a wildcard only at the end of a path: here it is a sign like any other");
    }
    if text.split('/').any(|part| part != "+" && part.contains('+')) {
        warn("`+` is a wildcard only as a whole segment: here it is a sign like any other");
    }
    if text.starts_with("v1/") {
        warn("paths are written without v1/: this one matches nothing that is mounted");
    }
    if rule.path.variables().any(|variable| *variable == Variable::Unknown) {
        warn("a template names nothing that exists, so that the rule never counts");
    }
    let inner = stem.strip_suffix('/').unwrap_or(stem);
    let is_whole = inner.is_empty() && !text.is_empty();
    if !is_whole && inner.split('/').any(|part| matches!(part, "" | "." | "..")) {
        warn("requests have no empty segment, no `.` and no `..`: the rule never matches");
    }
    let lists = rule.capabilities.has(Capability::List) || rule.capabilities.has(Capability::Scan);
    if text.ends_with('/') && !lists && !rule.capabilities.denies() {
        warn(
            "only lists have a slash at their end, and the rule does not grant list: it never allows anything",
        );
    }
}

fn about_grants(rule: &Rule, now_ms: u64, warnings: &mut Vec<String>) {
    let mut warn = |sentence: &str| warnings.push(sentence.to_owned());
    if rule.capabilities.is_empty() {
        warn(
            "the rule grants nothing, and hides what a less specific one grants: write deny if that is meant",
        );
    }
    if rule.capabilities == Capabilities::of(&[Capability::Sudo]) {
        warn("sudo counts only beside a capability for the request itself, such as update");
    }
    if rule.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
        warn("the rule has expired");
    }
    let Some(allowed) = &rule.constraints.allowed else { return };
    if allowed.is_empty() {
        warn(
            "an empty allowed_parameters allows all: to allow none, write denied_parameters = { \"*\" = [] }",
        );
    }
    if allowed.get("*").is_some_and(|values| !values.0.is_empty()) {
        warn("values of the parameter \"*\" are not looked at: it stands for all others, with any value");
    }
}

fn about_versioned(rule: &Rule, versioned: &[&str], warnings: &mut Vec<String>) {
    let text = rule.path.text();
    let Some((mount, rest)) = versioned.iter().find_map(|mount| Some((mount, text.strip_prefix(mount)?)))
    else {
        return;
    };
    let (stem, is_glob) = rest.strip_suffix('*').map_or((rest, false), |stem| (stem, true));
    let (first, below) = stem.split_once('/').map_or((stem, None), |(first, below)| (first, Some(below)));
    let is_open = first == "+"
        || (is_glob && below.is_none() && VERSIONED_FOLDERS.iter().any(|folder| folder.starts_with(first)));
    if !is_open && !VERSIONED_FOLDERS.contains(&first) && !rest.is_empty() {
        warnings.push(format!(
            "{mount} is a KV v2 mount: its secrets are at {mount}data/..., and listed at {mount}metadata/..."
        ));
    }
    if first != "data" {
        return;
    }
    let lists_only =
        rule.capabilities.iter().all(|capability| matches!(capability, Capability::List | Capability::Scan));
    if lists_only && !rule.capabilities.is_empty() {
        warnings
            .push(format!("the secrets of a KV v2 mount are listed at {mount}metadata/..., not at data/"));
    }
    let constraints = &rule.constraints;
    let named = [&constraints.allowed, &constraints.denied]
        .into_iter()
        .flatten()
        .flat_map(|parameters| parameters.keys());
    let mut named = named.chain(&constraints.required);
    if named.any(|name| !matches!(name.as_str(), "*" | "data" | "options")) {
        warnings.push(
            "a write to a KV v2 secret has the parameters data and options; its fields are below them, where rules do not look"
                .to_owned(),
        );
    }
}

/// The paths of a policy that are the same for everybody.
struct Known {
    patterns: Vec<Option<Pattern>>,
    /// Rules with wildcards, the one that decides first standing first.
    ranked: Vec<usize>,
    /// The first rule that denies, by its path.
    denied: HashMap<Pattern, usize>,
}

impl Known {
    fn of(policy: &Policy) -> Self {
        let nobody = Subject::default();
        let fixed = |rule: &Rule| {
            let is_fixed = !rule.path.is_templated();
            is_fixed.then(|| rule.path.resolve(&nobody, false).ok()).flatten()
        };
        let patterns: Vec<Option<Pattern>> = policy.rules.iter().map(fixed).collect();
        let rank = |number: &usize| {
            patterns[*number].as_ref().map(|pattern| {
                let stem = pattern.stem();
                Reverse((
                    pattern.head().len(),
                    !pattern.is_glob(),
                    Reverse(pattern.wildcards()),
                    stem.len(),
                    stem,
                ))
            })
        };
        let is_wild = |number: &usize| patterns[*number].as_ref().is_some_and(|pattern| !pattern.is_exact());
        let mut ranked: Vec<usize> = (0..patterns.len()).filter(is_wild).collect();
        ranked.sort_by_cached_key(rank);
        let mut denied = HashMap::new();
        for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| rule.capabilities.denies()) {
            if let Some(pattern) = &patterns[number] {
                denied
                    .entry(pattern.clone())
                    .or_insert_with(|| if rule.line > 0 { rule.line as usize } else { number + 1 });
            }
        }
        Self { patterns, ranked, denied }
    }

    fn about(&self, number: usize, policy: &Policy, warnings: &mut Vec<String>) {
        let Some(pattern) = &self.patterns[number] else { return };
        let rule = &policy.rules[number];
        if let Some(place) = self.denied.get(pattern).filter(|_| !rule.capabilities.denies()) {
            warnings.push(format!("nothing of it counts, because the same path is denied at {place}"));
        }
        if pattern.is_exact() {
            return;
        }
        let before = self.ranked.iter().take_while(|&&other| other != number);
        let mut others = before.filter_map(|&other| self.patterns[other].as_ref());
        if let Some(other) = others.find(|other| *other != pattern && covers(other, pattern)) {
            warnings.push(format!(
                "it never decides: {} matches all that it matches and comes first",
                super::print::quoted(&other.to_string())
            ));
        }
    }
}

/// Whether `wide` matches all that `narrow` does.
fn covers(wide: &Pattern, narrow: &Pattern) -> bool {
    let (wides, narrows) = (wide.segments(), narrow.segments());
    let fits = |wide: &Segment, narrow: &Segment| *wide == Segment::Any || wide == narrow;
    if !wide.is_glob() {
        return !narrow.is_glob()
            && wides.len() == narrows.len()
            && wides.iter().zip(narrows).all(|(wide, narrow)| fits(wide, narrow));
    }
    let Some((last, whole)) = wides.split_last() else { return false };
    let Some(at_last) = narrows.get(whole.len()) else { return false };
    let begins = match (last, at_last) {
        (Segment::Literal(start), Segment::Literal(text)) => text.starts_with(&**start),
        (Segment::Literal(start), Segment::Any) => start.is_empty(),
        (Segment::Any, _) => false,
    };
    // A narrow glob may end in the middle of the segment that `wide` asks for as a whole.
    begins && whole.iter().zip(narrows).all(|(wide, narrow)| fits(wide, narrow))
}

#[cfg(test)]
mod tests {
    use super::super::testing::policy;
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn warnings(text: &str) -> Vec<String> {
        lint(&policy(text), &["secret/", "team/kv/"], NOW_MS)
    }

    #[track_caller]
    fn warns(text: &str, part: &str) {
        let warnings = warnings(text);
        assert!(warnings.iter().any(|warning| warning.contains(part)), "{text}: {warnings:?}");
    }

    #[test]
    fn what_is_usual_is_not_warned_of() {
        for text in [
            super::super::builtin::DEFAULT_TEXT,
            super::super::builtin::RESPONSE_WRAPPING_TEXT,
            r#"path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }"#,
            r#"path "secret/*" { policy = "read" }"#,
            r#"path "secret/data/app/*" { policy = "write" } path "secret/metadata/app/" { capabilities = ["list"] }"#,
            r#"path "secret/+/app" { policy = "read" } path "secret/meta*" { policy = "read" }"#,
            r#"path "kv/app" { policy = "read" allowed_parameters = { "x" = [] "*" = [] } }"#,
            r#"path "secret/data/{{identity.entity.id}}/*" { policy = "write" }"#,
            r#"path "a/*" { policy = "read" } path "a/b/*" { policy = "deny" } path "a/b/c" { policy = "read" }"#,
            r#"path "a/+/c/*" { policy = "read" } path "a/b/*" { policy = "read" } path "a/+/c/d" { policy = "read" }"#,
        ] {
            assert_eq!(warnings(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_versioned_secret_without_its_folder_is_warned_of() {
        warns(r#"path "secret/app" { policy = "read" }"#, "line 1: secret/ is a KV v2 mount");
        warns(r#"path "secret/app/*" { policy = "read" }"#, "secret/data/...");
        warns(r#"path "team/kv/x*" { policy = "read" }"#, "team/kv/metadata/...");
        warns(r#"path "secret/data/app/*" { capabilities = ["list"] }"#, "listed at secret/metadata/");
        warns(
            r#"path "secret/data/a" { policy = "write" allowed_parameters = { "key" = [] } }"#,
            "data and options",
        );
    }

    #[test]
    fn rules_that_never_match_are_warned_of() {
        for (path, part) in [
            ("a/*/b", "only at the end"),
            ("a/b+", "whole segment"),
            ("v1/secret/x", "without v1/"),
            ("a//b", "no empty segment"),
            ("a/../b", "no empty segment"),
            ("", "no empty segment"),
            ("a/b/", "only lists"),
            ("a/{{entity.id}}", "names nothing"),
        ] {
            warns(&format!("path {path:?} {{ capabilities = [\"read\"] }}"), part);
        }
    }

    #[test]
    fn rules_that_others_hide_are_warned_of() {
        let never = "it never decides: \"a/*\"";
        warns(r#"path "a/*" { policy = "read" } path "a/+/*" { policy = "write" }"#, never);
        warns(r#"path "a/+/+/b*" { policy = "write" } path "a/*" { policy = "deny" }"#, never);
        warns(
            "path \"a\" { policy = \"read\" }\npath \"a\" { policy = \"deny\" }",
            "line 1: nothing of it counts, because the same path is denied at 2",
        );
    }

    #[test]
    fn rules_that_grant_less_or_more_than_they_seem_to_are_warned_of() {
        warns(r#"path "a" {}"#, "grants nothing");
        warns(r#"path "a" { capabilities = ["sudo"] }"#, "sudo counts only");
        warns(r#"path "a" { policy = "read" expiration = "2006-01-02T15:04:05Z" }"#, "has expired");
        warns(r#"path "a" { policy = "write" allowed_parameters = {} }"#, "allows all");
        warns(r#"path "a" { policy = "write" allowed_parameters = { "*" = ["x"] } }"#, "not looked at");
        warns(r#"{"path": {"b": {"policy": "read"}, "a": {}}}"#, "rule 2: ");
    }

    #[test]
    fn warnings_are_bounded() {
        let warnings = warnings(
            &r#"path "a/b/" { policy = "deny" } path "a//b" { capabilities = ["read"] } "#.repeat(500),
        );
        assert_eq!(warnings.len(), WARNINGS_MAX + 1);
        assert!(warnings[WARNINGS_MAX].starts_with("and 480 more"), "{}", warnings[WARNINGS_MAX]);
    }
}
