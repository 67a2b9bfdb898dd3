//! `conclave policy`: who may do what.

use std::io::Read as _;

use clap::Subcommand;
use conclave_client::{Client, Request};
use serde_json::json;

use super::trimmed;
use crate::failure::Failure;
use crate::output::Report;

/// The longest policy that is read, in bytes: the server takes no longer one.
const POLICY_BYTES_MAX: u64 = 256 * 1024;

#[derive(Subcommand)]
pub enum Policy {
    /// List the names of all policies
    List,
    /// Show a policy
    Read { name: String },
    /// Write a policy from a file, or from standard input (-)
    Write { name: String, file: String },
    /// Delete a policy
    Delete { name: String },
}

pub async fn run(policy: Policy, client: &Client) -> Result<Report, Failure> {
    match policy {
        Policy::List => {
            let answer = client.send(Request::list("sys/policies/acl")).await?;
            let keys = answer.data()["keys"].as_array().cloned().unwrap_or_default();
            let names: String =
                keys.iter().filter_map(|key| key.as_str()).map(|key| format!("{key}\n")).collect();
            Ok(Report::answer(&answer, names))
        }
        Policy::Read { name } => {
            let name = trimmed(&name).to_owned();
            let answer = client.send(Request::get(format!("sys/policies/acl/{name}"))).await;
            let answer = answer.map_err(|error| Failure::at(&name, error))?;
            let text = answer.data()["policy"].as_str().unwrap_or_default();
            let text = format!("{}\n", text.trim_end_matches('\n'));
            Ok(Report::answer(&answer, text))
        }
        Policy::Write { name, file } => {
            let name = trimmed(&name).to_owned();
            let body = json!({ "policy": text_in(&file)? });
            let answer = client.send(Request::put(format!("sys/policies/acl/{name}"), body)).await?;
            let done = format!("Success! Uploaded policy: {name}");
            Ok(if answer.body().is_null() {
                Report::done(done)
            } else {
                Report::answer(&answer, done + "\n")
            })
        }
        Policy::Delete { name } => {
            let name = trimmed(&name).to_owned();
            client.send(Request::delete(format!("sys/policies/acl/{name}"))).await?;
            Ok(Report::done(format!("Success! Deleted policy: {name}")))
        }
    }
}

fn text_in(file: &str) -> Result<String, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::usage(format!("cannot read the policy {file}: {error}"));
    let mut text = String::new();
    match file {
        "-" => std::io::stdin().take(POLICY_BYTES_MAX + 1).read_to_string(&mut text),
        _ => std::fs::File::open(file)
            .and_then(|file| file.take(POLICY_BYTES_MAX + 1).read_to_string(&mut text)),
    }
    .map_err(unreadable)?;
    if text.len() as u64 > POLICY_BYTES_MAX {
        return Err(Failure::usage(format!("a policy has at most {POLICY_BYTES_MAX} bytes")));
    }
    Ok(text)
}
