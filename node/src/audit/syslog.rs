//! The `syslog` device: RFC 5424 messages, over a Unix socket, UDP (RFC 5426), TCP (RFC 6587, counted octets) or TLS
//! (RFC 5425).

use std::io;
use std::time::Duration;

use conclave_core::engine::time_text;

use super::settings::Endpoint;
use super::sink::{Lines, Sink};
use super::wire::{Connection, Framed};
use crate::raft::clock::wall_clock_ms;

/// Facility "security and authorisation" (4), severity "informational" (6).
const PRIORITY: u8 = 4 * 8 + 6;

pub struct SyslogSink {
    connection: Connection,
    node: String,
    process: u32,
}

impl SyslogSink {
    pub fn new(endpoint: Endpoint, limit: Duration, node: &str) -> Self {
        Self {
            connection: Connection::new(endpoint, limit),
            node: node.to_owned(),
            process: std::process::id(),
        }
    }

    /// The message that carries `line`, and where it begins behind the count of its octets.
    fn frame(&self, line: &[u8], time: &str) -> (Vec<u8>, usize) {
        let line = line.trim_ascii_end();
        let head = format!("<{PRIORITY}>1 {time} {} conclave {} audit - ", self.node, self.process);
        let count = format!("{} ", head.len() + line.len());
        ([count.as_bytes(), head.as_bytes(), line].concat(), count.len())
    }
}

impl Sink for SyslogSink {
    fn write(&mut self, lines: &Lines) -> io::Result<()> {
        let time = time_text(wall_clock_ms());
        let messages: Vec<_> = lines.iter().map(|line| self.frame(line, &time)).collect();
        let framed: Vec<_> = messages
            .iter()
            .map(|(message, begin)| Framed { in_stream: message, as_message: &message[*begin..] })
            .collect();
        self.connection.send(&framed)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.connection.close();
        Ok(())
    }
}
