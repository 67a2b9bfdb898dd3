//! `conclave secrets`: which engine is mounted where.

use std::time::Duration;

use clap::{Args, Subcommand};
use conclave_client::{Client, Request};
use serde_json::{Map, Value, json};

use super::kv::object;
use super::trimmed;
use crate::failure::Failure;
use crate::input;
use crate::output::{Report, table, value};

/// How often, and how many times at most, the state of a move is asked for.
const MOVE_POLL_INTERVAL: Duration = Duration::from_millis(500);
const MOVE_POLLS_MAX: usize = 600;

#[derive(Subcommand)]
pub enum Secrets {
    /// List the engines and where they are mounted
    List {
        /// Show all settings
        #[arg(long)]
        detailed: bool,
    },
    /// Mount an engine
    Enable(Enable),
    /// Unmount an engine and destroy its secrets
    Disable { path: String },
    /// Change an engine's settings
    Tune(Tune),
    /// Mount an engine at another path, with its secrets
    Move { source: String, destination: String },
}

#[derive(Args)]
pub struct Enable {
    /// Where to mount it [default: the type]
    #[arg(long)]
    path: Option<String>,
    /// The engine, such as kv or kv-v2
    #[arg(value_name = "TYPE")]
    engine: String,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
pub struct Tune {
    path: String,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
pub(super) struct Settings {
    #[arg(long)]
    description: Option<String>,
    /// The engine's version
    #[arg(long, value_name = "NUMBER")]
    version: Option<u64>,
    /// An option of the engine; can be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// The lifetime of leases that do not ask for one
    #[arg(long, value_name = "DURATION")]
    default_lease_ttl: Option<String>,
    /// The longest lifetime of a lease
    #[arg(long, value_name = "DURATION")]
    max_lease_ttl: Option<String>,
    /// Whether the mount is listed to everybody: hidden or unauth
    #[arg(long, value_name = "WHO")]
    listing_visibility: Option<String>,
}

pub async fn run(secrets: Secrets, client: &Client) -> Result<Report, Failure> {
    match secrets {
        Secrets::List { detailed } => list(detailed, client).await,
        Secrets::Enable(args) => {
            let path = trimmed(args.path.as_deref().unwrap_or(&args.engine)).to_owned();
            let body = args.body()?;
            client.send(Request::post(format!("sys/mounts/{path}"), body)).await?;
            Ok(Report::done(format!("Success! Enabled the {} secrets engine at: {path}/", args.engine)))
        }
        Secrets::Disable { path } => {
            let path = trimmed(&path);
            client.send(Request::delete(format!("sys/mounts/{path}"))).await?;
            Ok(Report::done(format!("Success! Disabled the secrets engine (if it existed) at: {path}/")))
        }
        Secrets::Tune(args) => {
            let path = trimmed(&args.path);
            let mut body = args.settings.config();
            args.settings.describe(&mut body)?;
            let answer =
                client.send(Request::post(format!("sys/mounts/{path}/tune"), Value::Object(body))).await?;
            let done = format!("Success! Tuned the secrets engine at: {path}/\n");
            Ok(if answer.body().is_null() {
                Report::done(done.trim_end())
            } else {
                Report::answer(&answer, done)
            })
        }
        Secrets::Move { source, destination } => relocate(&source, &destination, client).await,
    }
}

async fn list(detailed: bool, client: &Client) -> Result<Report, Failure> {
    let answer = client.send(Request::get("sys/mounts")).await?;
    let mounts = answer.data();
    Ok(Report::new(if detailed { detailed_mounts(mounts) } else { short_mounts(mounts) }, mounts))
}

fn text(value: &Value) -> String {
    value::cell("", value)
}

pub(super) fn short_mounts(mounts: &Value) -> String {
    let rows: Vec<_> = object(mounts)
        .iter()
        .map(|(path, mount)| {
            [path.clone(), text(&mount["type"]), text(&mount["accessor"]), text(&mount["description"])]
        })
        .collect();
    table::columns(["Path", "Type", "Accessor", "Description"], &rows)
}

pub(super) fn detailed_mounts(mounts: &Value) -> String {
    let ttl = |mount: &Value, name: &str| match mount["config"][name].as_u64() {
        None | Some(0) => "system".to_owned(),
        Some(seconds) => value::duration(seconds),
    };
    let rows: Vec<_> = object(mounts)
        .iter()
        .map(|(path, mount)| {
            let options =
                if mount["options"].is_null() { "map[]".to_owned() } else { text(&mount["options"]) };
            let replication = if mount["local"] == true { "local" } else { "replicated" };
            [
                path.clone(),
                text(&mount["type"]),
                text(&mount["accessor"]),
                ttl(mount, "default_lease_ttl"),
                ttl(mount, "max_lease_ttl"),
                replication.to_owned(),
                options,
                text(&mount["description"]),
                text(&mount["uuid"]),
            ]
        })
        .collect();
    let headings = [
        "Path",
        "Plugin",
        "Accessor",
        "Default TTL",
        "Max TTL",
        "Replication",
        "Options",
        "Description",
        "UUID",
    ];
    table::columns(headings, &rows)
}

impl Enable {
    fn body(&self) -> Result<Value, Failure> {
        let mut body = Map::new();
        let (engine, version) = match self.engine.as_str() {
            "kv-v1" => ("kv", Some("1")),
            "kv-v2" => ("kv", Some("2")),
            other => (other, None),
        };
        body.insert("type".to_owned(), json!(engine));
        self.settings.describe(&mut body)?;
        if let (Some(version), None) = (version, self.settings.version) {
            let options = body.entry("options").or_insert_with(|| json!({}));
            if let Some(options) = options.as_object_mut() {
                options.insert("version".to_owned(), json!(version));
            }
        }
        let config = self.settings.config();
        if !config.is_empty() {
            body.insert("config".to_owned(), Value::Object(config));
        }
        Ok(Value::Object(body))
    }
}

impl Settings {
    pub(super) fn describe(&self, body: &mut Map<String, Value>) -> Result<(), Failure> {
        if let Some(description) = &self.description {
            body.insert("description".to_owned(), json!(description));
        }
        let mut options = input::pairs(&self.options)?;
        if let Some(version) = self.version {
            options.insert("version".to_owned(), version.to_string());
        }
        if !options.is_empty() {
            body.insert("options".to_owned(), json!(options));
        }
        Ok(())
    }

