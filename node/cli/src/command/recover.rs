//! `conclave operator recover`: the way back when most nodes are lost for good. Works on this machine's disk.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::Recover;
use crate::failure::Failure;
use crate::output::{Report, table};

#[derive(Args)]
pub struct Recovery {
    /// The data directory of the stopped node that is to go on alone
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Do it. Without this flag the command only says what it would do
    #[arg(long)]
    apply: bool,
}

pub async fn run(args: Recovery, recover: Recover) -> Result<Report, Failure> {
    let Recovery { data_dir, apply } = args;
    let done = tokio::task::spawn_blocking(move || recover(&data_dir, apply)).await;
    let report = done.map_err(|error| Failure::local(format!("the recovery ended early: {error}")))?;
    let report = report.map_err(Failure::refused)?;
    Ok(Report::new(shown(&report), &report))
}

fn shown(report: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rows = [
        ("Node", "node"),
        ("Last Log Term", "last_term"),
        ("Last Log Index", "last_index"),
        ("Applied Index", "applied_index"),
    ];
    let mut shown =
        table::columns(["Key", "Value"], &rows.map(|(title, name)| [title.to_owned(), text(&report[name])]));
    let node = text(&report["node"]);
    let excluded: Vec<_> = report["excluded"].as_array().into_iter().flatten().collect();
    let names: Vec<_> = excluded
        .iter()
        .map(|member| format!("{} ({})", text(&member["node"]), text(&member["cluster_addr"])))
        .collect();
    let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    shown.push_str(&match report["recovered"] == true {
        true => format!(
            "\n{node} is now the only member; left out: {names}.\n\
             Start it and unseal it with its key shares. Then let new, empty nodes join. A node that was left out must \
             never be started again with its old data: empty its data directory first.\n"
        ),
        false => format!(
            "\nNothing was changed. With --apply, {node} becomes the only member of the cluster, left out: {names}.\n\
             Kept: everything in this node's log, also what was not known to be committed.\n\
             Lost: every write that the others acknowledged and that never reached this node; nobody can tell which. Run \
             this on every node that is left and recover the one with the highest last log term, then index.\n\
             The nodes that are left out do not answer now. They must never be started again with their old data: they \
             would be a second cluster.\n"
        ),
    });
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_plan_names_who_is_left_out_and_what_could_be_lost() {
        let mut report = json!({"node": "n1", "last_term": 3, "last_index": 9, "applied_index": 8, "recovered": false,
            "excluded": [{"node": "n2", "cluster_addr": "10.0.0.2:8201"}]});
        let plan = shown(&report);
        for part in ["Nothing was changed", "n2 (10.0.0.2:8201)", "Lost:", "--apply", "Last Log Index    9"] {
            assert!(plan.contains(part), "{part}: {plan}");
        }
        report["recovered"] = true.into();
        assert!(shown(&report).contains("n1 is now the only member; left out: n2"));
    }
}
