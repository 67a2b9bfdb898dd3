//! The house rules, as tests: who may depend on whom, what sources may hold, what lies where.
//!
//! Each rule is a function from text to findings and is itself tested with an example that it must catch.
//! A finding says what to do instead. Nothing here looks at what the program does: that is every other test's work.

mod advisories;
mod edges;
mod faults;
mod packages;
mod rules;
mod sources;
mod tree;

use std::path::{Path, PathBuf};

/// The workspace's root: this crate lies directly below it.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the node crate lies below the workspace root")
}

/// Every file of the project, as paths below the root, in order; what Git ignores by name is left out.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the project's folders can be read") {
            let path = entry.expect("the project's folders can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if matches!(name.as_str(), ".git" | "target" | "__pycache__" | "dev-cluster") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root()).expect("found below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    let bytes =
        std::fs::read(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Fails with every finding at once, so that one run shows the whole list.
#[track_caller]
fn assert_clean(findings: &[String]) {
    assert!(findings.is_empty(), "{} findings:\n  {}", findings.len(), findings.join("\n  "));
}
