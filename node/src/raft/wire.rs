//! Raft's messages to and from `peer.proto`. Decoding refuses what is missing; it never fills in a default.

use conclave_proto::peer;
use conclave_storage::convert::{
    ConvertError, entry_from_proto, entry_to_proto, log_id_from_proto, log_id_to_proto, vote_from_proto,
    vote_to_proto,
};
use conclave_storage::types::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, Vote, VoteRequest, VoteResponse,
};

pub fn append_to_proto(request: AppendEntriesRequest) -> peer::AppendRequest {
    peer::AppendRequest {
        vote: Some(vote_to_proto(&request.vote)),
        prev_log_id: request.prev_log_id.as_ref().map(log_id_to_proto),
        entries: request.entries.iter().map(entry_to_proto).collect(),
        leader_commit: request.leader_commit.as_ref().map(log_id_to_proto),
    }
}

pub fn append_from_proto(request: peer::AppendRequest) -> Result<AppendEntriesRequest, ConvertError> {
    Ok(AppendEntriesRequest {
        vote: required_vote(request.vote.as_ref(), "append.vote")?,
        prev_log_id: request.prev_log_id.as_ref().map(log_id_from_proto),
        entries: request.entries.into_iter().map(entry_from_proto).collect::<Result<_, _>>()?,
        leader_commit: request.leader_commit.as_ref().map(log_id_from_proto),
    })
}

pub fn append_result_to_proto(result: &StreamAppendResult) -> peer::AppendResponse {
    use peer::append_response::Result as Wire;
    let wire = match result {
        Ok(matching) => Wire::Matching(peer::Matching { log_id: matching.as_ref().map(log_id_to_proto) }),
        Err(StreamAppendError::Conflict(log_id)) => Wire::Conflict(log_id_to_proto(log_id)),
        Err(StreamAppendError::HigherVote(vote)) => Wire::HigherVote(vote_to_proto(vote)),
    };
    peer::AppendResponse { result: Some(wire) }
}

pub fn append_result_from_proto(response: peer::AppendResponse) -> Result<StreamAppendResult, ConvertError> {
    use peer::append_response::Result as Wire;
    Ok(match response.result.ok_or(ConvertError::Missing("append_response.result"))? {
        Wire::Matching(matching) => Ok(matching.log_id.as_ref().map(log_id_from_proto)),
        Wire::Conflict(log_id) => Err(StreamAppendError::Conflict(log_id_from_proto(&log_id))),
        Wire::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote_from_proto(&vote))),
    })
}

