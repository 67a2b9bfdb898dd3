//! The chain that ties the lines of one trail (one device of one node) to each other.
//!
//! ```text
//! {"time":...,"chain":{"node":"n1","device":"file","number":7,"previous":"<hash>","hash":"<hash>"}}
//! ```
//!
//! `hash` is the SHA-256 of the line's own bytes up to the comma before it, `previous` that of the line before. So a
//! line proves everything before it, and the head alone, kept where the line's writer cannot reach it, proves the trail.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub const HASH_BYTES: usize = 32;

/// What a link takes, at a guess, in bytes.
const LINK_BYTES_EXPECTED: usize = 384;

/// Where a trail stands: its newest line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub node: String,
    pub device: String,
    /// 0: no line yet.
    pub number: u64,
    #[serde(with = "hex::serde")]
    pub hash: [u8; HASH_BYTES],
}

/// The writing end of a trail.
#[derive(Debug, Clone)]
pub struct Chain {
    node: Arc<str>,
    device: Arc<str>,
    number: u64,
    previous: [u8; HASH_BYTES],
}

impl Chain {
    pub fn begin(node: &str, device: &str) -> Self {
        Self { node: node.into(), device: device.into(), number: 0, previous: [0; HASH_BYTES] }
    }

    /// Goes on behind `head`; from the beginning if that is another trail's.
    pub fn resume(node: &str, device: &str, head: Option<&Head>) -> Self {
        let mut chain = Self::begin(node, device);
        if let Some(head) = head.filter(|head| head.node == node && head.device == device) {
            (chain.number, chain.previous) = (head.number, head.hash);
        }
        chain
    }

    pub fn head(&self) -> Head {
        Head {
            node: self.node.to_string(),
            device: self.device.to_string(),
            number: self.number,
            hash: self.previous,
        }
    }

    /// Appends the next line to `out`: that of `record`, a JSON object. It ends with a newline.
    pub fn link(&mut self, record: &[u8], out: &mut Vec<u8>) {
        debug_assert!(record.len() > 2 && record.ends_with(b"}"), "a record is an object with members");
        self.number += 1;
        out.reserve(record.len() + LINK_BYTES_EXPECTED);
        let begin = out.len();
        out.extend_from_slice(&record[..record.len() - 1]);
        // Names of nodes and devices are checked when they are set: they need no escapes.
        for text in
            [",\"chain\":{\"node\":\"", &self.node, "\",\"device\":\"", &self.device, "\",\"number\":"]
        {
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(self.number.to_string().as_bytes());
        out.extend_from_slice(b",\"previous\":\"");
        push_hex(&self.previous, out);
        out.push(b'"');
        self.previous = Sha256::digest(&out[begin..]).into();
        out.extend_from_slice(b",\"hash\":\"");
        push_hex(&self.previous, out);
        out.extend_from_slice(b"\"}}\n");
    }
}

fn push_hex(bytes: &[u8; HASH_BYTES], out: &mut Vec<u8>) {
    let begin = out.len();
    out.resize(begin + 2 * HASH_BYTES, 0);
    hex::encode_to_slice(bytes, &mut out[begin..]).expect("two digits for each byte");
}

/// What a line says of its place, and what it really is.
pub(super) struct Read {
    pub(super) link: Link,
    /// The hash of the bytes that are there.
    pub(super) computed: [u8; HASH_BYTES],
    /// It ends as lines are written: that part of it no hash covers, and JSON could be spelled otherwise.
    pub(super) ends_as_written: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    pub(super) node: String,
    pub(super) device: String,
    pub(super) number: u64,
    #[serde(with = "hex::serde")]
    pub(super) previous: [u8; HASH_BYTES],
    #[serde(with = "hex::serde")]
    pub(super) hash: [u8; HASH_BYTES],
}

/// Begins the link; it cannot stand later in a line, since the link is the last member and has no object in it.
const LINK: &[u8] = b",\"chain\":{";
/// From the comma before the hash to the end of the line.
const ENDING_BYTES: usize = ",\"hash\":\"".len() + 2 * HASH_BYTES + "\"}}".len();

fn ending(hash: &[u8; HASH_BYTES]) -> String {
    format!(",\"hash\":\"{}\"}}}}", hex::encode(hash))
}

/// Reads a line without its newline; `None`: it has no link.
pub(super) fn read(line: &[u8]) -> Option<Read> {
    let begin = line.windows(LINK.len()).rposition(|window| window == LINK)?;
    let object = line.get(begin + LINK.len() - 1..line.len().checked_sub(1)?)?;
    if line.last() != Some(&b'}') {
        return None;
    }
    let link: Link = serde_json::from_slice(object).ok()?;
    let computed = Sha256::digest(line.get(..line.len().checked_sub(ENDING_BYTES)?)?).into();
    let ends_as_written = line.ends_with(ending(&link.hash).as_bytes());
    Some(Read { link, computed, ends_as_written })
}

impl Head {
    /// The head of a trail that ends with this line, if the line is whole.
    pub fn of_line(line: &[u8]) -> Option<Self> {
        let Read { link, computed, ends_as_written } = read(line)?;
        (link.hash == computed && ends_as_written).then_some(Self {
            node: link.node,
            device: link.device,
            number: link.number,
            hash: computed,
        })
    }
}
