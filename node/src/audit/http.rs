//! The `http` device: lines in the body of a POST. It has taken them when it answers with a status of success.

use std::io;
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, header};
use tokio::runtime::Runtime;

use super::sink::{Lines, Sink};

const MEDIA_TYPE: &str = "application/x-ndjson";

pub struct HttpSink {
    url: String,
    client: Client,
    /// Of its own: what the API does must not wait for it, nor it for the API.
    runtime: Runtime,
}

impl HttpSink {
    pub fn new(url: &str, ca_file: Option<&Path>, limit: Duration) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut client = Client::builder()
            .timeout(limit)
            .connect_timeout(limit)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(ca_file) = ca_file {
            for certificate in
                Certificate::from_pem_bundle(&std::fs::read(ca_file)?).map_err(io::Error::other)?
            {
                client = client.add_root_certificate(certificate);
            }
        }
        Ok(Self { url: url.to_owned(), client: client.build().map_err(io::Error::other)?, runtime })
    }
}

impl Sink for HttpSink {
    fn write(&mut self, lines: &Lines) -> io::Result<()> {
        let request =
            self.client.post(&self.url).header(header::CONTENT_TYPE, MEDIA_TYPE).body(lines.all().to_vec());
        // The error would name the URL, which may hold a password.
        let answered = self.runtime.block_on(async { request.send().await });
        let answer = answered.map_err(|error| io::Error::other(error.without_url()))?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(io::Error::other(format!("it answered with status {}", answer.status().as_u16())))
    }
}
