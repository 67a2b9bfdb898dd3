//! What makes a server unfit for use is in no release: neither planted bugs nor fail points.

use crate::packages::metadata;
use crate::{assert_clean, files, read};

/// Cargo features that only the chaos tests may name.
const UNFIT: &[&str] = &["planted-bugs", "fail-points"];
/// The targets of the Makefile whose programs people use or believe figures of.
const FIT_TARGETS: &[&str] = &["setup", "build", "demo", "bench", "test", "verify"];

#[test]
fn no_crate_has_an_unfit_feature_by_default() {
    let metadata = metadata();
    let mut findings = Vec::new();
    let mut looked = 0;
    for node in &metadata.resolve.nodes {
        let Some(package) = metadata.members().find(|package| package.id == node.id) else { continue };
        looked += 1;
        let on = node.features.iter().filter(|feature| UNFIT.contains(&feature.as_str()));
        findings.extend(on.map(|feature| format!("{} has {feature} without being asked", package.name)));
    }
    assert!(looked > 5, "the workspace's crates are among those that are built");
    assert_clean(&findings);
}

#[test]
fn no_target_that_makes_something_to_use_asks_for_an_unfit_feature() {
    assert_clean(&makefile_findings(&read("Makefile".as_ref())));
    let mut findings = Vec::new();
    for path in files().iter().filter(|path| path.starts_with("deploy") || path.starts_with(".ci")) {
        findings.extend(
            unfit_in(&read(path)).into_iter().map(|finding| format!("{}: {finding}", path.display())),
        );
    }
    assert_clean(&findings);
}

fn makefile_findings(text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut target = "";
    for line in text.lines() {
        if !line.starts_with(['\t', '#', ' ']) {
            target = line.split(':').next().unwrap_or_default();
        }
        // Variables at the top belong to every target.
        if FIT_TARGETS.contains(&target) || !line.starts_with('\t') {
            findings.extend(unfit_in(line).into_iter().map(|finding| format!("target {target}: {finding}")));
        }
    }
    findings
}

fn unfit_in(text: &str) -> Vec<String> {
    let words = UNFIT.iter().copied().chain(["--all-features", "CONCLAVE_PLANTED_BUG", "FAILPOINTS"]);
    words.filter(|word| text.contains(word)).map(|word| format!("`{word}` makes the server unfit")).collect()
}

#[test]
fn an_unfit_target_is_found() {
    let good = "build: setup ## x\n\tcargo build --release\nchaos-mutants: ## y\n\tcargo build --features planted-bugs\n";
    assert_eq!(makefile_findings(good), Vec::<String>::new());
    for bad in [
        "build: setup\n\tcargo build --release --features planted-bugs\n",
        "bench: build\n\tcargo build --all-features\n",
        "FLAGS := --features fail-points\n",
        "demo:\n\tCONCLAVE_PLANTED_BUG=x deploy/demo\n",
    ] {
        assert_eq!(makefile_findings(bad).len(), 1, "{bad}");
    }
}
