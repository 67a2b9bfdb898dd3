//! `conclave kv`: secrets in key-value mounts, of either version.

use clap::{Args, Subcommand};
use conclave_client::{Answer, Client, Request};
use serde_json::{Map, Value, json};

use super::kv_metadata::Metadata;
use super::kv_patch::{self, Patch};
use super::logical;
use super::mount::{Kind, Location, Version};
use crate::failure::Failure;
use crate::input;
use crate::output::{Report, table};

#[derive(Subcommand)]
pub enum Kv {
    /// Read a secret
    Get(Get),
    /// Write a secret, whole
    Put(Put),
    /// Change some fields of a secret
    Patch(Patch),
    /// Delete the newest version, or those named; they can be undeleted
    Delete(Delete),
    /// Bring deleted versions back
    Undelete(Versions),
    /// Remove versions for good
    Destroy(Versions),
    /// List the names below a path
    List(Place),
    /// List the names of everything below a path
    Scan(Place),
    /// Write an old version's data as the newest
    Rollback(Rollback),
    /// Read and write what is known about a secret
    #[command(subcommand)]
    Metadata(Metadata),
}

/// Where a secret is: MOUNT/KEY, or KEY with `--mount`.
#[derive(Args)]
pub struct Place {
    /// The mount; without it the path begins with the mount
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,
    /// The secret, such as secret/payment
    #[arg(
        value_name = "KEY",
        default_value = "",
        hide_default_value = true,
        required_unless_present = "mount"
    )]
    path: String,
}

#[derive(Args)]
pub struct Get {
    #[command(flatten)]
    place: Place,
    /// The version to read [default: the newest]
    #[arg(long, value_name = "NUMBER")]
    version: Option<u64>,
}

#[derive(Args)]
pub struct Put {
    #[command(flatten)]
    place: Place,
    /// Write only if the newest version has this number; 0: only if there is none
    #[arg(long, value_name = "NUMBER")]
    cas: Option<u64>,
    /// key=value, key=@file, key=-, @file or -
    #[arg(value_name = "DATA")]
    data: Vec<String>,
}

#[derive(Args)]
pub struct Delete {
    #[command(flatten)]
    place: Place,
    /// The versions to delete
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    versions: Vec<u64>,
}

#[derive(Args)]
pub struct Versions {
    #[command(flatten)]
    place: Place,
    /// The versions, with commas between them
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', required = true)]
    versions: Vec<u64>,
}

#[derive(Args)]
pub struct Rollback {
    #[command(flatten)]
    place: Place,
    /// The version whose data to write again
    #[arg(long, value_name = "NUMBER")]
    version: u64,
}

pub async fn run(kv: Kv, client: &Client) -> Result<Report, Failure> {
    match kv {
        Kv::Get(args) => get(args, client).await,
        Kv::Put(args) => put(args, client).await,
        Kv::Patch(args) => kv_patch::run(args, client).await,
        Kv::Delete(args) => delete(args, client).await,
        Kv::Undelete(args) => change_versions(args, Kind::Undelete, client).await,
        Kv::Destroy(args) => change_versions(args, Kind::Destroy, client).await,
        Kv::List(place) => names(place, client, Request::list).await,
        Kv::Scan(place) => names(place, client, Request::scan).await,
        Kv::Rollback(args) => rollback(args, client).await,
        Kv::Metadata(metadata) => super::kv_metadata::run(metadata, client).await,
    }
}

impl Place {
    pub async fn find(&self, client: &Client) -> Result<Location, Failure> {
        Location::find(client, self.mount.as_deref(), &self.path).await
    }

    pub async fn find_key(&self, client: &Client) -> Result<Location, Failure> {
        self.find(client).await?.with_key()
    }
}

async fn get(args: Get, client: &Client) -> Result<Report, Failure> {
    let location = args.place.find_key(client).await?;
    let path = location.path(Kind::Data);
    let mut request = Request::get(&path);
    if let Some(version) = args.version {
        request = request.query("version", version.to_string());
    }
    let answer = client.send(request).await;
    if let Some(report) = answer.as_ref().ok().and_then(logical::wrapped) {
        return Ok(report);
    }
    match (location.version(), answer) {
        (Version::One, answer) => {
            let answer = answer.map_err(|error| Failure::at(&path, error))?;
            let shown = table::titled("Data", object(answer.data()));
            Ok(Report::answer(&answer, shown))
        }
        (Version::Two, Ok(answer)) => Ok(secret(&path, &answer)),
        // A deleted version is a 404 that still tells of the version.
        (Version::Two, Err(error)) => match error.refusal().map(|refusal| refusal.answer()) {
            Some(answer) if answer.data()["metadata"].is_object() => Ok(secret(&path, answer)),
            _ => Err(Failure::at(&path, error)),
        },
    }
}

