//! Real clusters for tests: `conclave dev` starts them, tests kill, restart, grow and question their nodes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The program under test.
pub const CONCLAVE: &str = env!("CARGO_BIN_EXE_conclave");
/// How long anything that must come about may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct ClusterFile {
    ca_cert: PathBuf,
    root_token: String,
    unseal_keys: Vec<String>,
    nodes: Vec<Node>,
}

/// One server process.
#[derive(Clone, Deserialize)]
pub struct Node {
    pub id: String,
    pub api_addr: String,
    pub cluster_addr: String,
    pid: i32,
    pub data_dir: PathBuf,
    pub log: PathBuf,
}

/// A running cluster; its processes and files end with it.
pub struct Cluster {
    pub dir: tempfile::TempDir,
    pub root_token: String,
    pub unseal_keys: Vec<String>,
    pub nodes: Vec<Node>,
    client: Client,
    children: Vec<Child>,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The sentences of a refusal.
    pub fn errors(&self) -> String {
        let sentences = self.json()["errors"].as_array().cloned().unwrap_or_default();
        sentences.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

impl Cluster {
    /// `nodes` unsealed voters with `secret/` as KV version 2.
    pub fn start(nodes: usize) -> Self {
        Self::start_with(nodes, &[])
    }

    pub fn start_with(nodes: usize, environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = dir.path().join("c");
        let output = Command::new(CONCLAVE)
            .args(["dev", "--detach", "--json", "--base-port", "0"])
            .args(["--nodes", &nodes.to_string(), "--dir"])
            .arg(&folder)
            .envs(environment.iter().copied())
            .output()
            .expect("conclave runs");
        assert!(output.status.success(), "conclave dev: {}", String::from_utf8_lossy(&output.stderr));
        let file: ClusterFile = serde_json::from_slice(&output.stdout).expect("cluster.json");
        let client = trusting(&file.ca_cert);
        let ClusterFile { root_token, unseal_keys, nodes, .. } = file;
        Self { dir, root_token, unseal_keys, nodes, client, children: Vec::new() }
    }

    pub fn ca_cert(&self) -> PathBuf {
        self.nodes[0].data_dir.join("tls/ca.pem")
    }

    /// A request with the root token.
    pub async fn call(&self, node: usize, method: &str, path: &str, body: Value) -> Answer {
        self.try_call(node, method, path, body, &[])
            .await
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// A request with this token.
    pub async fn call_as(&self, node: usize, token: &str, method: &str, path: &str, body: Value) -> Answer {
        self.try_call(node, method, path, body, &[("X-Vault-Token", token)])
            .await
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// A request with the root token and more headers; an error if the node cannot be reached.
    pub async fn try_call(
        &self,
        node: usize,
        method: &str,
        path: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        let mut headers = headers.to_vec();
        if !headers.iter().any(|(name, _)| *name == "X-Vault-Token") {
            headers.push(("X-Vault-Token", &self.root_token));
        }
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.raw(node, method, &format!("/v1/{path}"), body, &headers).await
    }

    /// A request exactly as given.
    pub async fn raw(
        &self,
        node: usize,
        method: &str,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.client.request(method, format!("{}{path}", self.nodes[node].api_addr));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }

    /// A GET whose path no client library has tidied up; returns everything that came back.
    pub async fn exact_get(&self, node: usize, path: &[u8]) -> String {
        let head = format!(
            " HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {}\r\nConnection: close\r\n\r\n",
            self.root_token
        );
        let mut stream = self.open_tls(node).await;
        stream.write_all(&[b"GET ", path, head.as_bytes()].concat()).await.expect("sent");
        let mut answer = Vec::new();
        // A server may close without TLS's own goodbye once it has refused.
        let _cut_off = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A connection to the API port on which nothing has been said yet.
    pub async fn open_tcp(&self, node: usize) -> TcpStream {
        let authority = self.nodes[node].api_addr.split("://").last().expect("a URL");
        TcpStream::connect(authority).await.expect("the node is reachable")
    }

    /// As [`Cluster::open_tcp`], after the TLS handshake.
    pub async fn open_tls(&self, node: usize) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        let pem = std::fs::read(self.ca_cert()).expect("the authority's certificate");
        roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("an authority");
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = "localhost".try_into().expect("a name");
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        connector.connect(name, self.open_tcp(node).await).await.expect("TLS")
    }

    pub async fn put(&self, node: usize, path: &str, value: &str) -> Answer {
        self.call(node, "POST", &format!("secret/data/{path}"), json!({ "data": { "value": value } })).await
    }

    /// The value at `path`, read linearizably; `None` if there is none.
    pub async fn get(&self, node: usize, path: &str) -> Option<String> {
        let answer = self.call(node, "GET", &format!("secret/data/{path}"), Value::Null).await;
        match StatusCode::from_u16(answer.status) {
            Ok(StatusCode::OK) => answer.json()["data"]["data"]["value"].as_str().map(str::to_owned),
            Ok(StatusCode::NOT_FOUND) => None,
            _ => panic!("{}: {}", answer.status, answer.text),
        }
    }

    pub async fn health(&self, node: usize) -> Option<u16> {
        Some(self.try_call(node, "GET", "sys/health", Value::Null, &[]).await.ok()?.status)
    }

    pub async fn wait_for_health(&self, node: usize, expected: &[u16]) {
        eventually(&format!("health of {} in {expected:?}", self.nodes[node].id), async || {
            self.health(node).await.is_some_and(|status| expected.contains(&status))
        })
        .await;
    }

    /// The position of the leader, as a running node knows it.
    pub async fn leader(&self) -> usize {
        let mut found = None;
        eventually("a leader", async || {
            for node in 0..self.nodes.len() {
                if self.is_running(node) && self.health(node).await == Some(200) {
                    found = Some(node);
                    return true;
                }
            }
            false
        })
        .await;
        found.expect("found above")
    }

    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        (0..self.nodes.len()).find(|node| *node != leader && self.is_running(*node)).expect("a follower")
    }

    pub fn is_running(&self, node: usize) -> bool {
        test_kill_process(self.pid(node)).is_ok()
    }

    pub fn signal(&self, node: usize, signal: Signal) {
        kill_process(self.pid(node), signal).expect("the process is there");
    }

    /// SIGKILL: the process ends in the middle of whatever it does.
    pub async fn kill(&mut self, node: usize) {
        self.signal(node, Signal::KILL);
        self.wait_for_end(node).await;
    }

    /// SIGTERM, and waits for an orderly end.
    pub async fn stop(&mut self, node: usize) {
        self.signal(node, Signal::TERM);
        self.wait_for_end(node).await;
    }

    pub async fn wait_for_end(&mut self, node: usize) {
        let pid = self.nodes[node].pid;
        for child in &mut self.children {
            if child.id() as i32 == pid {
                child.wait().expect("a child can be waited for");
                return;
            }
        }
        eventually("the process ends", async || !self.is_running(node)).await;
    }

    /// Whether a node that this test started has ended by itself.
    pub fn has_ended(&mut self, node: usize) -> bool {
        let pid = self.nodes[node].pid;
        let child = self.children.iter_mut().find(|child| child.id() as i32 == pid);
        child.is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Starts the node again, as it was.
    pub fn restart(&mut self, node: usize) {
        self.restart_with(node, &[]);
    }

    pub fn restart_with(&mut self, node: usize, more: &[&str]) {
        let command = command(&self.nodes[node], more);
        self.spawn(node, command);
    }

    /// Starts the node again, with more variables.
    pub fn restart_in(&mut self, node: usize, environment: &[(&str, &str)]) {
        let mut command = command(&self.nodes[node], &[]);
        command.envs(environment.iter().copied());
        self.spawn(node, command);
    }

    fn spawn(&mut self, node: usize, mut command: Command) {
        let child = command.spawn().expect("conclave runs");
        self.nodes[node].pid = i32::try_from(child.id()).expect("a process id");
        self.children.push(child);
    }

    /// Starts a new node that joins by itself; returns its position.
    pub async fn grow(&mut self, id: &str) -> usize {
        let leader = self.leader().await;
        let answer = self.call(leader, "POST", "sys/cluster/join-token", Value::Null).await.expect(200);
        let token = answer.json()["data"]["token"].as_str().expect("a token").to_owned();
        let position = self.add_node(id);
        let member = self.nodes[leader].api_addr.clone();
        self.restart_with(position, &["--join-addr", &member, "--join-token", &token]);
        position
    }

    /// A place for another node, not started yet.
    pub fn add_node(&mut self, id: &str) -> usize {
        let folder = self.dir.path().join("c");
        self.nodes.push(Node {
            id: id.to_owned(),
            api_addr: format!("https://127.0.0.1:{}", free_port()),
            cluster_addr: format!("127.0.0.1:{}", free_port()),
            pid: 0,
            data_dir: folder.join(id),
            log: folder.join(format!("{id}.log")),
        });
        self.nodes.len() - 1
    }

    /// Names and roles of all members, as the node at `node` lists them.
    pub async fn members(&self, node: usize) -> Vec<(String, String)> {
        let answer = self.call(node, "GET", "sys/cluster/members", Value::Null).await.expect(200);
        let members = answer.json()["data"]["members"].as_array().expect("members").clone();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        members.iter().map(|member| (text(&member["id"]), text(&member["role"]))).collect()
    }

    pub async fn wait_for_voters(&self, node: usize, count: usize) {
        eventually(&format!("{count} voters"), async || {
            let answer = self.try_call(node, "GET", "sys/cluster/members", Value::Null, &[]).await;
            let Ok(answer) = answer else { return false };
            if answer.status != 200 {
                return false;
            }
            let members = answer.json()["data"]["members"].as_array().cloned().unwrap_or_default();
            members.len() == count && members.iter().all(|member| member["role"] != "learner")
        })
        .await;
    }

    /// The node's log, for a failing test and for looking for what must not be in it.
    pub fn log_of(&self, node: usize) -> String {
        std::fs::read_to_string(&self.nodes[node].log).unwrap_or_default()
    }

    fn pid(&self, node: usize) -> Pid {
        Pid::from_raw(self.nodes[node].pid).expect("a process id is positive")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in 0..self.nodes.len() {
            if let Some(pid) = Pid::from_raw(self.nodes[node].pid) {
                // SIGCONT first, so that a paused process dies too.
                let _gone = kill_process(pid, Signal::CONT);
                let _gone = kill_process(pid, Signal::KILL);
            }
            if std::thread::panicking() {
                let log = self.log_of(node);
                let tail: Vec<_> = log.lines().rev().take(15).collect();
                eprintln!("--- {} (newest first)\n{}", self.nodes[node].id, tail.join("\n"));
            }
        }
        for child in &mut self.children {
            drop(child.wait());
        }
    }
}

fn command(node: &Node, more: &[&str]) -> Command {
    let listen = node.api_addr.split("://").last().expect("a URL");
    let log = File::options().append(true).create(true).open(&node.log).expect("the log can be written");
    let mut command = Command::new(CONCLAVE);
    command
        .arg("server")
        .args(["--node-name", &node.id, "--data-dir"])
        .arg(&node.data_dir)
        .args(["--api-listen", listen, "--api-addr", &node.api_addr])
        .args(["--cluster-listen", &node.cluster_addr, "--cluster-addr", &node.cluster_addr])
        .args(more)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file can be cloned"))
        .stderr(log);
    command
}

/// For a node without TLS.
pub fn plain_client() -> Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::new()
}

fn trusting(ca_cert: &Path) -> Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    let pem = std::fs::read(ca_cert).expect("the authority's certificate");
    Client::builder()
        .add_root_certificate(reqwest::Certificate::from_pem(&pem).expect("a certificate"))
        .timeout(Duration::from_secs(20))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client")
}

pub fn free_port() -> u16 {
    conclave_cli::ports::unused(1).expect("a free port")[0]
}

/// Waits until `holds`, or fails the test.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let began = Instant::now();
        while !holds().await {
            assert!(began.elapsed() < PATIENCE, "{place}: not within {PATIENCE:?}: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
