//! The `socket` device: lines as they are, over TCP, TLS, UDP or a Unix socket.

use std::io;
use std::time::Duration;

use super::settings::Endpoint;
use super::sink::{Lines, Sink};
use super::wire::{Connection, Framed};

pub struct SocketSink {
    connection: Connection,
}

impl SocketSink {
    pub fn new(endpoint: Endpoint, limit: Duration) -> Self {
        Self { connection: Connection::new(endpoint, limit) }
    }
}

impl Sink for SocketSink {
    fn write(&mut self, lines: &Lines) -> io::Result<()> {
        let framed: Vec<_> = lines.iter().map(|line| Framed { in_stream: line, as_message: line }).collect();
        self.connection.send(&framed)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.connection.close();
        Ok(())
    }
}
