//! Which Raft ids were given out, in the state: an id stands for one log, so none is ever given to a second.

use conclave_core::Error;
use conclave_core::crypto::Kind;
use conclave_core::plan::Context;
use conclave_core::seal::join_token::JoinToken;
use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::service::failure::Failure;

/// Most admissions whose join tokens still live.
const ADMISSIONS_MAX: usize = 1000;
/// Most join tokens that name whom they replace and still live.
const REPLACEMENTS_MAX: usize = 100;
/// Former ids by which a node that lost its data is known; of more, the oldest are forgotten and refused.
const FORMER_IDS_MAX: usize = 16;

/// A wiped node that joins again is another node to Raft, so that no vote of its former life counts.
#[derive(Default, Serialize, Deserialize)]
pub struct Registry {
    next_node_id: u64,
    /// Until the token's end: the node may not be in the membership yet, and may ask again.
    admissions: Vec<Admission>,
    /// Oldest first.
    #[serde(default)]
    successions: Vec<Succession>,
    /// Join tokens that let in a node in the place of a member.
    #[serde(default)]
    replacements: Vec<Replacement>,
}

#[derive(Serialize, Deserialize)]
struct Admission {
    node_id: u64,
    name: String,
    until_ms: u64,
}

/// A node that lost its data goes on under another id.
#[derive(Serialize, Deserialize)]
struct Succession {
    from: u64,
    /// What it is now: one for all its former ids.
    to: u64,
    name: String,
    /// Names the loss for which `to` was given.
    attempt_id: String,
}

/// Whoever shows the join token may take the name of a member.
#[derive(Serialize, Deserialize)]
struct Replacement {
    token_sha256: String,
    name: String,
    until_ms: u64,
}

impl Registry {
    /// Of a cluster whose only node is `first_node_id`.
    pub fn new(first_node_id: u64) -> Self {
        Self { next_node_id: first_node_id + 1, ..Self::default() }
    }

    pub fn put(&self, ctx: &mut Context<'_>, txn: &mut Txn) -> Result<(), Error> {
        let key = ctx.barrier.key(Kind::NodeRegistry, []);
        let payload = serde_json::to_vec(self).expect("numbers and names serialise");
        txn.put(key.clone(), ctx.barrier.seal(&key, "", &payload, ctx.rng)?);
        Ok(())
    }

    /// The register, and what a transaction that replaces it must require.
    pub fn load(ctx: &Context<'_>) -> Result<(Self, Txn), Error> {
        let key = ctx.barrier.key(Kind::NodeRegistry, []);
        let missing = || Error::Corrupt("the register of nodes".to_owned());
        let record = ctx.view.get(&key)?.ok_or_else(missing)?;
        let opened = ctx.barrier.open(&key, &record.sealed)?;
        let registry = serde_json::from_slice(&opened.payload).map_err(|_| missing())?;
        let mut txn = Txn::default();
        txn.require(key, record.revision);
        Ok((registry, txn))
    }

    /// Whether `node_id` was given out with a token and not taken back.
    pub fn has(&self, node_id: u64) -> bool {
        self.admissions.iter().any(|admission| admission.node_id == node_id)
    }

    /// Gives out the next id under `name`.
    pub fn admit(&mut self, name: &str, now_ms: u64, until_ms: u64) -> Result<u64, Failure> {
        self.admissions.retain(|admission| admission.until_ms > now_ms);
        if self.admissions.iter().any(|admission| admission.name == name) {
            return Err(name_is_taken());
        }
        if self.admissions.len() >= ADMISSIONS_MAX {
            return Err(Failure::invalid(
                "too many nodes were admitted at once: wait until join tokens expire",
            ));
        }
        let node_id = self.take_id();
        self.admissions.push(Admission { node_id, name: name.to_owned(), until_ms });
        Ok(node_id)
    }

    /// Forgets everything by which the node `name` could come in without a new token. Returns whether there was anything.
    pub fn forget(&mut self, name: &str) -> bool {
        let known = self.admissions.len() + self.successions.len();
        self.admissions.retain(|admission| admission.name != name);
        self.successions.retain(|succession| succession.name != name);
        self.admissions.len() + self.successions.len() < known
    }

