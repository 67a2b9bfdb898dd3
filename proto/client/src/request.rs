//! What to ask: method, path, query, body, and how often it may be sent.
//!
//! A request has no `Debug`: its path and body are secret.

use serde_json::Value;

/// The verbs of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Put,
    Post,
    /// A JSON merge patch (RFC 7386).
    Patch,
    Delete,
}

impl Method {
    /// Whether it may change something, so that repeating it needs an idempotency key.
    pub fn changes(self) -> bool {
        self != Self::Get
    }

    pub(crate) fn http(self) -> reqwest::Method {
        match self {
            Self::Get => reqwest::Method::GET,
            Self::Put => reqwest::Method::PUT,
            Self::Post => reqwest::Method::POST,
            Self::Patch => reqwest::Method::PATCH,
            Self::Delete => reqwest::Method::DELETE,
        }
    }
}

/// A request below `/v1/`.
pub struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Option<Value>,
    pub(crate) any_status: bool,
    pub(crate) unwrapped: bool,
    pub(crate) repeat: Repeat,
}

/// How a change may be repeated.
pub(crate) enum Repeat {
    /// With a key made for this request.
    WithNewKey,
    WithKey(String),
    /// Not once a node may have seen it.
    Never,
}

impl Request {
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            body: None,
            any_status: false,
            unwrapped: false,
            repeat: Repeat::WithNewKey,
        }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::Get, path)
    }

    /// The names directly below `path`.
    pub fn list(path: impl Into<String>) -> Self {
        Self::get(path).query("list", "true")
    }

    /// The names of everything below `path`.
    pub fn scan(path: impl Into<String>) -> Self {
        Self::get(path).query("scan", "true")
    }

    pub fn put(path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::Put, path) }
    }

    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::Post, path) }
    }

    pub fn patch(path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::Patch, path) }
    }

    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::Delete, path)
    }

    #[must_use]
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    /// Wants the answer itself, whatever [`Builder::wrap_ttl`](crate::Builder::wrap_ttl) says.
    #[must_use]
    pub fn unwrapped(mut self) -> Self {
        self.unwrapped = true;
        self
    }

    /// Takes every status as an answer instead of an error: `sys/health` says with its status how the node is.
    #[must_use]
    pub fn any_status(mut self) -> Self {
        self.any_status = true;
        self
    }

    /// Names this change, so that a program can repeat it even after its own restart and it still acts once.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.repeat = Repeat::WithKey(key.into());
        self
    }

    /// Never sends this change again once a node may have seen it, and sends it without an idempotency key. For what
    /// concerns one node or cannot be remembered by the cluster, such as `sys/init`.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.repeat = Repeat::Never;
        self
    }
}
