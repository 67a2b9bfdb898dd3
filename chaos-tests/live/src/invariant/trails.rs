//! The audit trail of each node is whole, whatever was done to the node: `conclave audit verify` says so, with the heads that
//! the cluster has noted. The trails lie beside the nodes' data, on the same disks.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::cluster::{Cluster, name};

/// The heads that the cluster has noted, as it answers them.
const ANCHORS: &str = "anchors.json";
/// A request that its client gave up may still be written down. What is wrong stays wrong.
const TRIES: u32 = 3;
const TRY_PAUSE: Duration = Duration::from_secs(2);
/// Findings of one trail that are told.
const TOLD_MAX: usize = 5;
/// Bytes that are overwritten at a time.
const WINDOW_BYTES: usize = 1024 * 1024;

/// What was verified, and what was wrong.
#[derive(Debug, Default)]
pub struct Verified {
    pub lines: u64,
    /// Heads noted by the cluster that a line was held against.
    pub anchors: u64,
    pub violations: Vec<String>,
}

/// All nodes serve, and nobody asks them anything.
pub async fn verify(cluster: &Cluster, folder: &Path) -> anyhow::Result<Verified> {
    let noted = cluster.api(0).call(Method::GET, "sys/audit-anchors", None).await?;
    let anchors = folder.join(ANCHORS);
    std::fs::write(&anchors, noted.to_string())?;
    let mut verified = Verified::default();
    for node in 0..cluster.nodes() {
        let mut report = audited(cluster, &anchors, node).await?;
        for _ in 1..TRIES {
            if report["whole"] == true {
                break;
            }
            tokio::time::sleep(TRY_PAUSE).await;
            report = audited(cluster, &anchors, node).await?;
        }
        verified.add(&name(node), &report);
    }
    Ok(verified)
}

async fn audited(cluster: &Cluster, anchors: &Path, node: usize) -> anyhow::Result<Value> {
    let mut command = std::process::Command::new(cluster.program());
    command.args(["audit", "verify", "--format", "json", "--anchors"]).arg(anchors).arg(cluster.trail(node));
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout)
        .map_err(|_| anyhow::anyhow!("the trail of {} cannot be verified: {}", name(node), said.trim()))
}

impl Verified {
    fn add(&mut self, node: &str, report: &Value) {
        let lines = report["lines"].as_u64().unwrap_or(0);
        self.lines += lines;
        self.anchors += report["anchors_met"].as_u64().unwrap_or(0);
        if lines == 0 {
            self.violations.push(format!("{node}: there is nothing in its audit trail"));
        }
        if report["whole"] == true {
            return;
        }
        let findings = report["findings"].as_array().map_or(&[][..], Vec::as_slice);
        let told = findings.iter().take(TOLD_MAX);
        let told = told.map(|found| {
            format!("line {}: {}", found["line"], found["sentence"].as_str().unwrap_or_default())
        });
        let told: Vec<String> = told.collect();
        self.violations.push(format!("{node}: its audit trail is not whole: {}", told.join("; ")));
    }
}

/// Takes the trails off the disks, where names of secrets must not be found: in a trail they stand in clear.
pub fn keep(cluster: &Cluster, folder: &Path) -> anyhow::Result<()> {
    for node in 0..cluster.nodes() {
        let trail = cluster.trail(node);
        if trail.is_file() {
            std::fs::copy(&trail, kept(folder, node))?;
            blank(&trail)?;
        }
    }
    Ok(())
}

/// Overwrites a file where it lies.
fn blank(path: &Path) -> anyhow::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    let mut left = usize::try_from(file.metadata()?.len())?;
    let nothing = vec![0; WINDOW_BYTES];
    while left > 0 {
        let piece = left.min(nothing.len());
        file.write_all(&nothing[..piece])?;
        left -= piece;
    }
    Ok(file.sync_all()?)
}

/// Where the trail of a run's node is kept.
fn kept(folder: &Path, node: usize) -> PathBuf {
    folder.join(format!("{}.{TRAIL_ENDING}", name(node)))
}

/// How the names of trails end.
pub const TRAIL_ENDING: &str = "audit.log";

/// Removes what [`keep`] kept of a node.
pub fn remove(folder: &Path, node: usize) {
    drop(std::fs::remove_file(kept(folder, node)));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_an_empty_trail_is_wrong() {
        let mut verified = Verified::default();
        verified.add("n1", &json!({"whole": true, "lines": 7, "anchors_met": 1}));
        assert_eq!((verified.lines, verified.anchors, verified.violations.len()), (7, 1, 0));
        let found = json!([{"file": 1, "line": 3, "sentence": "this line was changed"}]);
        verified.add("n2", &json!({"whole": false, "lines": 4, "anchors_met": 0, "findings": found}));
        assert_eq!(verified.violations, ["n2: its audit trail is not whole: line 3: this line was changed"]);
        verified.add("n3", &json!({"whole": true, "lines": 0}));
        assert_eq!(verified.violations.len(), 2);
    }

    #[test]
    fn a_trail_is_overwritten_where_it_lies() {
        let path = std::env::temp_dir().join(format!("conclave-chaos-trail-{}", std::process::id()));
        let length = WINDOW_BYTES + 5;
        std::fs::write(&path, vec![b'x'; length]).unwrap();
        blank(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), vec![0; length]);
        std::fs::remove_file(path).unwrap();
    }
}
