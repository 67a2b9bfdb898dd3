//! The `http` device: lines in the body of a POST. It has taken them when it answers with a status of success.

use std::io;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::runtime::Runtime;

use super::settings::Authorities;
use super::sink::{Lines, Sink};
use crate::outbound::{ANSWER_BYTES_MAX, Outbound, Settings, Trust};

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/x-ndjson");

pub struct HttpSink {
    url: String,
    outbound: Outbound,
    /// Of its own: what the API does must not wait for it, nor it for the API.
    runtime: Runtime,
}

impl HttpSink {
    pub fn new(url: &str, authorities: Option<&Authorities>, limit: Duration) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let pem = authorities.map(Authorities::read).transpose()?;
        let trust = match &pem {
            None => Trust::Nobody,
            Some(pem) => pem.as_deref().map_or(Trust::System, Trust::Authorities),
        };
        let outbound = Outbound::new(&Settings { trust, limit, redirects_max: 0 })?;
        Ok(Self { url: url.to_owned(), outbound, runtime })
    }
}

impl Sink for HttpSink {
    fn write(&mut self, lines: &Lines) -> io::Result<()> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, MEDIA_TYPE)]);
        let lines = lines.all().to_vec();
        let asked = self.outbound.ask(Method::POST, &self.url, headers, lines, ANSWER_BYTES_MAX);
        let answered = self.runtime.block_on(asked)?;
        if answered.is_success() {
            return Ok(());
        }
        Err(io::Error::other(format!("it answered with status {}", answered.status)))
    }
}
