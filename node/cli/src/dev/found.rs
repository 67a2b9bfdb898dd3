//! Makes a new cluster: the first node initialises it, the others join.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use conclave_client::{Client, Request};
use serde_json::{Value, json};

use super::api::{self, Health};
use super::cluster_file::{ClusterFile, Node};
use super::process::{FirstStart, Servers};
use super::{Dev, cluster_file};
use crate::failure::Failure;
use crate::ports;

const NODES: u16 = 3;
/// From one node's API port to the next one's.
const PORT_STEP: u16 = 10;
/// A copy, so that it stays when the first node is wiped.
const CA_FILE: &str = "ca.pem";

pub async fn run(
    dev: &Dev,
    folder: &Path,
    servers: &mut Servers,
    made: &mut Vec<PathBuf>,
) -> Result<ClusterFile, Failure> {
    let mut nodes = plan_nodes(dev, folder)?;
    for node in &nodes {
        if node.data_dir.exists() {
            return Err(Failure::usage(format!(
                "{} is there, but no cluster.json: remove it, or choose another folder",
                node.data_dir.display()
            )));
        }
    }
    for node in &nodes {
        cluster_file::make_private_folder(&node.data_dir)?;
        made.push(node.data_dir.clone());
    }
    servers.start(&mut nodes[0], &FirstStart { root_token: dev.root_token.as_deref(), join: None })?;
    let authority = api::authority_of(&nodes[0]);
    let first = nodes[0].clone();
    api::wait_until("the first node answers", &nodes, servers, async || {
        api::health(&first, &authority).await == Health::NotInitialized
    })
    .await?;
    let (unseal_keys, root_token) = initialize(dev, &first, &authority).await?;

    // Initialising has made the cluster's own authority, in the place of the one for the first minutes.
    let ca_cert = copy_authority(&authority, folder, dev.no_tls)?;
    let ca_path = ca_cert.clone().unwrap_or_else(|| folder.join(CA_FILE));
    api::wait_until("the first node has its certificate", &nodes, servers, async || {
        api::health(&first, &ca_path).await == Health::Sealed
    })
    .await?;
    api::unseal(&api::client(&first, &ca_path, None)?, &unseal_keys).await?;
    api::wait_until("the first node serves", &nodes, servers, async || {
        api::health(&first, &ca_path).await == Health::Serving
    })
    .await?;

    let client = api::client(&first, &ca_path, Some(&root_token))?;
    for node in &mut nodes[1..] {
        let token = join_token(&client).await?;
        servers.start(node, &FirstStart { root_token: None, join: Some((&first.api_addr, &token)) })?;
    }
    await_members(&nodes, &ca_path, &client, servers).await?;
    enable_secrets(&client).await?;
    Ok(ClusterFile { ca_cert, root_token, unseal_keys, nodes })
}

/// Names, ports and folders of the nodes.
fn plan_nodes(dev: &Dev, folder: &Path) -> Result<Vec<Node>, Failure> {
    let count = dev.nodes.unwrap_or(NODES);
    let ports = if dev.base_port == 0 { unused_ports(count)? } else { ports_from(dev.base_port, count)? };
    let scheme = if dev.no_tls { "http" } else { "https" };
    let nodes = ports.into_iter().zip(1..).map(|((api, cluster), number)| Node {
        id: format!("n{number}"),
        api_addr: format!("{scheme}://127.0.0.1:{api}"),
        cluster_addr: format!("127.0.0.1:{cluster}"),
        pid: None,
        data_dir: folder.join(format!("n{number}")),
        log: folder.join(format!("n{number}.log")),
    });
    Ok(nodes.collect())
}

/// API and cluster port of each node.
fn ports_from(base: u16, count: u16) -> Result<Vec<(u16, u16)>, Failure> {
    let last = base.checked_add((count - 1) * PORT_STEP).and_then(|api| api.checked_add(1));
    last.ok_or_else(|| {
        Failure::usage("--base-port is too high: the last node's ports would be above 65535")
    })?;
    let ports: Vec<_> = (0..count).map(|index| base + index * PORT_STEP).map(|api| (api, api + 1)).collect();
    for port in ports.iter().flat_map(|(api, cluster)| [*api, *cluster]) {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
            Failure::local(format!(
                "cannot use port {port} ({error}): choose another --base-port, or 0 for free ones"
            ))
        })?;
    }
    Ok(ports)
}

/// API and cluster port of each node, any that nobody uses.
fn unused_ports(count: u16) -> Result<Vec<(u16, u16)>, Failure> {
    let ports = ports::unused(usize::from(count) * 2)
        .map_err(|error| Failure::local(format!("cannot find a free port: {error}")))?;
    Ok(ports.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

async fn initialize(dev: &Dev, first: &Node, authority: &Path) -> Result<(Vec<String>, String), Failure> {
    let body = json!({"secret_shares": dev.key_shares, "secret_threshold": dev.key_threshold});
    let client = api::client(first, authority, None)?;
    let answer = client.send(Request::put("sys/init", body).once()).await?;
    let keys = answer.data()["keys_base64"].as_array().cloned().unwrap_or_default();
    let keys: Vec<_> = keys.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let root_token = answer.data()["root_token"].as_str().unwrap_or_default().to_owned();
    if keys.is_empty() || root_token.is_empty() {
        return Err(Failure::refused("the first node's answer to init holds no keys or no root token"));
    }
    Ok((keys, root_token))
}

fn copy_authority(authority: &Path, folder: &Path, no_tls: bool) -> Result<Option<PathBuf>, Failure> {
    let copy = folder.join(CA_FILE);
    match std::fs::copy(authority, &copy) {
        Ok(_) => Ok(Some(copy)),
        Err(error) if no_tls && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::local(format!("cannot copy {}: {error}", authority.display()))),
    }
}

async fn join_token(client: &Client) -> Result<String, Failure> {
    let answer = client.send(Request::post("sys/cluster/join-token", json!({}))).await?;
    let token = answer.data()["token"].as_str().map(str::to_owned);
    token.ok_or_else(|| Failure::refused("the first node's answer holds no join token"))
}

/// Until every node serves and votes.
pub async fn await_members(
    nodes: &[Node],
    ca_cert: &Path,
    client: &Client,
    servers: &mut Servers,
) -> Result<(), Failure> {
    for node in nodes {
        api::wait_until(&format!("{} serves", node.id), nodes, servers, async || {
            api::health(node, ca_cert).await == Health::Serving
        })
        .await?;
    }
    api::wait_until("every node votes", nodes, servers, async || api::voters(client).await == nodes.len())
        .await
}

async fn enable_secrets(client: &Client) -> Result<(), Failure> {
    let body = json!({"type": "kv", "options": {"version": "2"}});
    client.send(Request::post("sys/mounts/secret", body)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_follow_from_the_base_and_a_used_one_is_named() {
        assert_eq!(ports_from(65_530, 2).err().map(|failure| failure.code()), Some(2));
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let sentence = ports_from(port, 1).err().unwrap().to_string();
        assert!(sentence.contains(&port.to_string()), "{sentence}");
    }
}
