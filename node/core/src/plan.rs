//! A request to an engine, and the plan it makes: what to commit and what to answer when that has been applied.

use std::borrow::Cow;

use conclave_proto::log::Txn;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::auth::login::Ready;
use crate::crypto::Barrier;
use crate::policy::Permit;
use crate::view::View;

/// The parameter that limits a page of a list.
pub(crate) const LIMIT: &str = "limit";

/// What the caller wants, in Vault's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Read,
    /// POST and PUT.
    Write,
    Patch,
    Delete,
    List,
    /// Recursive list.
    Scan,
}

impl Operation {
    /// Whether it may change the state, so that only the leader can plan it.
    pub fn changes(self) -> bool {
        matches!(self, Self::Write | Self::Patch | Self::Delete)
    }
}

/// A request as an engine sees it, below its mount.
pub struct Request<'a> {
    pub operation: Operation,
    /// Below the mount, decoded, without a leading slash; lists may end in one slash.
    pub path: &'a str,
    pub query: &'a Query,
    /// Empty when there is none.
    pub body: &'a Map<String, Value>,
}

/// The decoded query parameters, in order.
#[derive(Debug, Clone, Default)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_str())
    }

    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// With the page that policies leave of a list, in place of the one that was asked for.
    pub fn paged(&self, permit: &Permit) -> Cow<'_, Self> {
        let Some(page) = permit.page() else { return Cow::Borrowed(self) };
        let others = self.0.iter().filter(|(key, _)| key != LIMIT).cloned();
        Cow::Owned(Self(others.chain([(LIMIT.to_owned(), page.to_string())]).collect()))
    }
}

/// All that a rule may know of the world.
pub struct Context<'a> {
    pub view: &'a dyn View,
    pub barrier: &'a Barrier,
    /// The cluster's time, Unix milliseconds.
    pub now_ms: u64,
    pub rng: &'a mut dyn rand::CryptoRng,
}

/// What to commit, and what to answer once it is applied. An empty transaction is a read.
pub struct Plan {
    pub txn: Txn,
    pub reply: Reply,
}

/// An engine's answer; the server puts it into Vault's envelope.
pub struct Reply {
    pub status: u16,
    /// The `data` field as JSON text; absent: `null`, or no body at all with status 204.
    pub data: Option<Zeroizing<Vec<u8>>>,
    /// The `auth` field as JSON text, of an answer that hands out a token.
    pub auth: Option<Zeroizing<Vec<u8>>>,
    /// The `wrap_info` field as JSON text, of an answer that was laid aside: then there is nothing else.
    pub wrap_info: Option<Zeroizing<Vec<u8>>>,
    pub warnings: Vec<String>,
    /// The envelope's `lease_duration`, in seconds; 0 for all but KV v1 reads.
    pub lease_duration_s: u64,
    /// Set by a method that has accepted a login, and taken before there is an answer: what its token is made from.
    pub login: Option<Box<Ready>>,
    /// It is done in part: once this part is committed it is to be decided again, if there is time; else this is the answer.
    pub goes_on: bool,
}

impl Reply {
    pub fn no_content() -> Self {
        Self::empty(204)
    }

    /// Without anything but a status.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            data: None,
            auth: None,
            wrap_info: None,
            warnings: Vec::new(),
            lease_duration_s: 0,
            login: None,
            goes_on: false,
        }
    }

    pub fn json(data: &impl serde::Serialize) -> Self {
        let text = serde_json::to_vec(data).expect("replies are built from maps with string keys");
        Self { data: Some(Zeroizing::new(text)), ..Self::empty(200) }
    }
}

impl From<Reply> for Plan {
    fn from(reply: Reply) -> Self {
        Self { txn: Txn::default(), reply }
    }
}
