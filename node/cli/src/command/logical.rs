//! `conclave read`, `write`, `delete` and `list`: any path of the API, as it is.

use clap::Args;
use conclave_client::{Answer, Client, Request};
use serde_json::{Map, Value, json};

use super::kv::object;
use super::trimmed;
use crate::failure::Failure;
use crate::input;
use crate::output::{Report, table};

#[derive(Args)]
pub struct Read {
    path: String,
    /// key=value parameters of the query
    #[arg(value_name = "PARAMETER")]
    parameters: Vec<String>,
}

#[derive(Args)]
pub struct Write {
    path: String,
    /// Write without data
    #[arg(long, short)]
    force: bool,
    /// key=value, key=@file, key=-, @file or -
    #[arg(value_name = "DATA")]
    data: Vec<String>,
}

#[derive(Args)]
pub struct Path {
    path: String,
}

#[derive(Args)]
pub struct List {
    path: String,
    /// Begin behind this name
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
    /// At most this many names
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
}

pub async fn read(args: Read, client: &Client) -> Result<Report, Failure> {
    let path = trimmed(&args.path);
    let mut request = Request::get(path);
    for (name, value) in input::pairs(&args.parameters)? {
        request = request.query(name, value);
    }
    let answer = client.send(request).await.map_err(|error| Failure::at(path, error))?;
    Ok(report(&answer))
}

pub async fn write(args: Write, client: &Client) -> Result<Report, Failure> {
    let path = trimmed(&args.path);
    if args.data.is_empty() && !args.force {
        return Err(Failure::usage("Must supply data, or --force to write without any"));
    }
    let data = input::data(&args.data, &mut std::io::stdin())?;
    let answer = client.send(Request::put(path, Value::Object(data))).await?;
    if answer.data().is_null() && answer.auth().is_none() && answer.warnings().is_empty() {
        return Ok(Report::done(format!("Success! Data written to: {path}")));
    }
    Ok(report(&answer))
}

pub async fn delete(args: Path, client: &Client) -> Result<Report, Failure> {
    let path = trimmed(&args.path);
    client.send(Request::delete(path)).await?;
    Ok(Report::done(format!("Success! Data deleted (if it existed) at: {path}")))
}

pub async fn list(args: List, client: &Client) -> Result<Report, Failure> {
    let path = trimmed(&args.path);
    let mut request = Request::list(path);
    if let Some(after) = args.after {
        request = request.query("after", after);
    }
    if let Some(limit) = args.limit {
        request = request.query("limit", limit.to_string());
    }
    let answer = client.send(request).await.map_err(|error| Failure::at(path, error))?;
    Ok(Report::names(&answer))
}

/// As a table of what is told, and of the token if one is handed out.
pub fn report(answer: &Answer) -> Report {
    let fields = rows(answer.body(), answer.data());
    Report::answer(answer, table::map(&fields)).with_fields(fields)
}

/// What a table shows of an answer: the lease, if there is one, then the data or the new token.
fn rows(body: &Value, data: &Value) -> Map<String, Value> {
    let mut rows = Map::new();
    let lease = body["lease_duration"].as_u64().filter(|seconds| *seconds > 0);
    match (lease, body["lease_id"].as_str()) {
        (Some(_), Some(id)) if !id.is_empty() => {
            rows.insert("lease_id".to_owned(), json!(id));
            rows.insert("lease_duration".to_owned(), body["lease_duration"].clone());
            rows.insert("lease_renewable".to_owned(), body["renewable"].clone());
        }
        (Some(_), _) => {
            rows.insert("refresh_interval".to_owned(), body["lease_duration"].clone());
        }
        (None, _) => {}
    }
    for (name, value) in object(&body["auth"]) {
        let name = match name.as_str() {
            "client_token" => "token".to_owned(),
            "accessor" => "token_accessor".to_owned(),
            "lease_duration" => "token_duration".to_owned(),
            "renewable" => "token_renewable".to_owned(),
            other => other.to_owned(),
        };
        rows.insert(name, value.clone());
    }
    rows.extend(object(data).clone());
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: Value, expect: &str) {
        assert_eq!(table::map(&rows(&body, &body["data"])), expect);
    }

    #[test]
    fn a_lease_and_a_token_are_shown_with_the_data() {
        check(
            json!({"lease_duration": 0, "lease_id": "", "data": {"a": "b"}}),
            "Key    Value\n---    -----\na      b\n",
        );
        check(
            json!({"lease_duration": 2_764_800, "lease_id": "", "data": {"a": "b"}}),
            "Key                 Value\n---                 -----\na                   b\nrefresh_interval    768h\n",
        );
        check(
            json!({"lease_duration": 0, "auth": {"client_token": "s.x", "lease_duration": 60}}),
            "Key               Value\n---               -----\ntoken             s.x\ntoken_duration    1m\n",
        );
    }
}
