//! `conclave operator raft`: the nodes of the cluster, spelled as Vault spells them.

use clap::{Args, Subcommand};
use conclave_client::{Client, Request};
use serde_json::{Value, json};

use super::snapshot::{self, Snapshot};
use crate::failure::Failure;
use crate::output::{Report, table};

#[derive(Subcommand)]
pub enum Raft {
    /// List the nodes that hold the log
    ListPeers,
    /// Remove a node for good
    RemovePeer(RemovePeer),
    /// Save and restore backups
    #[command(subcommand)]
    Snapshot(Snapshot),
}

#[derive(Args)]
pub struct RemovePeer {
    /// The node's name
    server_id: String,
}

pub async fn run(raft: Raft, client: &Client) -> Result<Report, Failure> {
    match raft {
        Raft::ListPeers => {
            let answer = client.send(Request::get("sys/storage/raft/configuration")).await?;
            let shown = peers(&answer.data()["config"]["servers"]);
            Ok(Report::answer(&answer, shown))
        }
        Raft::RemovePeer(args) => {
            let body = json!({ "server_id": args.server_id });
            client.send(Request::post("sys/storage/raft/remove-peer", body)).await?;
            Ok(Report::done("Peer removed successfully!"))
        }
        Raft::Snapshot(snapshot) => snapshot::run(snapshot, client).await,
    }
}

fn peers(servers: &Value) -> String {
    let text = |server: &Value, name: &str| server[name].as_str().unwrap_or("n/a").to_owned();
    let rows: Vec<_> = servers
        .as_array()
        .into_iter()
        .flatten()
        .map(|server| {
            let state = if server["leader"] == true { "leader" } else { "follower" };
            let voter = (server["voter"] == true).to_string();
            [text(server, "node_id"), text(server, "address"), state.to_owned(), voter]
        })
        .collect();
    table::columns(["Node", "Address", "State", "Voter"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_listed_with_their_state() {
        let servers = json!([
            {"node_id": "n1", "address": "127.0.0.1:8201", "leader": true, "voter": true},
            {"node_id": "n2", "address": "127.0.0.1:8211", "leader": false, "voter": false},
        ]);
        let expect = "\
Node    Address           State       Voter
----    -------           -----       -----
n1      127.0.0.1:8201    leader      true
n2      127.0.0.1:8211    follower    false
";
        assert_eq!(peers(&servers), expect);
    }
}
