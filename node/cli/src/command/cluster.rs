//! `conclave members`, `join-token`, `join` and `leave`: which nodes the cluster has.

use clap::Args;
use conclave_client::{Client, Method, Request};
use serde_json::{Value, json};

use super::{ask_node, trimmed};
use crate::failure::Failure;
use crate::output::{Report, table, value};

#[derive(Args)]
pub struct JoinToken {
    /// How long the token can be used, such as 10m [default: the server's]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// The member whose disk is lost: the new node comes back under its name, and the old one is removed
    #[arg(long, value_name = "NODE")]
    replace: Option<String>,
}

#[derive(Args)]
pub struct Join {
    /// A member of the cluster to join, such as https://node1.example:8200
    #[arg(long, value_name = "URL")]
    addr: String,
    /// A join token of that cluster; "-": read it from standard input
    #[arg(long)]
    token: String,
}

pub async fn members(client: &Client) -> Result<Report, Failure> {
    let answer = client.send(Request::get("sys/cluster/members")).await?;
    Ok(Report::answer(&answer, shown(&answer.data()["members"])))
}

fn shown(members: &Value) -> String {
    let text = |member: &Value, name: &str| value::cell(name, &member[name]);
    let rows: Vec<_> = members
        .as_array()
        .into_iter()
        .flatten()
        .map(|member| ["id", "api_addr", "cluster_addr", "role"].map(|name| text(member, name)))
        .collect();
    table::columns(["Node", "API Address", "Cluster Address", "Role"], &rows)
}

pub async fn join_token(args: JoinToken, client: &Client) -> Result<Report, Failure> {
    let mut body = json!({ "ttl": args.ttl });
    if let Some(member) = args.replace {
        body["replace"] = member.into();
    }
    let answer = client.send(Request::post("sys/cluster/join-token", body)).await?;
    let token = answer.data()["token"]
        .as_str()
        .ok_or_else(|| Failure::refused("the server's answer holds no join token"))?;
    let address = client.addresses().first().copied().unwrap_or_default().to_owned();
    let table = format!(
        "Join token: {token}\n\nIt works once. On the new node, with its server running:\n\n    \
         conclave join --addr {address} --token {token}\n"
    );
    Ok(Report::answer(&answer, table))
}

pub async fn join(args: Join, client: &Client) -> Result<Report, Failure> {
    let token = match args.token.as_str() {
        "-" => crate::input::line(std::io::stdin().lock())?,
        _ => args.token,
    };
    let body = json!({"leader_api_addr": trimmed(&args.addr), "token": token});
    let answer = ask_node(client, Method::Put, "sys/storage/raft/join", body).await?;
    let joined = answer.get("joined").or_else(|| answer["data"].get("joined"));
    if joined == Some(&Value::Bool(false)) {
        return Err(Failure::refused("the node did not join: its log says why"));
    }
    Ok(Report::done(format!("Success! The node joins the cluster of {}", args.addr)))
}

pub async fn leave(client: &Client) -> Result<Report, Failure> {
    ask_node(client, Method::Post, "sys/cluster/leave", json!({})).await?;
    let address = client.addresses().first().copied().unwrap_or_default().to_owned();
    Ok(Report::done(format!("Success! The node {address} left its cluster")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_listed_with_their_role() {
        let members = json!([
            {"id": "n1", "raft_id": 1, "api_addr": "https://127.0.0.1:8200", "cluster_addr": "127.0.0.1:8201", "role": "leader"},
            {"id": "n2", "raft_id": 2, "api_addr": "https://127.0.0.1:8210", "cluster_addr": "127.0.0.1:8211", "role": "learner"},
        ]);
        let expect = "\
Node    API Address               Cluster Address    Role
----    -----------               ---------------    ----
n1      https://127.0.0.1:8200    127.0.0.1:8201     leader
n2      https://127.0.0.1:8210    127.0.0.1:8211     learner
";
        assert_eq!(shown(&members), expect);
    }
}
