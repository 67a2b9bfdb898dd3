//! Makes a cluster: the first node initialises it, the others join and vote.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use conclave_oracle::place::{FLEETING, PLAIN};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Clocks, Cluster, Health, Needs, name};
use crate::client::{HELD, LASTS_MS, LOCK_MS, LOCK_THRESHOLD, locks};
use crate::net::Net;

/// How long each step may take on a machine that has much else to do.
const STEP_MAX: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(100);
const CONNECT_MAX: Duration = Duration::from_secs(1);
const SHARES: u64 = 3;
const THRESHOLD: u64 = 2;
/// How long wrong passwords are counted: longer than any run.
const COUNTED: &str = "24h";
const MS_PER_S: u64 = 1_000;

impl Cluster {
    /// All nodes serve and vote, and the mounts that clients work with are there.
    pub async fn found(net: Arc<Net>, program: &Path, folder: &Path, needs: Needs) -> anyhow::Result<Self> {
        let nodes = net.nodes();
        let Needs { disks, environment, bends_clocks, heal_max, has_points } = needs;
        let clocks = bends_clocks.then(|| Clocks::new(folder, nodes).map(Arc::new)).transpose()?;
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_MAX).build()?;
        let mut cluster = Self {
            net,
            program: program.to_owned(),
            folder: folder.to_owned(),
            environment,
            http,
            clocks,
            heal_max,
            processes: (0..nodes).map(|_| Mutex::new(None)).collect(),
            conditions: (0..nodes).map(|_| Mutex::default()).collect(),
            disks,
            token: String::new(),
            shares: Vec::new(),
            deaths: Mutex::default(),
            has_points,
        };
        cluster.start(0, None)?;
        cluster.await_health(0, |health| health == Health::NotInitialized).await?;
        let body = json!({"secret_shares": SHARES, "secret_threshold": THRESHOLD});
        let answer = cluster.api(0).call(Method::PUT, "sys/init", Some(&body)).await?;
        let shares = answer["keys_base64"].as_array().cloned().unwrap_or_default();
        cluster.shares = shares.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        cluster.token = answer["root_token"].as_str().context("init gave no root token")?.to_owned();
        cluster.await_health(0, |health| health == Health::Sealed).await?;
        cluster.unseal(0).await?;
        cluster.await_health(0, |health| health == Health::Leads).await?;
        for node in 1..nodes {
            let answer = cluster.api(0).call(Method::POST, "sys/cluster/join-token", None).await?;
            let token = answer["data"]["token"].as_str().context("no join token")?.to_owned();
            cluster.start(node, Some((&cluster.url(0), &token)))?;
        }
        for node in 1..nodes {
            cluster.await_health(node, Health::serves).await?;
        }
        cluster.await_voters().await?;
        cluster.mount().await?;
        Ok(cluster)
    }

    /// A mount for each kind of secret that clients work with.
    async fn mount(&self) -> anyhow::Result<()> {
        let fleeting = format!("{FLEETING}{LASTS_MS}");
        for (path, version) in [("secret", "2"), (PLAIN, "1"), (&fleeting, "2")] {
            let body = json!({"type": "kv", "options": {"version": version}});
            self.api(0).call(Method::POST, &format!("sys/mounts/{path}"), Some(&body)).await?;
        }
        let body = json!({"delete_version_after": format!("{LASTS_MS}ms")});
        self.api(0).call(Method::POST, &format!("{fleeting}/config"), Some(&body)).await?;
        self.enable_logins().await
    }

    /// Users who are locked out soon and not for long, and the secret that tokens are tried on.
    async fn enable_logins(&self) -> anyhow::Result<()> {
        let (api, mount) = (self.api(0), format!("sys/auth/{}", locks()));
        api.call(Method::POST, &mount, Some(&json!({"type": "userpass"}))).await?;
        let lockout = json!({
            "lockout_threshold": LOCK_THRESHOLD.to_string(),
            "lockout_duration": format!("{}s", LOCK_MS / MS_PER_S),
            "lockout_counter_reset_duration": COUNTED,
        });
        let tuned = json!({ "user_lockout_config": lockout });
        api.call(Method::POST, &format!("{mount}/tune"), Some(&tuned)).await?;
        api.call(Method::POST, HELD, Some(&json!({"data": {"value": 0}}))).await?;
        Ok(())
    }

    async fn await_health(&self, node: usize, good: impl Fn(Health) -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut health = Health::Away;
        while began.elapsed() < STEP_MAX {
            health = self.api(node).health().await;
            if good(health) {
                return Ok(());
            }
            self.note_deaths();
            if let Some(death) = self.deaths().first() {
                anyhow::bail!("{death}; see {}", self.log(node).display());
            }
            tokio::time::sleep(POLL).await;
        }
        anyhow::bail!("{} is {health:?} after {STEP_MAX:?}; see {}", name(node), self.log(node).display())
    }

    /// Joined nodes become voters when they have caught up.
    async fn await_voters(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < STEP_MAX {
            if self.voters().await == self.nodes() {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        anyhow::bail!("not all nodes vote after {STEP_MAX:?}")
    }
}
