//! Messages between nodes: decoded, taken over into Raft's types, and back again to the same.

use std::sync::Arc;

use conclave_core::plan::Reply;
use conclave_node::http::is_request_id;
use conclave_node::raft::wire;
use conclave_node::service::{Answer, AnswerBody, forwarded_call, to_wire};
use conclave_proto::peer;
use conclave_proto::wire::IDEMPOTENCY_KEY_BYTES_MAX;
use conclave_storage::convert;
use prost::Message;
use serde_json::Value;

use super::check_refusal;
use super::http::check_canonical;

/// The first byte says which message the rest is.
pub fn message(input: &[u8]) {
    let Some((&kind, bytes)) = input.split_first() else { return };
    match kind % 9 {
        0 => same(bytes, wire::append_from_proto, wire::append_to_proto),
        1 => same(bytes, wire::append_result_from_proto, |result| wire::append_result_to_proto(&result)),
        2 => same(bytes, |m| wire::vote_request_from_proto(&m), |m| wire::vote_request_to_proto(&m)),
        3 => same(bytes, |m| wire::vote_response_from_proto(&m), |m| wire::vote_response_to_proto(&m)),
        4 => same(bytes, |m| wire::transfer_from_proto(&m), |m| wire::transfer_to_proto(&m)),
        5 => transfer_response(bytes),
        6 => same(bytes, convert::stored_membership_from_proto, |m| convert::stored_membership_to_proto(&m)),
        7 => same(bytes, convert::entry_from_proto, |entry| convert::entry_to_proto(&entry)),
        _ => same(bytes, convert::snapshot_meta_from_proto, |(meta, id)| {
            convert::snapshot_meta_to_proto(&meta, &id)
        }),
    }
}

/// What was taken over goes out as a message that is taken over as the same; a second time not a byte changes.
fn same<M: Message + Default + Clone + PartialEq, T>(
    bytes: &[u8],
    from: impl Fn(M) -> Result<T, convert::ConvertError>,
    to: impl Fn(T) -> M,
) {
    let Ok(message) = M::decode(bytes) else { return };
    let Ok(taken) = from(message) else { return };
    let sent = to(taken);
    let received = M::decode(sent.encode_to_vec().as_slice()).expect("it was just encoded");
    assert!(received == sent);
    let again = from(received).map(&to).unwrap_or_else(|error| panic!("it refuses its own: {error}"));
    assert!(again == sent, "a message changes on its way");
}

/// A refusal repeats what was asked, so it needs the request as well; length-delimited, one after the other.
fn transfer_response(mut bytes: &[u8]) {
    let Ok(request) = peer::TransferLeaderRequest::decode_length_delimited(&mut bytes) else { return };
    let Ok(request) = wire::transfer_from_proto(&request) else { return };
    let from = |response| Ok(wire::transfer_response_from_proto(&request, response));
    same(bytes, from, |response| wire::transfer_response_to_proto(&response));
}

/// A client's request in the envelope of the node that took it.
pub fn forwarded(input: &[u8]) {
    let Ok(request) = peer::ForwardRequest::decode(input) else { return };
    let attempt = request.attempt_id.clone();
    let (route, call) = match forwarded_call(request, &Arc::default()) {
        Ok(taken) => taken,
        Err(failure) => {
            return assert!((400..=415).contains(&failure.status()), "{}: {failure}", failure.status());
        }
    };
    check_canonical(&call.path);
    assert!(route.capture(&call.path).is_some(), "a route that does not match its path");
    assert!(is_request_id(&call.request_id), "an id that is not harmless in a log");
    let key = call.headers.idempotency_key.as_deref().unwrap_or("x");
    assert!((1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()));
    let answer = Answer::enveloped(&call.request_id, &Reply::json(&"data"), None);
    let AnswerBody::Whole(body) = answer.body else { panic!("an envelope is whole") };
    serde_json::from_slice::<Value>(&body).expect("an envelope is JSON whatever the request's id");

    let again = to_wire(&call, &attempt);
    let (same_route, same) = match forwarded_call(again, &Arc::default()) {
        Ok(taken) => taken,
        Err(failure) => {
            check_refusal(&failure);
            panic!("it refuses its own: {failure}")
        }
    };
    assert_eq!((same_route.action, same.operation), (route.action, call.operation));
    assert_eq!((same.path, same.request_id), (call.path, call.request_id));
    assert_eq!(same.body.bytes(), call.body.bytes());
}
