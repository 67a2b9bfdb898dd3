//! A real HTTP server on a free port that answers from a script and remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long a test's server waits for the rest of a request.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

pub enum Reply {
    Json {
        status: u16,
        body: String,
        headers: String,
    },
    /// Reads the request and closes the connection.
    Drop,
    /// Reads the request and never answers.
    Hang,
}

impl Reply {
    pub fn json(status: u16, body: &str) -> Self {
        Self::Json { status, body: body.to_owned(), headers: String::new() }
    }

    pub fn retry_after(self, seconds: u64) -> Self {
        self.with_header(&format!("retry-after: {seconds}\r\n"))
    }

    pub fn location(self, url: &str) -> Self {
        self.with_header(&format!("location: {url}\r\n"))
    }

    fn with_header(self, line: &str) -> Self {
        match self {
            Self::Json { status, body, headers } => Self::Json { status, body, headers: headers + line },
            other => other,
        }
    }
}

/// A request as it came.
#[derive(Clone)]
pub struct Seen {
    pub line: String,
    pub body: String,
    pub raw: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<String> {
        let (head, _) = self.raw.split_once("\r\n\r\n")?;
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    }
}

pub struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Gives the replies in order, one a request, each on a connection of its own; then hangs up on whoever comes.
    pub async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut replies: std::collections::VecDeque<_> = replies.into_iter().collect();
        let memory = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut hanging = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(request) = read_request(&mut stream).await else { continue };
                memory.lock().unwrap().push(request);
                match replies.pop_front() {
                    Some(Reply::Json { status, body, headers }) => {
                        let length = body.len();
                        let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}");
                        let length = if status == 204 {
                            String::new()
                        } else {
                            format!("content-length: {length}\r\n")
                        };
                        let _ = stream.write_all(format!("{head}{length}\r\n{body}").as_bytes()).await;
                    }
                    Some(Reply::Hang) => hanging.push(stream),
                    Some(Reply::Drop) | None => {}
                }
            }
        });
        Self { address, seen, task }
    }

    pub fn address(&self) -> String {
        self.address.clone()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Frees the port.
    pub async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut raw = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = tokio::time::timeout(READ_TIMEOUT, stream.read(&mut chunk)).await.ok()?.ok()?;
        if read == 0 {
            return None;
        }
        raw.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&raw);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let chunked = head.contains("transfer-encoding: chunked");
        let whole = if chunked { body.ends_with("0\r\n\r\n") } else { body.len() >= length.unwrap_or(0) };
        if whole {
            return Some(Seen {
                line: text.lines().next()?.to_owned(),
                body: body.to_owned(),
                raw: text.into_owned(),
            });
        }
    }
}