    /// Lets the holder of a join token take the place of the member `name`.
    pub fn replace(
        &mut self,
        token: &JoinToken,
        name: &str,
        now_ms: u64,
        until_ms: u64,
    ) -> Result<(), Failure> {
        self.replacements.retain(|replacement| replacement.until_ms > now_ms);
        if self.replacements.len() >= REPLACEMENTS_MAX {
            return Err(Failure::invalid("too many join tokens replace a node: wait until some expire"));
        }
        let (token_sha256, name) = (token_sha256(token), name.to_owned());
        self.replacements.push(Replacement { token_sha256, name, until_ms });
        Ok(())
    }

    /// Whose place the holder of `token` may take.
    pub fn replaced_by(&self, token: &JoinToken) -> Option<&str> {
        let token_sha256 = token_sha256(token);
        let found = self.replacements.iter().find(|replacement| replacement.token_sha256 == token_sha256);
        found.map(|replacement| replacement.name.as_str())
    }

    /// What the node is now that once was `node_id`.
    pub fn present_id(&self, node_id: u64) -> u64 {
        let succession = self.successions.iter().find(|succession| succession.from == node_id);
        succession.map_or(node_id, |succession| succession.to)
    }

    /// The name of the node that was given `present_id` after a loss.
    pub fn successor_name(&self, present_id: u64) -> Option<&str> {
        self.successions
            .iter()
            .find(|succession| succession.to == present_id)
            .map(|found| found.name.as_str())
    }

    /// Whether `present_id` was given for this very loss.
    pub fn is_for(&self, present_id: u64, attempt_id: &str) -> bool {
        self.successions
            .iter()
            .any(|succession| succession.to == present_id && succession.attempt_id == attempt_id)
    }

    /// All ids that the node `present_id` has had.
    pub fn former_ids(&self, present_id: u64) -> Vec<u64> {
        self.successions.iter().filter(|found| found.to == present_id).map(|found| found.from).collect()
    }

    /// Gives a new id to the node `present_id` of that name, for the loss `attempt_id`.
    pub fn succeed(&mut self, present_id: u64, name: &str, attempt_id: &str) -> u64 {
        let to = self.take_id();
        for succession in self.successions.iter_mut().filter(|succession| succession.to == present_id) {
            succession.to = to;
            attempt_id.clone_into(&mut succession.attempt_id);
        }
        let (name, attempt_id) = (name.to_owned(), attempt_id.to_owned());
        self.successions.push(Succession { from: present_id, to, name, attempt_id });
        let former = self.former_ids(to);
        let forgotten = &former[..former.len().saturating_sub(FORMER_IDS_MAX)];
        self.successions.retain(|succession| !forgotten.contains(&succession.from));
        to
    }

    fn take_id(&mut self) -> u64 {
        let node_id = self.next_node_id;
        self.next_node_id += 1;
        node_id
    }
}

fn token_sha256(token: &JoinToken) -> String {
    hex::encode(Sha256::digest(token.to_text().expose()))
}

pub fn name_is_taken() -> Failure {
    Failure::invalid(
        "a node of this name is a member already: if it is lost, make the join token with '--replace' and its name, or \
         give the new node another name",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_former_ids_of_a_node_lead_to_its_present_one() {
        let mut registry = Registry::new(1);
        let second = registry.succeed(1, "n1", "a");
        let third = registry.succeed(second, "n1", "b");
        assert_eq!((second, third), (2, 3));
        assert_eq!([1, 2, 3].map(|id| registry.present_id(id)), [3; 3]);
        assert!(registry.is_for(3, "b") && !registry.is_for(3, "a") && !registry.is_for(2, "a"));
        assert_eq!((registry.former_ids(3), registry.successor_name(3)), (vec![1, 2], Some("n1")));
        // A removed node is nobody's successor any more.
        assert!(registry.forget("n1") && !registry.forget("n1"));
        assert_eq!((registry.present_id(1), registry.successor_name(3)), (1, None));
    }

    #[test]
    fn former_ids_are_bounded_and_the_oldest_go() {
        let mut registry = Registry::new(1);
        let mut present = 1;
        for loss in 0..2 * FORMER_IDS_MAX {
            present = registry.succeed(present, "n1", &loss.to_string());
        }
        assert_eq!(registry.former_ids(present).len(), FORMER_IDS_MAX);
        assert_eq!(registry.present_id(1), 1, "forgotten, so refused");
        assert_eq!(registry.present_id(present - 1), present);
    }

    #[test]
    fn a_register_of_before_losses_were_known_can_be_read() {
        let registry: Registry = serde_json::from_str(r#"{"next_node_id":4,"admissions":[]}"#).unwrap();
        assert_eq!(registry.present_id(3), 3);
    }
}
