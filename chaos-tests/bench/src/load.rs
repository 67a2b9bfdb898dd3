//! The load: `wrk`, which costs the shared machine little and is nobody's own program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::Context as _;
use serde_json::json;

use crate::cores::Cores;

/// Distinct secrets that the load reads and writes, so that neither side answers from one hot record
/// and no two requests in flight meet at one secret.
pub const KEYS: u32 = 10_000;
/// Bytes of each secret's value.
pub const VALUE_BYTES: usize = 256;

#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    pub per_second: f64,
    pub median: String,
    pub p99: String,
    /// Requests that got no answer or one that is neither 2xx nor 3xx.
    pub failed: u64,
}

/// One measurement; run on a thread of its own, since it waits for a process.
pub struct Load {
    pub address: String,
    pub token: String,
    pub script: PathBuf,
    pub connections: u32,
    pub seconds: u64,
    pub cores: Cores,
}

impl Load {
    pub async fn run(self) -> anyhow::Result<Rate> {
        let output = tokio::task::spawn_blocking(move || self.cores.as_load(|| self.wrk())).await??;
        let text = String::from_utf8_lossy(&output.stdout);
        parse(&text).with_context(|| format!("wrk: {}{text}", String::from_utf8_lossy(&output.stderr)))
    }

    fn wrk(&self) -> anyhow::Result<Output> {
        Command::new("wrk")
            .args(["--threads", &self.cores.load_threads().to_string(), "--latency", "--timeout", "10s"])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.seconds)])
            .args(["--header", &format!("X-Vault-Token: {}", self.token)])
            .arg("--script")
            .arg(&self.script)
            .arg(&self.address)
            .output()
            .context("cannot run wrk: run `make setup`")
    }
}

/// What every request of a load is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Of a KV v2 secret.
    Read,
    /// Of a KV v2 secret.
    Write,
    /// Of the token that the request carries.
    Lookup,
    /// By AppRole.
    Login,
}

/// What a machine logs in with.
#[derive(Clone)]
pub struct AppRole {
    pub role_id: String,
    pub secret_id: String,
}

impl Work {
    /// Writes the script that makes wrk do this. Its requests are made once, so that the load spends its time on
    /// sending them.
    pub fn script(self, folder: &Path, app: Option<&AppRole>) -> anyhow::Result<PathBuf> {
        let value = "x".repeat(VALUE_BYTES);
        let secret = "\"/v1/secret/data/bench/\" .. n".to_owned();
        let (name, method, path, body) = match self {
            Self::Read => ("read", "GET", secret, None),
            Self::Write => ("write", "PUT", secret, Some(json!({"data": {"value": value}}))),
            Self::Lookup => ("lookup", "GET", "\"/v1/auth/token/lookup-self\"".to_owned(), None),
            Self::Login => {
                let AppRole { role_id, secret_id } = app.context("a login needs a role")?;
                let body = json!({"role_id": role_id, "secret_id": secret_id});
                ("login", "POST", "\"/v1/auth/approle/login\"".to_owned(), Some(body))
            }
        };
        let body = body.map_or_else(|| "nil".to_owned(), |body| format!("'{body}'"));
        let script = format!(
            "local requests, next_request = {{}}, 0\n\
             function init()\n  wrk.headers[\"Content-Type\"] = \"application/json\"\n  \
               for n = 0, {KEYS} - 1 do\n    \
                 requests[n] = wrk.format(\"{method}\", {path}, nil, {body})\n  \
               end\nend\n\
             function request()\n  next_request = (next_request + 1) % {KEYS}\n  return requests[next_request]\nend\n"
        );
        let path = folder.join(name).with_extension("lua");
        std::fs::write(&path, script)?;
        Ok(path)
    }
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "KV v2 read",
            Self::Write => "KV v2 write",
            Self::Lookup => "token lookup",
            Self::Login => "AppRole login",
        })
    }
}

fn parse(text: &str) -> anyhow::Result<Rate> {
    let after = |mark: &str| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(mark));
        line.and_then(|rest| rest.split_whitespace().next()).map(str::to_owned)
    };
    let per_second = after("Requests/sec:").context("no rate in the output")?.parse()?;
    let mut failed = after("Non-2xx or 3xx responses:").map_or(Ok(0), |count| count.parse())?;
    if let Some(line) = text.lines().find_map(|line| line.trim_start().strip_prefix("Socket errors:")) {
        let counts = line.split(',').filter_map(|part| part.split_whitespace().last());
        failed += counts.filter_map(|count| count.parse::<u64>().ok()).sum::<u64>();
    }
    let latency = |mark: &str| after(mark).context("no latency in the output");
    Ok(Rate { per_second, median: latency("50%")?, p99: latency("99%")?, failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Running 1s test @ http://127.0.0.1:1\n  1 threads and 32 connections\n  Thread Stats   Avg\n\
        Latency Distribution\n     50%    1.50ms\n     75%    2.00ms\n     90%    3.00ms\n     99%    9.10ms\n  \
        2070 requests in 1.00s, 1.00MB read\nRequests/sec:   2070.50\nTransfer/sec:      1.00MB\n";

    #[test]
    fn the_rate_and_the_latencies_are_read() {
        let expected = Rate { per_second: 2070.5, median: "1.50ms".into(), p99: "9.10ms".into(), failed: 0 };
        assert_eq!(parse(GOOD).unwrap(), expected);
    }

    #[test]
    fn failures_of_both_kinds_are_counted() {
        let text = format!(
            "{GOOD}  Non-2xx or 3xx responses: 7\n  Socket errors: connect 1, read 2, write 0, timeout 3\n"
        );
        assert_eq!(parse(&text).unwrap().failed, 13);
    }

    #[test]
    fn an_output_without_a_rate_is_an_error() {
        assert!(parse("unable to connect").is_err());
    }
}
