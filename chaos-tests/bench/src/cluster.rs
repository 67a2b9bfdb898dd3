//! Three nodes of one system on loopback, ready to serve: how to start, ask, kill and bring back each.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

use crate::http::Api;
use crate::load::AppRole;
use crate::process::Process;
use crate::say;

/// Longest wait for a node to serve after it was started, or for a leader after one was lost.
const READY: Duration = Duration::from_secs(120);
const NODES: usize = 3;

pub struct Cluster {
    pub name: &'static str,
    pub token: String,
    pub nodes: Vec<Node>,
    /// Shares to unseal a restarted node with; empty where its peers do that.
    unseal: Vec<String>,
    /// Removed, with the data, when the cluster is dropped: after the processes, which are fields above.
    folder: TempDir,
}

/// Whether every request leaves a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Audit {
    Off,
    /// In one file a node.
    File,
}

pub struct Node {
    pub name: String,
    pub address: String,
    pub process: Process,
}

/// `cluster.json` of `conclave dev`, as far as it is needed here.
#[derive(Deserialize)]
struct DevCluster {
    root_token: String,
    nodes: Vec<DevNode>,
}

#[derive(Deserialize)]
struct DevNode {
    id: serde_json::Value,
    api_addr: String,
    pid: i32,
    log: PathBuf,
}

impl Cluster {
    pub async fn conclave(program: &Path, audit: Audit) -> anyhow::Result<Self> {
        say("starting three Conclave nodes");
        let folder = tempfile::Builder::new().prefix("conclave-bench-").tempdir()?;
        let dir = folder.path().join("cluster");
        let output = Command::new(program)
            .args(["dev", "--nodes", "3", "--no-tls", "--base-port", "0", "--detach", "--json", "--dir"])
            .arg(&dir)
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        anyhow::ensure!(output.status.success(), "conclave dev: {}", String::from_utf8_lossy(&output.stderr));
        let described: DevCluster = serde_json::from_slice(&std::fs::read(dir.join("cluster.json"))?)?;
        let mut nodes = Vec::new();
        for node in described.nodes {
            let name = node.id.as_str().map_or_else(|| node.id.to_string(), str::to_owned);
            nodes.push(Node { name, address: node.api_addr, process: Process::adopt(node.pid, &node.log)? });
        }
        let cluster =
            Self { name: "Conclave", token: described.root_token, nodes, unseal: Vec::new(), folder };
        cluster.ready().await?;
        if audit == Audit::File {
            // What OpenBao does with its file: hand each record to the system, and let it choose when to write.
            let device = json!({"type": "file", "options": {"file_path": "bench.log", "sync": "false"}});
            cluster.api(0).put("sys/audit/bench", &device).await?;
        }
        Ok(cluster)
    }

    /// OpenBao with integrated storage and its default settings; no TLS.
    pub async fn openbao(program: &Path, audit: Audit) -> anyhow::Result<Self> {
        say("starting three OpenBao nodes");
        let folder = tempfile::Builder::new().prefix("openbao-bench-").tempdir()?;
        let mut nodes = Vec::new();
        for number in 1..=NODES {
            nodes.push(start_openbao(program, folder.path(), &format!("n{number}"), audit)?);
        }
        let mut cluster = Self { name: "OpenBao", token: String::new(), nodes, unseal: Vec::new(), folder };
        cluster.join_openbao().await?;
        cluster.ready().await?;
        // Autopilot makes the two others voters after ten quiet seconds; before that a killed leader is the end.
        cluster.wait_for_voters().await?;
        cluster.api(0).put("sys/mounts/secret", &json!({"type": "kv", "options": {"version": "2"}})).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(cluster)
    }

    async fn join_openbao(&mut self) -> anyhow::Result<()> {
        let first = self.api(0);
        eventually("OpenBao answers", async || Ok(first.get("sys/init").await?.status.is_success())).await?;
        let made =
            first.put("sys/init", &json!({"secret_shares": 1, "secret_threshold": 1})).await?.json()?;
        self.token = made["root_token"].as_str().context("init gives a root token")?.to_owned();
        self.unseal = vec![made["keys_base64"][0].as_str().context("init gives a share")?.to_owned()];
        self.unseal_node(0).await?;
        let leader = self.nodes[0].address.clone();
        let leads = self.api(0);
        eventually("OpenBao leads", async || Ok(leads.get("sys/health").await?.status == 200)).await?;
        for node in 1..NODES {
            self.api(node).put("sys/storage/raft/join", &json!({"leader_api_addr": leader})).await?;
            self.unseal_node(node).await?;
        }
        Ok(())
    }

    async fn wait_for_voters(&self) -> anyhow::Result<()> {
        let api = self.api(0);
        eventually("three voters", async || {
            let state = api.get("sys/storage/raft/autopilot/state").await?.json()?;
            Ok(state["data"]["voters"].as_array().is_some_and(|voters| voters.len() == NODES))
        })
        .await
    }

    pub fn api(&self, node: usize) -> Api {
        Api::new(&self.nodes[node].address, &self.token)
    }

