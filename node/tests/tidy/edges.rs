//! Who may depend on whom (design: "Rooms"), who may name which library, and under which licences we build.
//!
//! A crate that is not in the table fails: a new room is decided, not slipped in.

use std::collections::BTreeSet;

use crate::packages::{Metadata, metadata};
use crate::{assert_clean, read, root};

/// Our crates, and which of our crates each may depend on, for its program and for its tests.
const EDGES: &[(&str, &[&str], &[&str])] = &[
    ("conclave-proto", &[], &[]),
    ("conclave-client", &["conclave-proto"], &[]),
    ("conclave-faults", &[], &[]),
    ("conclave-storage", &["conclave-proto", "conclave-faults"], &[]),
    ("conclave-core", &["conclave-proto", "conclave-faults"], &[]),
    ("conclave-cli", &["conclave-client"], &["conclave-proto"]),
    // The one binary dispatches to the programs, so node names the CLI; only its tests speak as a client.
    (
        "conclave-node",
        &["conclave-core", "conclave-storage", "conclave-proto", "conclave-faults", "conclave-cli"],
        &["conclave-client"],
    ),
    ("conclave-bench", &["conclave-proto", "conclave-client", "conclave-storage", "conclave-core"], &[]),
    ("conclave-oracle", &[], &[]),
    // Judges from outside: nothing that it believes comes from the server.
    ("conclave-chaos", &["conclave-oracle", "conclave-faults"], &[]),
    // The server itself in other surroundings, judged as from outside.
    ("conclave-sim", &["conclave-oracle", "conclave-proto", "conclave-storage", "conclave-node"], &[]),
    ("conclave-mutants", &["conclave-faults"], &[]),
    ("conclave-fuzz", &["conclave-proto", "conclave-storage", "conclave-core", "conclave-node"], &[]),
];

/// Libraries with few doors: only the crates listed may name them.
const DOORS: &[(&str, &[&str])] = &[
    ("rocksdb", &["conclave-storage"]),
    ("openraft", &["conclave-storage", "conclave-node", "conclave-bench"]),
];

/// What the pure rules must not even be able to name: IO, tasks, the web, storage.
const NEVER_IN_CORE: &[&str] =
    &["axum", "tonic", "tokio", "hyper", "http", "reqwest", "rocksdb", "openraft", "futures", "tracing"];

/// Libraries that no crate may use, and what to use instead.
const BANNED: &[(&str, &str)] = &[
    ("sharks", "blahaj: sharks has biased coefficients (RUSTSEC-2024-0398)"),
    ("axum", "hyper, which the server's door is built on"),
    ("openssl", "rustls"),
    ("native-tls", "rustls"),
    ("bincode", "protobuf, our one format on disk and wire"),
    ("rustls-pemfile", "rustls-pki-types"),
    ("serde_yaml", "toml or serde_json"),
    ("lazy_static", "std::sync::LazyLock"),
    ("once_cell", "std::sync::OnceLock"),
    ("chrono", "jiff"),
];

/// Each asks for a notice at most. The same list stands in `.deny.toml`.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "NCSA",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
    "BSL-1.0",
];

#[test]
fn our_crates_depend_only_on_whom_they_may() {
    let mut findings = Vec::new();
    for package in metadata().members() {
        let Some((_, program, tests)) = EDGES.iter().find(|(name, ..)| *name == package.name) else {
            findings.push(format!("{}: not in the table of rooms: decide where it stands", package.name));
            continue;
        };
        let ours = package.dependencies.iter().filter(|dependency| dependency.name.starts_with("conclave-"));
        for dependency in ours {
            let name = dependency.name.as_str();
            let for_tests = dependency.kind.as_deref() == Some("dev") && tests.contains(&name);
            if !program.contains(&name) && !for_tests {
                findings.push(format!("{} must not depend on {name}", package.name));
            }
        }
    }
    assert_clean(&findings);
}

#[test]
fn the_table_of_rooms_names_no_crate_that_is_gone() {
    let members: BTreeSet<&str> = metadata().members().map(|package| package.name.as_str()).collect();
    for (name, ..) in EDGES {
        assert!(members.contains(name), "{name} is in the table but not in the workspace");
    }
}

#[test]
fn nothing_else_depends_on_the_chaos_tests() {
    let chaos: Vec<&str> = metadata()
        .members()
        .filter(|package| package.manifest_path.contains("/chaos-tests/"))
        .map(|package| package.name.as_str())
        .collect();
    // Among themselves they may: the table above says which.
    for package in metadata().members().filter(|package| !chaos.contains(&package.name.as_str())) {
        for dependency in &package.dependencies {
            assert!(!chaos.contains(&dependency.name.as_str()), "{} -> {}", package.name, dependency.name);
        }
    }
}

