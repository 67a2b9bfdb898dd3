//! `conclave operator`: initialise, unseal, seal, rotate, back up, recover.

use clap::{Args, Subcommand};
use conclave_client::{Client, Method, Request};
use serde_json::{Value, json};

use super::generate_root::{self, GenerateRoot};
use super::kv::object;
use super::quorum;
use super::raft::{self, Raft};
use super::recover::{self, Recovery};
use super::rekey::{self, Rekey};
use super::snapshot::{self, Snapshot};
use super::{ask_node, status};
use crate::Recover;
use crate::failure::Failure;
use crate::output::{Report, table};
use crate::session::Session;

/// `init --status` of a node that has no cluster yet.
const CODE_NOT_INITIALIZED: u8 = 1;

#[derive(Subcommand)]
pub enum Operator {
    /// Make a new cluster of the addressed node, and print its unseal keys and root token
    Init(Init),
    /// Give one unseal key to the addressed node
    Unseal(Unseal),
    /// Seal the addressed node
    Seal,
    /// Show the seal and leadership of the addressed node
    Status,
    /// Make the leader hand over to another node
    StepDown,
    /// Make a root token, by a quorum of unseal keys
    GenerateRoot(GenerateRoot),
    /// Replace the unseal keys, by a quorum of them
    #[command(alias = "rotate-keys")]
    Rekey(Rekey),
    /// Encrypt what is written from now on with a new key
    Rotate,
    /// Save and restore backups
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// List and remove nodes
    #[command(subcommand)]
    Raft(Raft),
    /// Make a stopped node the only member of its cluster, when most of the others are lost for good
    Recover(Recovery),
}

#[derive(Args)]
pub struct Init {
    /// How many unseal keys to make
    #[arg(long, short = 'n', default_value_t = 5, value_name = "NUMBER")]
    key_shares: u32,
    /// How many of them unseal a node
    #[arg(long, short = 't', default_value_t = 3, value_name = "NUMBER")]
    key_threshold: u32,
    /// Let restarted members be unsealed by people only, never by their peers
    #[arg(long)]
    no_peer_unseal: bool,
    /// Only say whether it is done (exit code 1: not yet)
    #[arg(long)]
    status: bool,
}

#[derive(Args)]
pub struct Unseal {
    /// Forget the keys given so far
    #[arg(long)]
    reset: bool,
    /// The key; "-": read it from standard input; without it the terminal asks, which keeps it out of your history
    key: Option<String>,
}

pub async fn run(operator: Operator, session: &Session, recover: Recover) -> Result<Report, Failure> {
    let client = || session.client();
    match operator {
        Operator::Init(args) => init(args, &client()?).await,
        Operator::Unseal(args) => unseal(args, &client()?).await,
        Operator::Seal => {
            ask_node(&client()?, Method::Put, "sys/seal", json!({})).await?;
            Ok(Report::done("Success! The node is sealed."))
        }
        Operator::Status => status::run(&client()?).await,
        Operator::StepDown => {
            ask_node(&client()?, Method::Put, "sys/step-down", json!({})).await?;
            Ok(Report::done("Success! The leader stepped down."))
        }
        Operator::GenerateRoot(args) => generate_root::run(args, &client()?).await,
        Operator::Rekey(args) => rekey::run(args, &client()?).await,
        Operator::Rotate => rotate(&client()?).await,
        Operator::Snapshot(snapshot) => snapshot::run(snapshot, &client()?).await,
        Operator::Raft(raft) => raft::run(raft, &client()?).await,
        Operator::Recover(args) => recover::run(args, recover).await,
    }
}

async fn init(args: Init, client: &Client) -> Result<Report, Failure> {
    if args.status {
        let answer = client.first_node().send(Request::get("sys/init")).await?;
        return Ok(match answer.data()["initialized"] {
            Value::Bool(true) => Report::new("The node is initialized\n", answer.data()),
            _ => Report::new("The node is not initialized\n", answer.data()).with_code(CODE_NOT_INITIALIZED),
        });
    }
    let mut body = json!({"secret_shares": args.key_shares, "secret_threshold": args.key_threshold});
    if args.no_peer_unseal {
        body["peer_unseal"] = false.into();
    }
    let answer = ask_node(client, Method::Put, "sys/init", body).await?;
    Ok(initialized(&answer, args.key_shares, args.key_threshold))
}

