//! What lies where: the rooms at the top, the one door, dated decisions, and versions that stand twice.

use crate::packages::metadata;
use crate::{assert_clean, files, read, root};

/// The rooms and the few files beside them (design: "Rooms"). Anything else belongs into a room.
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".deny.toml",
    ".git",
    ".gitignore",
    ".rustfmt.toml",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "chaos-tests",
    "deploy",
    "node",
    "proto",
    "storage",
    "target",
];

/// Crates that are built in more than one version because two of our dependencies disagree.
/// The list only shrinks: when one is gone, this test says so.
const DOUBLE: &[&str] = &[
    "base64",
    "bit-vec",
    "block-buffer",
    "cpufeatures",
    "crypto-common",
    "digest",
    "foldhash",
    "getrandom",
    "hashbrown",
    "itertools",
    "rand",
    "rand_core",
    "sha2",
    "shlex",
    "syn",
    "synstructure",
];

#[test]
fn the_top_level_stays_as_it_is() {
    let names =
        std::fs::read_dir(root()).expect("the root can be read").flatten().map(|entry| entry.file_name());
    let strangers =
        names.map(|name| name.to_string_lossy().into_owned()).filter(|name| !TOP_LEVEL.contains(&&**name));
    assert_clean(&strangers.map(|name| format!("{name}: put it into a room")).collect::<Vec<_>>());
    for name in TOP_LEVEL.iter().filter(|name| !matches!(**name, "target" | ".git")) {
        assert!(root().join(name).exists(), "{name} is missing");
    }
}

#[test]
fn only_known_crates_are_built_in_two_versions() {
    let versions = metadata().versions();
    let mut findings = Vec::new();
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        if !DOUBLE.contains(name) {
            let versions: Vec<&str> = versions.iter().copied().collect();
            findings
                .push(format!("{name} is built as {}: choose versions that agree", versions.join(" and ")));
        }
    }
    for name in DOUBLE.iter().filter(|name| versions.get(**name).is_none_or(|versions| versions.len() < 2)) {
        findings.push(format!("{name} is no longer double: take it off the list"));
    }
    assert_clean(&findings);
}

#[test]
fn ci_runs_the_one_door_and_nothing_else() {
    let script = read(".ci/run".as_ref());
    let commands: Vec<&str> = script
        .lines()
        .map(str::trim)
        .filter(|line| {
            !line.is_empty()
                && !line.starts_with('#')
                && !line.starts_with("set ")
                && !line.starts_with("cd ")
        })
        .collect();
    assert_eq!(commands, ["exec make test"]);
}

#[test]
fn decisions_are_named_by_date_and_subject() {
    let dated = |name: &str| {
        let (date, subject) = name.split_at_checked(11).unwrap_or((name, ""));
        let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
        let parts: Vec<&str> = date.split('-').collect();
        let is_date = parts.len() == 4 && parts[..3].iter().all(|part| digits(part)) && parts[0].len() == 4;
        is_date && subject.len() > 3 && subject.ends_with(".md")
    };
    assert!(dated("2026-11-22-raft-alpha.md"));
    assert!(!dated("raft-alpha.md"));
    assert!(!dated("0012-raft-alpha.md"));
    // What is kept up to date is no decision of a day.
    let kept = ["node/docs/advisories.md"];
    let is_decision = |path: &&std::path::PathBuf| {
        path.starts_with("node/docs") && !kept.iter().any(|kept| path.as_os_str() == *kept)
    };
    for path in files().iter().filter(is_decision) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        assert!(dated(&name), "{}: name it YYYY-MM-DD-subject.md", path.display());
    }
}