#[test]
fn libraries_are_named_only_where_they_may_be() {
    let mut findings = Vec::new();
    for package in metadata().members() {
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let door = DOORS.iter().find(|(library, _)| *library == name);
            if door.is_some_and(|(_, crates)| !crates.contains(&package.name.as_str())) {
                findings.push(format!("{} must not name {name}", package.name));
            }
            if package.name == "conclave-core" && NEVER_IN_CORE.contains(&name) {
                findings.push(format!("the pure rules must not know {name}"));
            }
            if let Some((_, instead)) = BANNED.iter().find(|(library, _)| *library == name) {
                findings.push(format!("{}: instead of {name} use {instead}", package.name));
            }
        }
    }
    assert_clean(&findings);
}

#[test]
fn every_crate_inherits_the_workspace() {
    let mut findings = Vec::new();
    for package in metadata().members() {
        let path =
            std::path::Path::new(&package.manifest_path).strip_prefix(root()).expect("a member lies here");
        findings.extend(
            manifest_findings(&read(path)).into_iter().map(|finding| format!("{}: {finding}", package.name)),
        );
    }
    assert_clean(&findings);
}

/// Lints, edition, licence and every version are said once, in the root.
fn manifest_findings(text: &str) -> Vec<String> {
    let manifest: toml::Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![format!("not TOML: {error}")],
    };
    let inherits = |value: Option<&toml::Value>| {
        value.and_then(|value| value.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
    };
    let mut findings = Vec::new();
    if !inherits(manifest.get("lints")) {
        findings.push("needs `[lints] workspace = true`".to_owned());
    }
    for key in ["version", "edition", "license", "rust-version", "publish"] {
        if !inherits(manifest.get("package").and_then(|package| package.get(key))) {
            findings.push(format!("needs `{key}.workspace = true`"));
        }
    }
    for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(dependencies) = manifest.get(table).and_then(toml::Value::as_table) else { continue };
        for (name, value) in dependencies.iter().filter(|(_, value)| !inherits(Some(value))) {
            findings
                .push(format!("`{name} = {value}`: versions stand in the root: `{name}.workspace = true`"));
        }
    }
    findings
}

#[test]
fn a_manifest_that_goes_its_own_way_is_found() {
    let good = "[package]\nname='x'\nversion.workspace=true\nedition.workspace=true\nlicense.workspace=true\n\
                rust-version.workspace=true\npublish.workspace=true\n[lints]\nworkspace=true\n";
    assert_eq!(manifest_findings(good), Vec::<String>::new());
    assert_eq!(manifest_findings(&format!("{good}[dependencies]\nserde='1'\n")).len(), 1);
    assert_eq!(manifest_findings(&good.replace("[lints]\nworkspace=true", "")).len(), 1);
    assert_eq!(manifest_findings(&good.replace("edition.workspace=true", "edition='2024'")).len(), 1);
}

#[test]
fn every_dependency_has_a_licence_that_asks_for_a_notice_at_most() {
    assert_clean(&licence_findings(metadata()));
}

fn licence_findings(metadata: &Metadata) -> Vec<String> {
    let mut findings = Vec::new();
    for package in &metadata.packages {
        match &package.license {
            Some(expression) if licence_allowed(expression) => {}
            Some(expression) => findings.push(format!("{} {}: {expression}", package.name, package.version)),
            None => findings.push(format!("{} {}: no licence named", package.name, package.version)),
        }
    }
    findings
}

fn licence_allowed(expression: &str) -> bool {
    // Old manifests write `MIT/Apache-2.0` where the standard says `MIT OR Apache-2.0`.
    let Ok(expression) = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX) else { return false };
    expression.evaluate(|requirement| LICENCES.contains(&requirement.to_string().as_str()))
}

#[test]
fn licences_are_read_as_expressions() {
    for good in ["MIT", "MIT/Apache-2.0", "GPL-3.0-only OR MIT", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert!(licence_allowed(good), "{good}");
    }
    for bad in ["GPL-3.0-only", "MIT AND GPL-2.0-only", "MPL-2.0", "proprietary"] {
        assert!(!licence_allowed(bad), "{bad}");
    }
}

#[test]
fn dependencies_come_from_the_registry_or_from_here() {
    const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
    let elsewhere = metadata().packages.iter().filter(|p| p.source.as_deref().is_some_and(|s| s != REGISTRY));
    assert_clean(&elsewhere.map(|p| format!("{} comes from {:?}", p.name, p.source)).collect::<Vec<_>>());
}
