//! From an [`Answer`] to a hyper response.

use bytes::Bytes;
use conclave_proto::wire;
use futures::StreamExt as _;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    STRICT_TRANSPORT_SECURITY,
};

use crate::service::{Answer, AnswerBody};

/// Headers of most answers, with those that hyper adds.
const HEADERS_EXPECTED: usize = 10;
const REQUEST_ID: HeaderName = HeaderName::from_static(wire::HEADER_REQUEST_ID);
const NODE: HeaderName = HeaderName::from_static(wire::HEADER_NODE);
const INDEX: HeaderName = HeaderName::from_static(wire::HEADER_INDEX);
const STALE_FOR: HeaderName = HeaderName::from_static(wire::HEADER_STALE_FOR);
const RATE_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const RATE_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RATE_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Whole answers are the rule and cost no allocation; downloads stream.
pub type Payload = Either<Full<Bytes>, http_body_util::combinators::BoxBody<Bytes, std::io::Error>>;

pub fn write(answer: Answer, head: bool, request_id: &str, node_name: &str) -> Response<Payload> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() =
        hyper::StatusCode::from_u16(answer.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.reserve(HEADERS_EXPECTED);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
        .insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains"));
    if answer.status != 204 {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    }
    insert(headers, REQUEST_ID, request_id);
    insert(headers, NODE, node_name);
    if let Some(index) = answer.index {
        headers.insert(INDEX, HeaderValue::from(index));
    }
    if let Some(age) = answer.stale_for {
        insert(headers, STALE_FOR, &format!("{}ms", age.as_millis()));
    }
    if let Some(pause) = answer.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(pause.as_secs()));
    }
    if let Some(allowance) = answer.allowance {
        headers.insert(RATE_LIMIT, HeaderValue::from(allowance.limit));
        headers.insert(RATE_REMAINING, HeaderValue::from(allowance.remaining));
        headers.insert(RATE_RESET, HeaderValue::from(allowance.reset.as_secs()));
    }
    if let Some(name) = answer.attachment {
        insert(headers, CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""));
    }
    if !head {
        *response.body_mut() = match answer.body {
            AnswerBody::Whole(bytes) => Either::Left(Full::new(bytes)),
            AnswerBody::Stream(chunks) => {
                let frames =
                    tokio_stream::wrappers::ReceiverStream::new(chunks).map(|chunk| chunk.map(Frame::data));
                Either::Right(BodyExt::boxed(StreamBody::new(frames)))
            }
        };
    }
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}
