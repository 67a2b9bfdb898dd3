//! `conclave audit`: a node's audit devices, and whether a trail on this machine's disk is as it was written.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use conclave_client::{Client, Request};
use serde_json::{Value, json};

use super::trimmed;
use crate::AuditVerify;
use crate::failure::Failure;
use crate::input;
use crate::output::{Report, table};
use crate::session::Session;

/// The trail was changed: the check has been made, and says no.
const CODE_CHANGED: u8 = 1;

#[derive(Subcommand)]
pub enum Audit {
    /// List the audit devices of the addressed node
    List,
    /// Enable an audit device at all nodes
    Enable(Enable),
    /// Disable an audit device at all nodes
    Disable { path: String },
    /// Find what was changed in a trail since it was written (exit code 1: something was)
    Verify(Verify),
}

#[derive(Args)]
pub struct Enable {
    /// The device's name [default: the type]
    #[arg(long)]
    path: Option<String>,
    #[arg(long)]
    description: Option<String>,
    /// file, syslog, socket or http
    #[arg(value_name = "TYPE")]
    device: String,
    /// Options, such as file_path=audit.log (a file's name in the nodes' audit directory) or required=false
    #[arg(value_name = "KEY=VALUE")]
    options: Vec<String>,
}

#[derive(Args)]
pub struct Verify {
    /// The files of one device at one node, the oldest first
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The number of the first line, if older files are kept elsewhere
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    from: u64,
    /// Heads of trails that were noted elsewhere (JSON): without them, nobody can tell by the lines alone that the newest
    /// ones were written anew or taken away
    #[arg(long, value_name = "FILE")]
    anchors: Option<PathBuf>,
}

pub async fn run(audit: Audit, session: &Session, verify: AuditVerify) -> Result<Report, Failure> {
    match audit {
        Audit::List => list(&session.client()?).await,
        Audit::Enable(args) => enable(args, &session.client()?).await,
        Audit::Disable { path } => {
            let path = trimmed(&path);
            session.client()?.send(Request::delete(format!("sys/audit/{path}"))).await?;
            Ok(Report::done(format!("Success! Disabled audit device (if it was enabled) at: {path}/")))
        }
        Audit::Verify(args) => check(args, verify).await,
    }
}

async fn enable(args: Enable, client: &Client) -> Result<Report, Failure> {
    let path = trimmed(args.path.as_deref().unwrap_or(&args.device)).to_owned();
    let options = input::pairs(&args.options)?;
    let description = args.description.unwrap_or_default();
    let body = json!({ "type": args.device, "description": description, "options": options });
    client.send(Request::put(format!("sys/audit/{path}"), body)).await?;
    Ok(Report::done(format!("Success! Enabled the {} audit device at: {path}/", args.device)))
}

async fn list(client: &Client) -> Result<Report, Failure> {
    let answer = client.first_node().send(Request::get("sys/audit")).await?;
    let devices = answer.data().as_object().into_iter().flatten();
    let rows: Vec<_> = devices
        .map(|(path, device)| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            // Unless it is said otherwise.
            let required = device["options"]["required"].as_str().unwrap_or("true").to_owned();
            [path.clone(), text(&device["type"]), required]
        })
        .collect();
    if rows.is_empty() {
        return Ok(Report::answer(&answer, "No audit devices are enabled.\n"));
    }
    Ok(Report::answer(&answer, table::columns(["Path", "Type", "Required"], &rows)))
}

async fn check(args: Verify, verify: AuditVerify) -> Result<Report, Failure> {
    let Verify { files, from, anchors } = args;
    let done = tokio::task::spawn_blocking(move || verify(&files, from, anchors.as_deref())).await;
    let report = done.map_err(|error| Failure::local(format!("the check ended early: {error}")))?;
    let report = report.map_err(Failure::local)?;
    let code = if report["whole"] == true { 0 } else { CODE_CHANGED };
    Ok(Report::new(shown(&report), &report).with_code(code))
}

fn shown(report: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    };
    let head = &report["head"];
    let rows = [
        ("Node", text(&head["node"])),
        ("Device", text(&head["device"])),
        ("Lines", text(&report["lines"])),
        ("First Number", text(&report["first"])),
        ("Last Number", text(&head["number"])),
        ("Head", text(&head["hash"])),
        ("Anchors Met", text(&report["anchors_met"])),
    ];
    let mut shown = table::columns(["Key", "Value"], &rows.map(|(title, value)| [title.to_owned(), value]));
    if report["whole"] == true {
        shown.push_str("\nThe trail is whole: nothing was edited, deleted, inserted, moved or cut.\n");
        if report["anchors_met"] == 0 {
            shown.push_str(
                "That its newest lines were not taken away, or all of it written anew, only heads noted elsewhere can \
                 tell (--anchors).\n",
            );
        }
        return shown;
    }
    shown.push_str("\nThe trail was changed:\n");
    for finding in report["findings"].as_array().into_iter().flatten() {
        let file = finding["file"].as_u64().and_then(|file| usize::try_from(file.saturating_sub(1)).ok());
        let file = file.map_or(&Value::Null, |file| &report["files"][file]);
        shown.push_str(&format!("  {}:{}: {}\n", text(file), finding["line"], text(&finding["sentence"])));
    }
    match report["more"].as_u64() {
        None | Some(0) => {}
        Some(more) => shown.push_str(&format!("  and {more} more\n")),
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_changed_trail_is_told_by_file_and_line() {
        let mut report = json!({"whole": true, "lines": 7, "first": 1, "anchors_met": 0, "more": 0,
            "head": {"node": "n1", "device": "file", "number": 7, "hash": "ab"}, "files": ["a.log.1", "a.log"],
            "findings": []});
        let whole = shown(&report);
        assert!(whole.contains("The trail is whole") && whole.contains("--anchors"), "{whole}");
        report["whole"] = false.into();
        report["more"] = 3.into();
        report["findings"] = json!([{"file": 2, "line": 5, "sentence": "this line was changed"}]);
        let changed = shown(&report);
        assert!(
            changed.contains("a.log:5: this line was changed") && changed.contains("and 3 more"),
            "{changed}"
        );
    }
}