fn secret(path: &str, answer: &Answer) -> Report {
    let (data, metadata) = (&answer.data()["data"], &answer.data()["metadata"]);
    let mut shown = table::titled_path("Secret Path", path);
    shown.push('\n');
    shown.push_str(&table::titled("Metadata", object(metadata)));
    let mut fields = Map::new();
    if let Some(data) = data.as_object() {
        shown.push('\n');
        shown.push_str(&table::titled("Data", data));
        // `--field=data` means the whole, unless the secret has a field of that name.
        fields.insert("data".to_owned(), json!(data));
        fields.extend(data.clone());
    }
    Report::answer(answer, shown).with_fields(fields)
}

async fn put(args: Put, client: &Client) -> Result<Report, Failure> {
    let data = input::some_data(&args.data, &mut std::io::stdin())?;
    let location = args.place.find_key(client).await?;
    let path = location.path(Kind::Data);
    match location.version() {
        Version::One if args.cas.is_some() => {
            Err(Failure::usage("--cas needs a versioned mount: key-value version 1 keeps no versions"))
        }
        Version::One => {
            client.send(Request::put(&path, Value::Object(data))).await?;
            Ok(Report::done(format!("Success! Data written to: {path}")))
        }
        Version::Two => {
            let answer = client.send(Request::put(&path, versioned_body(data, args.cas))).await?;
            Ok(written(&path, &answer))
        }
    }
}

/// The body of a write to a versioned mount.
pub fn versioned_body(data: Map<String, Value>, cas: Option<u64>) -> Value {
    let options = cas.map_or_else(|| json!({}), |cas| json!({ "cas": cas }));
    json!({"data": data, "options": options})
}

/// What a write to a versioned mount made.
pub fn written(path: &str, answer: &Answer) -> Report {
    let metadata = table::titled("Metadata", object(answer.data()));
    Report::answer(answer, format!("{}\n{metadata}", table::titled_path("Secret Path", path)))
}

async fn delete(args: Delete, client: &Client) -> Result<Report, Failure> {
    let location = args.place.find_key(client).await?;
    let path = location.path(Kind::Data);
    if args.versions.is_empty() {
        client.send(Request::delete(&path)).await?;
    } else {
        let location = location.versioned()?;
        client.send(Request::post(location.path(Kind::Delete), versions_body(&args.versions))).await?;
    }
    Ok(Report::done(format!("Success! Data deleted (if it existed) at: {path}")))
}

async fn change_versions(args: Versions, kind: Kind, client: &Client) -> Result<Report, Failure> {
    let path = args.place.find_key(client).await?.versioned()?.path(kind);
    client.send(Request::put(&path, versions_body(&args.versions))).await?;
    Ok(Report::done(format!("Success! Data written to: {path}")))
}

/// Vault's clients send the numbers as text.
fn versions_body(versions: &[u64]) -> Value {
    let versions: Vec<_> = versions.iter().map(u64::to_string).collect();
    json!({ "versions": versions })
}

async fn names(place: Place, client: &Client, request: fn(String) -> Request) -> Result<Report, Failure> {
    let path = place.find(client).await?.path(Kind::Metadata);
    let answer = client.send(request(path.clone())).await.map_err(|error| Failure::at(&path, error))?;
    Ok(Report::names(&answer))
}

async fn rollback(args: Rollback, client: &Client) -> Result<Report, Failure> {
    let path = args.place.find_key(client).await?.versioned()?.path(Kind::Data);
    let newest = newest_version(client, &path).await?;
    let request = Request::get(&path).query("version", args.version.to_string());
    let old = client.send(request).await.map_err(|error| match error.refusal() {
        Some(refusal) if refusal.answer().data()["metadata"].is_object() => {
            Failure::refused(format!("version {} at {path} is deleted: undelete it first", args.version))
        }
        _ => Failure::at(&path, error),
    })?;
    let data = object(&old.data()["data"]).clone();
    let answer = client.send(Request::put(&path, versioned_body(data, Some(newest)))).await?;
    Ok(Report::answer(&answer, table::map(object(answer.data()))))
}

/// The number of the newest version, deleted or not, so that nobody's write in between is lost.
async fn newest_version(client: &Client, path: &str) -> Result<u64, Failure> {
    let number = |answer: &Answer| answer.data()["metadata"]["version"].as_u64();
    let found = match client.send(Request::get(path)).await {
        Ok(answer) => number(&answer),
        Err(error) => match error.refusal().and_then(|refusal| number(refusal.answer())) {
            Some(version) => Some(version),
            None => return Err(Failure::at(path, error)),
        },
    };
    found.ok_or_else(|| {
        Failure::refused(format!("the server did not say which version is the newest at {path}"))
    })
}

/// The fields of an object; none for anything else.
pub fn object(value: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE)
}