    /// A role whose secret id may be used without end, for logins.
    pub async fn app_role(&self) -> anyhow::Result<AppRole> {
        let api = self.api(self.leader().await?);
        api.put("sys/auth/approle", &json!({"type": "approle"})).await?;
        api.put("auth/approle/role/bench", &json!({"token_ttl": "1h"})).await?;
        let role = api.get("auth/approle/role/bench/role-id").await?.json()?;
        let secret = api.put("auth/approle/role/bench/secret-id", &json!({})).await?.json()?;
        let field = |answer: &serde_json::Value, name: &str| {
            let text = answer["data"][name].as_str().map(str::to_owned);
            text.with_context(|| format!("no {name} in the answer"))
        };
        Ok(AppRole { role_id: field(&role, "role_id")?, secret_id: field(&secret, "secret_id")? })
    }

    /// Makes `count` requests at `node`, so many at once; each by its number.
    ///
    /// # Errors
    /// The first that fails.
    pub async fn put_many(
        &self,
        node: usize,
        at_once: u64,
        count: u64,
        request: impl Fn(u64) -> (String, serde_json::Value) + Clone + Send + 'static,
    ) -> anyhow::Result<()> {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..at_once {
            let (api, request) = (self.api(node), request.clone());
            tasks.spawn(async move {
                for number in (task..count).step_by(at_once as usize) {
                    let (path, body) = request(number);
                    api.put(&path, &body).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }

    pub fn data_folder(&self) -> &Path {
        self.folder.path()
    }

    /// The index of the node that says of itself that it leads.
    pub async fn leader(&self) -> anyhow::Result<usize> {
        let deadline = Instant::now() + READY;
        loop {
            for node in 0..self.nodes.len() {
                let Ok(answer) = self.api(node).get("sys/leader").await else { continue };
                if answer.status.is_success() && answer.json()?["is_self"] == true {
                    return Ok(node);
                }
            }
            anyhow::ensure!(Instant::now() < deadline, "{}: no leader within {READY:?}", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts a killed node again and returns when it serves, unsealed.
    pub async fn bring_back(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].process.restart()?;
        if !self.unseal.is_empty() {
            self.unseal_node(node).await?;
        }
        self.serves(node).await
    }

    /// Returns when `node` is unsealed and part of the cluster.
    pub async fn serves(&self, node: usize) -> anyhow::Result<()> {
        let api = self.api(node);
        let healthy = async || Ok(matches!(api.get("sys/health").await?.status.as_u16(), 200 | 429));
        let Node { name, process, .. } = &self.nodes[node];
        eventually("the node serves", healthy)
            .await
            .with_context(|| format!("{} {name}; its log ends:\n{}", self.name, process.end_of_log()))
    }

    async fn ready(&self) -> anyhow::Result<()> {
        for node in 0..self.nodes.len() {
            self.serves(node).await?;
        }
        self.leader().await.map(|_| ())
    }

    async fn unseal_node(&self, node: usize) -> anyhow::Result<()> {
        let api = self.api(node);
        eventually("the node answers", async || Ok(api.get("sys/seal-status").await?.status.is_success()))
            .await?;
        for share in &self.unseal {
            // A node that has just joined answers the first shares before it knows the seal: ask until it opens.
            eventually("the node is unsealed", async || {
                let status = api.put("sys/unseal", &json!({"key": share})).await?.json()?;
                Ok(status["sealed"] == false)
            })
            .await?;
        }
        Ok(())
    }

    pub fn stop(mut self) {
        for node in &mut self.nodes {
            node.process.stop();
        }
    }
}

fn start_openbao(program: &Path, folder: &Path, name: &str, audit: Audit) -> anyhow::Result<Node> {
    let (api, cluster) = (free_port()?, free_port()?);
    let data = folder.join(name);
    std::fs::create_dir(&data)?;
    let config = folder.join(format!("{name}.hcl"));
    let text = format!(
        "storage \"raft\" {{\n  path = \"{}\"\n  node_id = \"{name}\"\n}}\n\
         listener \"tcp\" {{\n  address = \"127.0.0.1:{api}\"\n  cluster_address = \"127.0.0.1:{cluster}\"\n  tls_disable = true\n}}\n\
         api_addr = \"http://127.0.0.1:{api}\"\ncluster_addr = \"https://127.0.0.1:{cluster}\"\n",
        data.display()
    );
    let trail = match audit {
        Audit::Off => String::new(),
        Audit::File => format!(
            "audit \"file\" \"bench\" {{\n  options {{\n    file_path = \"{}\"\n  }}\n}}\n",
            folder.join(format!("{name}.audit.log")).display()
        ),
    };
    std::fs::write(&config, text + &trail)?;
    let arguments: Vec<OsString> =
        vec![program.into(), "server".into(), "-config".into(), config.into(), "-log-level=error".into()];
    let process = Process::start(arguments, &folder.join(format!("{name}.log")))?;
    Ok(Node { name: name.to_owned(), address: format!("http://127.0.0.1:{api}"), process })
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Asks until the answer is yes; an error counts as a no until the time is up.
pub async fn eventually(
    what: &str,
    mut ask: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY;
    loop {
        let answer = ask().await;
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(answer.err().unwrap_or_else(|| anyhow::anyhow!("still no")))
                .with_context(|| format!("{what}: not within {READY:?}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