pub fn vote_request_to_proto(request: &VoteRequest) -> peer::VoteRequest {
    peer::VoteRequest {
        vote: Some(vote_to_proto(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(log_id_to_proto),
        leadership_transfer: request.leadership_transfer,
    }
}

pub fn vote_request_from_proto(request: &peer::VoteRequest) -> Result<VoteRequest, ConvertError> {
    let vote = required_vote(request.vote.as_ref(), "vote_request.vote")?;
    let mut converted = VoteRequest::new(vote, request.last_log_id.as_ref().map(log_id_from_proto));
    converted.leadership_transfer = request.leadership_transfer;
    Ok(converted)
}

pub fn vote_response_to_proto(response: &VoteResponse) -> peer::VoteResponse {
    peer::VoteResponse {
        vote: Some(vote_to_proto(&response.vote)),
        vote_granted: response.vote_granted,
        last_log_id: response.last_log_id.as_ref().map(log_id_to_proto),
        // No part of Raft: whoever answers adds it.
        time_ms: 0,
    }
}

pub fn vote_response_from_proto(response: &peer::VoteResponse) -> Result<VoteResponse, ConvertError> {
    let vote = required_vote(response.vote.as_ref(), "vote_response.vote")?;
    let last_log_id = response.last_log_id.as_ref().map(log_id_from_proto);
    Ok(VoteResponse::new(vote, last_log_id, response.vote_granted))
}

pub fn transfer_to_proto(request: &TransferLeaderRequest) -> peer::TransferLeaderRequest {
    peer::TransferLeaderRequest {
        from_leader: Some(vote_to_proto(request.from_leader())),
        to_node_id: *request.to_node_id(),
        last_log_id: request.last_log_id().map(log_id_to_proto),
    }
}

pub fn transfer_from_proto(
    request: &peer::TransferLeaderRequest,
) -> Result<TransferLeaderRequest, ConvertError> {
    let from = required_vote(request.from_leader.as_ref(), "transfer.from_leader")?;
    let last_log_id = request.last_log_id.as_ref().map(log_id_from_proto);
    Ok(TransferLeaderRequest::new(from, request.to_node_id, last_log_id))
}

pub fn transfer_response_to_proto(response: &TransferLeaderResponse) -> peer::TransferLeaderResponse {
    use peer::transfer_leader_response::Refusal;
    let refusal = response.as_ref().err().map(|error| match error {
        TransferLeaderError::VoteChanged { actual, .. } => Refusal::VoteChanged(vote_to_proto(actual)),
        TransferLeaderError::LogNotFlushed { actual, .. } => {
            Refusal::LogNotFlushed(peer::Matching { log_id: actual.as_ref().map(log_id_to_proto) })
        }
    });
    peer::TransferLeaderResponse { refusal }
}

/// `request` is what was asked: the answer does not repeat it.
pub fn transfer_response_from_proto(
    request: &TransferLeaderRequest,
    response: peer::TransferLeaderResponse,
) -> TransferLeaderResponse {
    use peer::transfer_leader_response::Refusal;
    match response.refusal {
        None => Ok(()),
        Some(Refusal::VoteChanged(actual)) => Err(TransferLeaderError::VoteChanged {
            expected: *request.from_leader(),
            actual: vote_from_proto(&actual),
        }),
        Some(Refusal::LogNotFlushed(actual)) => Err(TransferLeaderError::LogNotFlushed {
            expected: request.last_log_id().copied(),
            actual: actual.log_id.as_ref().map(log_id_from_proto),
        }),
    }
}

pub fn required_vote(
    vote: Option<&conclave_proto::log::Vote>,
    field: &'static str,
) -> Result<Vote, ConvertError> {
    vote.map(vote_from_proto).ok_or(ConvertError::Missing(field))
}

#[cfg(test)]
mod tests {
    use conclave_proto::log;
    use proptest::prelude::*;

    use super::*;

    fn log_ids() -> impl Strategy<Value = log::LogId> {
        any::<(u64, u64, u64)>().prop_map(|(term, node_id, index)| log::LogId { term, node_id, index })
    }

    fn votes() -> impl Strategy<Value = log::Vote> {
        any::<(u64, u64, bool)>().prop_map(|(term, node_id, committed)| log::Vote {
            term,
            node_id,
            committed,
        })
    }

    fn append_results() -> impl Strategy<Value = peer::append_response::Result> {
        use peer::append_response::Result as Wire;
        prop_oneof![
            proptest::option::of(log_ids()).prop_map(|log_id| Wire::Matching(peer::Matching { log_id })),
            log_ids().prop_map(Wire::Conflict),
            votes().prop_map(Wire::HigherVote),
        ]
    }

    fn refusals() -> impl Strategy<Value = peer::transfer_leader_response::Refusal> {
        use peer::transfer_leader_response::Refusal;
        prop_oneof![
            votes().prop_map(Refusal::VoteChanged),
            proptest::option::of(log_ids())
                .prop_map(|log_id| Refusal::LogNotFlushed(peer::Matching { log_id })),
        ]
    }

    proptest! {
        #[test]
        fn append_requests_survive_the_wire(
            vote in votes(),
            prev_log_id in proptest::option::of(log_ids()),
            leader_commit in proptest::option::of(log_ids()),
            log_id in log_ids(),
        ) {
            let entry = log::Entry { log_id: Some(log_id), payload: Some(log::entry::Payload::Blank(true)) };
            let wire = peer::AppendRequest { vote: Some(vote), prev_log_id, entries: vec![entry], leader_commit };
            prop_assert!(append_to_proto(append_from_proto(wire.clone()).unwrap()) == wire);
        }

        #[test]
        fn append_results_survive_the_wire(result in append_results()) {
            let wire = peer::AppendResponse { result: Some(result) };
            prop_assert!(append_result_to_proto(&append_result_from_proto(wire).unwrap()) == wire);
        }

        #[test]
        fn votes_survive_the_wire(
            vote in votes(),
            last_log_id in proptest::option::of(log_ids()),
            flag: bool,
        ) {
            let request = peer::VoteRequest { vote: Some(vote), last_log_id, leadership_transfer: flag };
            prop_assert!(vote_request_to_proto(&vote_request_from_proto(&request).unwrap()) == request);
            let response = peer::VoteResponse { vote: Some(vote), vote_granted: flag, last_log_id, time_ms: 0 };
            prop_assert!(vote_response_to_proto(&vote_response_from_proto(&response).unwrap()) == response);
        }

        #[test]
        fn transfers_survive_the_wire(
            from in votes(),
            to_node_id: u64,
            last_log_id in proptest::option::of(log_ids()),
            refusal in proptest::option::of(refusals()),
        ) {
            let wire = peer::TransferLeaderRequest { from_leader: Some(from), to_node_id, last_log_id };
            let request = transfer_from_proto(&wire).unwrap();
            prop_assert!(transfer_to_proto(&request) == wire);
            let response = peer::TransferLeaderResponse { refusal };
            let converted = transfer_response_from_proto(&request, response);
            prop_assert!(transfer_response_to_proto(&converted) == response);
        }
    }

    #[test]
    fn a_message_without_a_vote_is_refused() {
        assert!(append_from_proto(peer::AppendRequest::default()).is_err());
        assert!(vote_request_from_proto(&peer::VoteRequest::default()).is_err());
        assert!(vote_response_from_proto(&peer::VoteResponse::default()).is_err());
        assert!(transfer_from_proto(&peer::TransferLeaderRequest::default()).is_err());
        assert!(append_result_from_proto(peer::AppendResponse::default()).is_err());
    }
}
