//! Building the JSON text of replies, without leaving copies of secrets in freed memory.

use std::io;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::plan::Reply;

/// First capacity of a buffer whose final size is not known, in bytes.
const CAPACITY_BYTES_INITIAL: usize = 512;

/// Text of JSON that may hold secrets: a buffer that must grow wipes the smaller one.
pub(super) struct JsonText(Zeroizing<Vec<u8>>);

impl JsonText {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(bytes)))
    }

    pub(super) fn of(value: &impl Serialize) -> Self {
        let mut text = Self::with_capacity(CAPACITY_BYTES_INITIAL);
        text.push_json(value);
        text
    }

    /// Appends text that is JSON, or a piece of it, already.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let needed = self.0.len() + piece.len();
        if needed > self.0.capacity() {
            let mut grown = Vec::with_capacity(needed.max(self.0.capacity() * 2));
            grown.extend_from_slice(&self.0);
            self.0 = Zeroizing::new(grown);
        }
        self.0.extend_from_slice(piece);
    }

    pub(super) fn push_json(&mut self, value: &impl Serialize) {
        serde_json::to_writer(self, value)
            .expect("replies have string keys and the buffer takes every write");
    }

    pub(super) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    pub(super) fn reply(self, status: u16) -> Reply {
        Reply { data: Some(self.0), ..Reply::empty(status) }
    }
}

impl io::Write for &mut JsonText {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.push(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A moment of the cluster's time as Go prints it: RFC 3339 in UTC, as many decimals as it needs.
pub fn time_text(unix_ms: u64) -> String {
    i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_grows_over_its_capacity() {
        let mut text = JsonText::with_capacity(1);
        text.push(b"[");
        text.push_json(&json!({"a": "b".repeat(100)}));
        text.push(b"]");
        assert_eq!(&**text.into_bytes(), format!("[{{\"a\":\"{}\"}}]", "b".repeat(100)).as_bytes());
    }

    #[test]
    fn times_are_printed_as_go_prints_them() {
        assert_eq!(time_text(0), "1970-01-01T00:00:00Z");
        assert_eq!(time_text(1_700_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(time_text(1_700_000_000_120), "2023-11-14T22:13:20.12Z");
        assert_eq!(time_text(1_700_000_000_007), "2023-11-14T22:13:20.007Z");
        assert!(time_text(u64::MAX).starts_with("9999-12-3"));
    }
}
