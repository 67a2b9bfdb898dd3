//! A small JSON client for one node. It never retries: what is measured must not be smoothed.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Longest wait for one answer, unless a call says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Api {
    client: Client<HttpConnector, Full<Bytes>>,
    address: String,
    token: String,
}

#[derive(Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Api {
    /// `address` with its scheme: `http://127.0.0.1:8200`.
    pub fn new(address: &str, token: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, address: address.to_owned(), token: token.to_owned() }
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        self.call_within(TIMEOUT, method, path, body).await
    }

    /// # Errors
    /// When the node cannot be reached or does not answer within `timeout`. Any status is an answer.
    pub async fn call_within(
        &self,
        timeout: Duration,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.address))
            .header("x-vault-token", &self.token)
            .header("x-vault-request", "true")
            .body(Full::new(body))?;
        let exchange = async {
            let (head, body) = self.client.request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Answer { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(timeout, exchange).await.context("no answer in time")?
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.call(Method::GET, path, None).await
    }

    /// # Errors
    /// When the node cannot be reached or refuses.
    pub async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let answer = self.call(Method::PUT, path, Some(body)).await?;
        anyhow::ensure!(answer.status.is_success(), "PUT {path}: {} {}", answer.status, answer.text());
        Ok(answer)
    }
}

impl Answer {
    pub fn json(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}
