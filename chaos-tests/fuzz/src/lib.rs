//! Every parser that a stranger or another node can reach, each as a function of bytes: a [`Target`].
//!
//! A target does with its input what the server would, as far as that is pure, and asserts what must hold: no panic,
//! bounded memory, what was parsed prints and parses back to itself, and no refusal repeats a secret. libFuzzer drives
//! them (`make fuzz`); the tests run them over the corpus and some thousand variations of it. Nothing here has a
//! network, and only one target has a disk.

mod canary;
mod memory;
mod sealing;
mod state;
mod target;

use target::{engine, http, identity, login, operator, peer, policy, seal, snapshot, storage};

/// A function that any bytes may be given to.
pub struct Target {
    pub name: &'static str,
    run: fn(&[u8]),
}

/// Each has a folder of its name in `corpus/`.
pub const TARGETS: &[Target] = &[
    Target { name: "batch_token", run: login::batch_token },
    Target { name: "certificate", run: identity::certificate },
    Target { name: "certificate_request", run: identity::request },
    Target { name: "duration", run: http::duration },
    Target { name: "forwarded", run: peer::forwarded },
    Target { name: "http_head", run: http::head },
    Target { name: "join_token", run: seal::join_token },
    Target { name: "json_body", run: http::json_body },
    Target { name: "key_shares", run: seal::key_shares },
    Target { name: "keyring", run: seal::keyring },
    Target { name: "kv", run: engine::kv },
    Target { name: "log_entries", run: storage::log_entries },
    Target { name: "login", run: login::login },
    Target { name: "manifest", run: storage::manifest },
    Target { name: "mounts", run: engine::mounts },
    Target { name: "operator", run: operator::bodies },
    Target { name: "password_policy", run: policy::passwords },
    Target { name: "path", run: http::path },
    Target { name: "peer_message", run: peer::message },
    Target { name: "policy", run: policy::rules },
    Target { name: "record", run: storage::record },
    Target { name: "seal_config", run: seal::config },
    Target { name: "sealed_record", run: seal::record },
    Target { name: "snapshot_file", run: snapshot::file },
    Target { name: "snapshot_parts", run: snapshot::parts },
    Target { name: "sts_answer", run: login::sts_answer },
    Target { name: "token", run: seal::token },
];

impl Target {
    /// By its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// # Panics
    /// When the input shows a fault; the message says which rule was broken.
    pub fn run(&self, input: &[u8]) {
        memory::bounded(input.len(), || (self.run)(input));
    }
}
