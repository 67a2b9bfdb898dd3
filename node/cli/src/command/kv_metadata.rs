//! `conclave kv metadata`: what is known about a secret, apart from its values.

use clap::{Args, Subcommand};
use conclave_client::{Client, Request};
use serde_json::{Map, Value, json};

use super::kv::{Place, object};
use super::mount::Kind;
use crate::failure::Failure;
use crate::input;
use crate::output::{Report, table};

#[derive(Subcommand)]
pub enum Metadata {
    /// Show a secret's settings and versions
    Get(Place),
    /// Set a secret's settings; makes the secret if there is none
    Put(Put),
    /// Change some of a secret's settings
    Patch(Patch),
    /// Remove a secret with all its versions, for good
    Delete(Place),
}

#[derive(Args)]
pub struct Put {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
pub struct Patch {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    settings: Settings,
    /// Custom metadata to remove
    #[arg(long, value_name = "KEY")]
    remove_custom_metadata: Vec<String>,
}

#[derive(Args)]
struct Settings {
    /// Whether every write must name the version it replaces
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    cas_required: Option<bool>,
    /// How many versions to keep
    #[arg(long, value_name = "NUMBER")]
    max_versions: Option<u64>,
    /// How long a version lives, such as 3h25m19s
    #[arg(long, value_name = "DURATION")]
    delete_version_after: Option<String>,
    /// A note of your own; can be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    custom_metadata: Vec<String>,
}

pub async fn run(metadata: Metadata, client: &Client) -> Result<Report, Failure> {
    match metadata {
        Metadata::Get(place) => get(&place, client).await,
        Metadata::Put(args) => {
            let body = args.settings.body()?;
            let path = path(&args.place, client).await?;
            client.send(Request::put(&path, Value::Object(body))).await?;
            Ok(Report::done(format!("Success! Data written to: {path}")))
        }
        Metadata::Patch(args) => patch(args, client).await,
        Metadata::Delete(place) => {
            let path = path(&place, client).await?;
            client.send(Request::delete(&path)).await?;
            Ok(Report::done(format!("Success! Data deleted (if it existed) at: {path}")))
        }
    }
}

async fn path(place: &Place, client: &Client) -> Result<String, Failure> {
    Ok(place.find_key(client).await?.versioned()?.path(Kind::Metadata))
}

async fn get(place: &Place, client: &Client) -> Result<Report, Failure> {
    let path = path(place, client).await?;
    let answer = client.send(Request::get(&path)).await.map_err(|error| Failure::at(&path, error))?;
    Ok(Report::answer(&answer, shown(&path, object(answer.data()))))
}

fn shown(path: &str, metadata: &Map<String, Value>) -> String {
    let mut settings = metadata.clone();
    let versions = settings.remove("versions").unwrap_or_default();
    let mut text =
        format!("{}\n{}", table::titled_path("Metadata Path", path), table::titled("Metadata", &settings));
    let mut versions: Vec<_> = object(&versions).iter().collect();
    versions.sort_by_key(|(number, _)| number.parse::<u64>().unwrap_or(u64::MAX));
    for (number, version) in versions {
        text.push('\n');
        text.push_str(&table::titled(&format!("Version {number}"), object(version)));
    }
    text
}

async fn patch(args: Patch, client: &Client) -> Result<Report, Failure> {
    let mut body = args.settings.body()?;
    if !args.remove_custom_metadata.is_empty() {
        let custom = body.entry("custom_metadata").or_insert_with(|| json!({}));
        if let Some(custom) = custom.as_object_mut() {
            custom.extend(args.remove_custom_metadata.into_iter().map(|key| (key, Value::Null)));
        }
    }
    let path = path(&args.place, client).await?;
    let patched = client.send(Request::patch(&path, Value::Object(body))).await;
    patched.map_err(|error| Failure::at(&path, error))?;
    Ok(Report::done(format!("Success! Data written to: {path}")))
}

impl Settings {
    fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        set("cas_required", self.cas_required.map(Value::from));
        set("max_versions", self.max_versions.map(Value::from));
        set("delete_version_after", self.delete_version_after.clone().map(Value::from));
        if !self.custom_metadata.is_empty() {
            set("custom_metadata", Some(json!(input::pairs(&self.custom_metadata)?)));
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_follow_the_settings_in_the_order_of_their_numbers() {
        let version = json!({"created_time": "t", "deletion_time": "", "destroyed": false});
        let metadata = json!({"max_versions": 0, "custom_metadata": {"o": "p"},
            "versions": {"10": version, "9": version}});
        let expect = "\
= Metadata Path =
secret/metadata/a

======= Metadata =======
Key                Value
---                -----
custom_metadata    map[o:p]
max_versions       0

====== Version 9 ======
Key              Value
---              -----
created_time     t
deletion_time    n/a
destroyed        false

===== Version 10 =====
Key              Value
---              -----
created_time     t
deletion_time    n/a
destroyed        false
";
        assert_eq!(shown("secret/metadata/a", object(&metadata)), expect);
    }

    #[test]
    fn only_settings_that_were_named_are_sent() {
        let settings = Settings {
            cas_required: Some(false),
            max_versions: None,
            delete_version_after: None,
            custom_metadata: vec!["a=b=c".to_owned()],
        };
        let body = settings.body().unwrap();
        assert_eq!(Value::Object(body), json!({"cas_required": false, "custom_metadata": {"a": "b=c"}}));
    }
}
