//! Which of a leader's messages the others have answered: what its proofs of leadership rest on (I4).
//!
//! openraft keeps such times too, but finds the message that an answer belongs to by the log id where both end. Two
//! messages may end at the same entry; then the answer to the first counts for the second as well, which nobody has
//! answered yet. A leader that was paused would take answers from before for new ones. The answers of one stream come in
//! the order of its messages, so here they are simply counted off.

use std::collections::BTreeMap;

use conclave_storage::types::{LeaderId, Membership};
use parking_lot::RwLock;
use tokio::time::Instant;

/// The newest answered message to each node.
#[derive(Default)]
pub struct Answers {
    newest: RwLock<BTreeMap<u64, Message>>,
}

/// A message of a leader that calls for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    pub leader: LeaderId,
    /// Before it left this node.
    pub sent: Instant,
}

impl Answers {
    /// `peer` answered this message, and follows its sender.
    pub fn note(&self, peer: u64, message: Message) {
        let mut newest = self.newest.write();
        let known = newest.entry(peer).or_insert(message);
        if (message.leader, message.sent) > (known.leader, known.sent) {
            *known = message;
        }
    }

    /// The last moment from which a quorum of each of `membership`'s configurations has answered `leader`, this node, who
    /// answers itself `now`. `None`: there is no such moment.
    pub fn quorum(&self, leader: LeaderId, membership: &Membership, now: Instant) -> Option<Instant> {
        let newest = self.newest.read();
        let answered = |voter: &u64| match newest.get(voter) {
            _ if *voter == leader.node_id => Some(now),
            Some(message) if message.leader == leader => Some(message.sent),
            _ => None,
        };
        let mut all: Option<Instant> = None;
        for voters in membership.get_joint_config() {
            let is_quorum = |moment: &Instant| {
                let since = voters.iter().filter(|voter| answered(voter).is_some_and(|sent| sent >= *moment));
                since.count() > voters.len() / 2
            };
            let moment = voters.iter().filter_map(answered).filter(is_quorum).max()?;
            all = Some(all.map_or(moment, |all| all.min(moment)));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use conclave_storage::types::Node;
    use openraft::vote::RaftLeaderId as _;

    use super::*;

    fn leader(term: u64) -> LeaderId {
        LeaderId::new(term, 1)
    }

    fn membership(configs: &[&[u64]]) -> Membership {
        let nodes: BTreeMap<u64, Node> = (1..=9).map(|id| (id, Node::default())).collect();
        let configs: Vec<BTreeSet<u64>> =
            configs.iter().map(|voters| voters.iter().copied().collect()).collect();
        Membership::new(configs, nodes).unwrap()
    }

    #[test]
    fn a_quorum_counts_from_the_slowest_of_its_fastest_members() {
        let (answers, began) = (Answers::default(), Instant::now());
        let at = |ms| began + Duration::from_millis(ms);
        let quorum = |configs: &[&[u64]]| answers.quorum(leader(3), &membership(configs), at(100));
        assert_eq!(quorum(&[&[1]]), Some(at(100)), "alone, it is its own quorum");
        assert_eq!(quorum(&[&[1, 2, 3]]), None);
        answers.note(2, Message { leader: leader(3), sent: at(10) });
        assert_eq!(quorum(&[&[1, 2, 3]]), Some(at(10)));
        assert_eq!(quorum(&[&[1, 2, 3, 4]]), None, "two of four are no quorum");
        answers.note(3, Message { leader: leader(3), sent: at(30) });
        assert_eq!(quorum(&[&[1, 2, 3]]), Some(at(30)));
        assert_eq!(quorum(&[&[1, 2, 3, 4]]), Some(at(10)));
        assert_eq!(quorum(&[&[2, 3]]), Some(at(10)), "a leader that is no voter does not count");
        assert_eq!(quorum(&[&[1, 2, 3], &[1, 4, 5]]), None, "both configurations must have answered");
    }

    #[test]
    fn answers_to_another_leader_and_late_ones_count_for_nothing() {
        let (answers, began) = (Answers::default(), Instant::now());
        let at = |ms| began + Duration::from_millis(ms);
        let quorum = |term| answers.quorum(leader(term), &membership(&[&[1, 2, 3]]), at(100));
        answers.note(2, Message { leader: leader(3), sent: at(50) });
        answers.note(2, Message { leader: leader(3), sent: at(40) });
        assert_eq!((quorum(3), quorum(4)), (Some(at(50)), None));
        answers.note(2, Message { leader: leader(4), sent: at(60) });
        answers.note(2, Message { leader: leader(3), sent: at(70) });
        assert_eq!((quorum(3), quorum(4)), (None, Some(at(60))));
    }
}