    pub(super) fn config(&self) -> Map<String, Value> {
        let fields = [
            ("default_lease_ttl", &self.default_lease_ttl),
            ("max_lease_ttl", &self.max_lease_ttl),
            ("listing_visibility", &self.listing_visibility),
        ];
        fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))))
            .collect()
    }
}

async fn relocate(source: &str, destination: &str, client: &Client) -> Result<Report, Failure> {
    let (from, to) = (trimmed(source), trimmed(destination));
    let answer = client.send(Request::post("sys/remount", json!({"from": from, "to": to}))).await?;
    if let Some(id) = answer.data()["migration_id"].as_str() {
        wait_for_move(id, client).await?;
    }
    Ok(Report::done(format!("Success! Moved the secrets engine {from}/ to {to}/")))
}

async fn wait_for_move(id: &str, client: &Client) -> Result<(), Failure> {
    for _ in 0..MOVE_POLLS_MAX {
        let answer = client.send(Request::get(format!("sys/remount/status/{id}"))).await?;
        match answer.data()["migration_info"]["status"].as_str() {
            Some("success") => return Ok(()),
            Some("failure") => {
                return Err(Failure::refused(format!("the move {id} failed: the server's log says why")));
            }
            _ => tokio::time::sleep(MOVE_POLL_INTERVAL).await,
        }
    }
    Err(Failure::local(format!("the move {id} is still under way: see sys/remount/status/{id}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct EnableLine {
        #[command(flatten)]
        enable: Enable,
    }

    fn check(line: &str, expect: Value) {
        let line = EnableLine::try_parse_from(format!("enable {line}").split_whitespace()).unwrap();
        assert_eq!(line.enable.body().unwrap(), expect);
    }

    #[test]
    fn only_settings_that_were_named_are_sent() {
        check("kv", json!({"type": "kv"}));
        check("--version=2 kv", json!({"type": "kv", "options": {"version": "2"}}));
        check("kv-v2", json!({"type": "kv", "options": {"version": "2"}}));
        check(
            "--description=d --max-lease-ttl=30m --options=a=b kv-v1",
            json!({"type": "kv", "description": "d", "config": {"max_lease_ttl": "30m"},
                "options": {"a": "b", "version": "1"}}),
        );
    }

    #[test]
    fn mounts_are_listed_by_path() {
        let mounts = json!({
            "sys/": {"type": "system", "accessor": "system_1", "description": "system endpoints"},
            "secret/": {"type": "kv", "accessor": "kv_1", "description": "", "options": {"version": "2"},
                "config": {"default_lease_ttl": 0, "max_lease_ttl": 1800}, "local": false, "uuid": "u"},
        });
        let expect = "\
Path       Type      Accessor    Description
----       ----      --------    -----------
secret/    kv        kv_1        n/a
sys/       system    system_1    system endpoints
";
        assert_eq!(short_mounts(&mounts), expect);
        let detailed = detailed_mounts(&mounts);
        let row: Vec<_> = detailed.lines().nth(2).unwrap().split_whitespace().collect();
        assert_eq!(
            row,
            ["secret/", "kv", "kv_1", "system", "30m", "replicated", "map[version:2]", "n/a", "u"]
        );
    }
}
