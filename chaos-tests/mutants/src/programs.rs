//! The test programs, as `cargo test --no-run --message-format=json` tells of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

/// A test program, and the folder that Cargo would run it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub path: PathBuf,
    pub folder: PathBuf,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// By name of the target: `conclave_storage` has the unit tests, `durability` those of that file.
pub fn read(path: &Path) -> anyhow::Result<BTreeMap<String, Program>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let programs = parse(&text)?;
    anyhow::ensure!(!programs.is_empty(), "{} tells of no test program", path.display());
    Ok(programs)
}

fn parse(text: &str) -> anyhow::Result<BTreeMap<String, Program>> {
    let mut programs = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let message: Message = serde_json::from_str(line).context("this is not what cargo writes")?;
        let (Some(target), Some(path), Some(manifest)) =
            (message.target, message.executable, message.manifest_path)
        else {
            continue;
        };
        let is_test = message.profile.is_some_and(|profile| profile.test);
        // A program's own unit tests would have the name of its library's, or of none that is asked for.
        if message.reason == "compiler-artifact" && is_test && !target.kind.contains(&"bin".to_owned()) {
            let folder = manifest.parent().unwrap_or(Path::new(".")).to_owned();
            programs.insert(target.name, Program { path, folder });
        }
    }
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_found_and_nothing_else() {
        let text = r#"
{"reason":"compiler-artifact","manifest_path":"/p/a/Cargo.toml","target":{"name":"a","kind":["lib"]},"profile":{"test":true},"executable":"/t/a-1"}
{"reason":"compiler-artifact","manifest_path":"/p/a/Cargo.toml","target":{"name":"a","kind":["lib"]},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","manifest_path":"/p/a/Cargo.toml","target":{"name":"a","kind":["bin"]},"profile":{"test":false},"executable":"/t/a"}
{"reason":"build-script-executed","package_id":"x"}
{"reason":"build-finished","success":true}
"#;
        let found = parse(text).unwrap();
        let expected = Program { path: "/t/a-1".into(), folder: "/p/a".into() };
        assert_eq!(found, BTreeMap::from([("a".to_owned(), expected)]));
    }
}
