//! `conclave kv patch`: changes some fields of a secret and keeps the others.

use clap::{Args, ValueEnum};
use conclave_client::{Client, Request};
use serde_json::{Map, Value};

use super::kv::{Place, object, versioned_body, written};
use super::mount::Kind;
use crate::failure::Failure;
use crate::input;
use crate::output::Report;

#[derive(Args)]
pub struct Patch {
    #[command(flatten)]
    place: Place,
    /// Write only if the newest version has this number
    #[arg(long, value_name = "NUMBER")]
    cas: Option<u64>,
    /// How [default: patch, or rw where the policy does not allow that]
    #[arg(long, value_enum)]
    method: Option<How>,
    /// A field to remove
    #[arg(long, value_name = "FIELD")]
    remove_data: Vec<String>,
    /// key=value, key=@file, key=-, @file or -
    #[arg(value_name = "DATA")]
    data: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum How {
    /// One merge patch, done by the server
    Patch,
    /// Read, change here, write under check-and-set
    Rw,
}

pub async fn run(args: Patch, client: &Client) -> Result<Report, Failure> {
    let mut changes = match args.remove_data.is_empty() {
        true => input::some_data(&args.data, &mut std::io::stdin())?,
        false => input::data(&args.data, &mut std::io::stdin())?,
    };
    for field in args.remove_data {
        changes.insert(field, Value::Null);
    }
    let path = args.place.find_key(client).await?.versioned()?.path(Kind::Data);
    if !matches!(args.method, Some(How::Rw)) {
        match client.send(Request::patch(&path, versioned_body(changes.clone(), args.cas))).await {
            Ok(answer) => return Ok(written(&path, &answer)),
            Err(error) if args.method.is_none() && matches!(error.status(), Some(403 | 405)) => {}
            Err(error) => return Err(Failure::at(&path, error)),
        }
    }
    read_and_write(&path, changes, args.cas, client).await
}

async fn read_and_write(
    path: &str,
    changes: Map<String, Value>,
    cas: Option<u64>,
    client: &Client,
) -> Result<Report, Failure> {
    let answer = client.send(Request::get(path)).await.map_err(|error| Failure::at(path, error))?;
    let version = answer.data()["metadata"]["version"].as_u64().ok_or_else(|| {
        Failure::refused(format!("the server did not say which version is the newest at {path}"))
    })?;
    let merged = merge(object(&answer.data()["data"]).clone(), changes);
    let answer =
        client.send(Request::put(path, versioned_body(merged, Some(cas.unwrap_or(version))))).await?;
    Ok(written(path, &answer))
}

/// A merge patch (RFC 7386): null removes, objects are merged, all else replaces.
fn merge(mut target: Map<String, Value>, changes: Map<String, Value>) -> Map<String, Value> {
    for (key, change) in changes {
        match change {
            Value::Null => {
                target.remove(&key);
            }
            Value::Object(inner) => {
                let before = target.get(&key).map_or_else(Map::new, |value| object(value).clone());
                target.insert(key, Value::Object(merge(before, inner)));
            }
            other => {
                target.insert(key, other);
            }
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(target: Value, changes: Value, expect: Value) {
        let merged = merge(object(&target).clone(), object(&changes).clone());
        assert_eq!(Value::Object(merged), expect);
    }

    #[test]
    fn a_merge_keeps_what_it_does_not_name() {
        check(json!({"a": 1, "b": 2}), json!({"b": 3, "c": 4}), json!({"a": 1, "b": 3, "c": 4}));
        check(json!({"a": 1, "b": 2}), json!({"a": null, "x": null}), json!({"b": 2}));
        check(
            json!({"m": {"a": 1, "b": 2}}),
            json!({"m": {"b": null, "c": 3}}),
            json!({"m": {"a": 1, "c": 3}}),
        );
        check(json!({"m": [1]}), json!({"m": {"a": {"b": null}}}), json!({"m": {"a": {}}}));
    }
}
