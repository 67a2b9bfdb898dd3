//! How a node says "you do not belong to us", so that the other side can tell it from any other refusal.
//!
//! The refusal carries the log index of the membership it was decided on: only a membership newer than the
//! caller's own proves anything to the caller.

use tonic::{Code, Status};

const REFUSAL_KEY: &str = "conclave-refusal";
const NOT_A_MEMBER: &str = "not-a-member";
const MEMBERSHIP_INDEX_KEY: &str = "conclave-membership-index";

/// Refuses `node_id`, which is not in the membership committed at `membership_index`.
pub fn not_a_member(node_id: u64, membership_index: u64) -> Status {
    let mut status = Status::permission_denied(format!("node {node_id} is not a member of this cluster"));
    let metadata = status.metadata_mut();
    metadata.insert(REFUSAL_KEY, tonic::metadata::MetadataValue::from_static(NOT_A_MEMBER));
    metadata.insert(MEMBERSHIP_INDEX_KEY, membership_index.into());
    status
}

/// The log index of the membership that `status` refuses the caller by, if it is such a refusal.
pub fn membership_index(status: &Status) -> Option<u64> {
    let metadata = status.metadata();
    let refused = status.code() == Code::PermissionDenied
        && metadata.get(REFUSAL_KEY).is_some_and(|value| value.as_bytes() == NOT_A_MEMBER.as_bytes());
    let index = metadata.get(MEMBERSHIP_INDEX_KEY)?.to_str().ok()?.parse().ok()?;
    refused.then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_refusal_is_taken_for_one() {
        assert_eq!(membership_index(&not_a_member(4, 17)), Some(17));
        assert_eq!(membership_index(&Status::permission_denied("sealed")), None);
        let mut other = Status::unavailable("later");
        *other.metadata_mut() = not_a_member(4, 17).metadata().clone();
        assert_eq!(membership_index(&other), None);
    }
}
