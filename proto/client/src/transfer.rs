//! Large bodies, streamed: snapshots, up and down. Neither is ever repeated or held in memory whole.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::address::{Address, EncodedPath};
use crate::attempt::Attempt;
use crate::client::Client;
use crate::error::Error;
use crate::request::Method;

/// How long a transfer may take in all; its parts have no bound of their own, since a disk may be slow.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(60 * 60);

impl Client {
    /// Writes the answer's body to `sink` and returns its length in bytes. After an error the sink holds a part.
    ///
    /// # Errors
    /// As [`Client::send`]; [`Error::File`] when the sink cannot be written.
    pub async fn download(&self, path: &str, sink: &mut (impl AsyncWrite + Unpin)) -> Result<u64, Error> {
        let attempt = self.transfer_attempt(false);
        let url = self.addresses[0].endpoint(&EncodedPath::parse(path)?, &[]);
        let request = self.http.get(url).headers(self.headers.clone()).timeout(attempt.timeout);
        let mut response = request.send().await.map_err(|error| attempt.unanswered(error).error)?;
        if !response.status().is_success() {
            return Err(refusal(&attempt, response).await);
        }
        let mut length_bytes = 0;
        while let Some(chunk) = response.chunk().await.map_err(|error| attempt.unanswered(error).error)? {
            sink.write_all(&chunk).await?;
            length_bytes += chunk.len() as u64;
        }
        sink.flush().await?;
        Ok(length_bytes)
    }

    /// Sends a file as the body of a POST, once.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn upload(&self, path: &str, file: File) -> Result<(), Error> {
        let attempt = self.transfer_attempt(true);
        let url = self.addresses[0].endpoint(&EncodedPath::parse(path)?, &[]);
        let request = self
            .http
            .request(Method::Post.http(), url)
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .timeout(attempt.timeout)
            .body(file);
        let response = request.send().await.map_err(|error| attempt.unanswered(error).error)?;
        if response.status().is_success() { Ok(()) } else { Err(refusal(&attempt, response).await) }
    }

    fn transfer_attempt(&self, changes: bool) -> Attempt<'_> {
        Attempt {
            address: Address::as_str(&self.addresses[0]),
            changes,
            any_status: false,
            idempotency_key: None,
            timeout: TRANSFER_TIMEOUT,
        }
    }
}

/// The error of an answer that is known not to be a success.
async fn refusal(attempt: &Attempt<'_>, response: reqwest::Response) -> Error {
    match attempt.read(response).await {
        Ok(answer) => Error::Answer {
            address: attempt.address.to_owned(),
            reason: format!("its status {} is neither a yes nor a no", answer.status()),
        },
        Err(failure) => failure.error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Reply, Server};

    #[tokio::test]
    async fn a_download_is_written_as_it_came() {
        let server = Server::start([Reply::json(200, "not json at all")]).await;
        let client = Client::builder().address(server.address()).build().unwrap();
        let mut sink = Vec::new();
        assert_eq!(client.download("sys/storage/raft/snapshot", &mut sink).await.unwrap(), 15);
        assert_eq!(sink, b"not json at all");
    }

    #[tokio::test]
    async fn a_refused_transfer_brings_the_servers_sentence() {
        let no = || Reply::json(400, r#"{"errors":["not a snapshot"]}"#);
        let server = Server::start([no(), no()]).await;
        let client = Client::builder().address(server.address()).build().unwrap();
        let file = File::from_std(tempfile::tempfile().unwrap());
        let errors = [
            client.download("sys/storage/raft/snapshot", &mut Vec::new()).await.unwrap_err(),
            client.upload("sys/storage/raft/snapshot", file).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!((error.status(), error.to_string()), (Some(400), "not a snapshot".to_owned()));
        }
    }

    #[tokio::test]
    async fn an_upload_sends_the_file() {
        let server = Server::start([Reply::json(204, "")]).await;
        let client = Client::builder().address(server.address()).build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot");
        std::fs::write(&path, "snapshot bytes").unwrap();
        client.upload("sys/storage/raft/snapshot", File::open(&path).await.unwrap()).await.unwrap();
        assert!(server.seen()[0].raw.contains("snapshot bytes"));
    }
}
