//! What the harness asks of nodes as their operator; the clients under test have a way of their own.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use reqwest::Method;
use serde_json::Value;

/// Port of the API in each node's namespace.
pub const API_PORT: u16 = 8200;
/// How long one question may take; a node that is paused accepts it and does not answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long restoring a snapshot may take.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// A question whose answer is worth nothing later.
const QUICK: Duration = Duration::from_millis(700);

/// `sys/health`, as its status says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Leads,
    Follows,
    Sealed,
    NotInitialized,
    Removed,
    /// Not reachable, or no answer in time.
    Away,
}

impl Health {
    pub fn serves(self) -> bool {
        matches!(self, Self::Leads | Self::Follows)
    }
}

/// How a request was answered.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    pub status: u16,
    pub retry_after: bool,
    pub waited_ms: u64,
}

/// An operator at one node. It has no `Debug`: it holds the root token.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Api {
    pub fn new(http: reqwest::Client, base: String, token: String) -> Self {
        Self { http, base, token }
    }

    /// Status and body; an error if there is no answer.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, Value)> {
        self.ask_within(TIMEOUT, method, path, body).await
    }

    /// The body of an answer that is good.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let (status, answer) = self.ask(method, path, body).await?;
        anyhow::ensure!(
            (200..300).contains(&status),
            "{path} at {}: {status}: {}",
            self.base,
            answer["errors"]
        );
        Ok(answer)
    }

    pub async fn health(&self) -> Health {
        match self.ask_within(QUICK, Method::GET, "sys/health", None).await {
            Ok((200, _)) => Health::Leads,
            Ok((429, _)) => Health::Follows,
            Ok((503, _)) => Health::Sealed,
            Ok((501, _)) => Health::NotInitialized,
            Ok((530, _)) => Health::Removed,
            _ => Health::Away,
        }
    }

    /// One line of the metrics: its value, 0 if it is not there.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        Ok(metric_in(&self.text("sys/metrics?format=prometheus").await?, name))
    }

    /// A good answer as it came.
    pub async fn text(&self, path: &str) -> anyhow::Result<String> {
        Ok(String::from_utf8(self.download(path).await?)?)
    }

    /// What the node's own clock says, Unix milliseconds: from when to when, for not every node tells it exactly.
    pub async fn wall_clock_ms(&self) -> anyhow::Result<RangeInclusive<i64>> {
        let (_, answer) = self.ask_within(QUICK, Method::GET, "sys/host-info", None).await?;
        if let Some(text) = answer["data"]["timestamp"].as_str() {
            let ms = text.parse::<jiff::Timestamp>()?.as_millisecond();
            return Ok(ms..=ms);
        }
        // A node that cannot ask the cluster who we are tells strangers whole seconds.
        let (_, answer) = self.ask_within(QUICK, Method::GET, "sys/health", None).await?;
        let seconds = answer["server_time_utc"].as_i64().context("it does not tell the time")?;
        Ok(seconds * 1000..=seconds * 1000 + 999)
    }

    /// Fetches a file.
    pub async fn download(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let request = self.http.get(format!("{}/v1/{path}", self.base)).timeout(TIMEOUT);
        let response = request.header("X-Vault-Token", &self.token).send().await?;
        Ok(response.error_for_status()?.bytes().await?.to_vec())
    }

    /// Sends a file; says the status.
    pub async fn upload(&self, path: &str, file: Vec<u8>) -> anyhow::Result<u16> {
        let request = self.http.post(format!("{}/v1/{path}", self.base)).timeout(UPLOAD_TIMEOUT).body(file);
        let response = request.header("X-Vault-Token", &self.token).send().await?;
        Ok(response.status().as_u16())
    }

    /// How a request is answered that may be refused; nothing if it is not within `max`.
    pub async fn probe(
        &self,
        max: Duration,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Option<Probe> {
        let began = Instant::now();
        let mut request = self.http.request(method, format!("{}/v1/{path}", self.base)).timeout(max);
        request = request.header("X-Vault-Token", &self.token);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.ok()?;
        let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let retry_after = response.headers().contains_key("Retry-After");
        Some(Probe { status: response.status().as_u16(), retry_after, waited_ms })
    }

    async fn ask_within(
        &self,
        timeout: Duration,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, Value)> {
        let mut request = self.http.request(method, format!("{}/v1/{path}", self.base)).timeout(timeout);
        if !self.token.is_empty() {
            request = request.header("X-Vault-Token", &self.token);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.with_context(|| format!("{path} at {}", self.base))?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        // Not all answers have a body.
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }
}

fn metric_in(text: &str, name: &str) -> f64 {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let values = lines.filter(|rest| rest.starts_with([' ', '{']));
    values.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# TYPE a counter\na_total 9\na 3\nb{x=\"1\"} 4\nb{x=\"2\"} 5\n";
        assert!((metric_in(text, "a") - 3.0).abs() < f64::EPSILON);
        assert!((metric_in(text, "b") - 9.0).abs() < f64::EPSILON);
        assert!(metric_in(text, "c").abs() < f64::EPSILON);
    }
}