/// The only time that keys and root token are shown.
fn initialized(answer: &Value, shares: u32, threshold: u32) -> Report {
    let list =
        |name: &str| answer.get(name).filter(|keys| !keys.is_null()).cloned().unwrap_or_else(|| json!([]));
    let json = json!({
        "unseal_keys_b64": list("keys_base64"),
        "unseal_keys_hex": list("keys"),
        "unseal_shares": shares,
        "unseal_threshold": threshold,
        "recovery_keys_b64": list("recovery_keys_base64"),
        "recovery_keys_hex": list("recovery_keys"),
        "recovery_keys_shares": 0,
        "recovery_keys_threshold": 0,
        "root_token": answer["root_token"],
    });
    let mut text = String::new();
    for (index, key) in json["unseal_keys_b64"].as_array().into_iter().flatten().enumerate() {
        text.push_str(&format!("Unseal Key {}: {}\n", index + 1, key.as_str().unwrap_or_default()));
    }
    let root_token = answer["root_token"].as_str().unwrap_or_default();
    text.push_str(&format!("\nInitial Root Token: {root_token}\n\n"));
    text.push_str(&format!(
        "The cluster has {shares} key shares, and {threshold} of them unseal it. They are shown only now: give them to\n\
         people who keep them apart. Whoever loses too many of them loses every secret at the next full restart.\n"
    ));
    Report::new(text, &json)
}

async fn unseal(args: Unseal, client: &Client) -> Result<Report, Failure> {
    let body = match (args.reset, args.key) {
        (true, _) => json!({"reset": true}),
        (false, key) => json!({ "key": quorum::key(key)? }),
    };
    let answer = ask_node(client, Method::Put, "sys/unseal", body).await?;
    Ok(Report::new(status::shown(object(&answer)), &answer))
}

async fn rotate(client: &Client) -> Result<Report, Failure> {
    client.send(Request::post("sys/rotate/keyring", json!({}))).await?;
    let answer = client.send(Request::get("sys/key-status")).await?;
    let status = answer.data();
    let rows = [("Key Term", "term"), ("Install Time", "install_time"), ("Encryption Count", "encryptions")]
        .map(|(title, name)| [title.to_owned(), crate::output::value::cell(name, &status[name])]);
    let text = format!("Success! Rotated key\n\n{}", table::columns(["Key", "Value"], &rows));
    Ok(Report::new(text, status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    fn answer() -> Value {
        json!({"keys": ["aa", "bb"], "keys_base64": ["qg==", "uw=="], "root_token": "s.root"})
    }

    #[test]
    fn init_prints_every_key_and_the_root_token_once() {
        let text = initialized(&answer(), 2, 2).render(Format::Table, None).unwrap();
        assert!(
            text.starts_with("Unseal Key 1: qg==\nUnseal Key 2: uw==\n\nInitial Root Token: s.root\n\n"),
            "{text}"
        );
    }

    #[test]
    fn init_has_the_json_that_scripts_know() {
        let report = initialized(&answer(), 2, 2);
        let json: Value = serde_json::from_str(&report.render(Format::Json, None).unwrap()).unwrap();
        let expect = json!({"unseal_keys_b64": ["qg==", "uw=="], "unseal_keys_hex": ["aa", "bb"],
            "unseal_shares": 2, "unseal_threshold": 2, "recovery_keys_b64": [], "recovery_keys_hex": [],
            "recovery_keys_shares": 0, "recovery_keys_threshold": 0, "root_token": "s.root"});
        assert_eq!(json, expect);
        assert_eq!(report.render(Format::Table, Some("root_token")).unwrap(), "s.root");
    }
}
