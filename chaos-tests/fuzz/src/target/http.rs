//! What a client sends before anything is known of it: the head of a request, its path, its body, and durations.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use conclave_core::crypto::{Kind, key_len_of};
use conclave_core::duration;
use conclave_node::http::{canonical_path, parse_head};
use conclave_node::service::sys::admission::JoinRequest;
use conclave_node::service::{Call, forwarded_call, route, to_wire};
use conclave_proto::path::{PATH_BYTES_MAX, PATH_SEGMENTS_MAX, SecretPath, decode_percent};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::Value;

use super::{check_refusal, first_line, object};
use crate::canary::{self, planted};
use crate::sealing::BARRIER;

const HEADERS_MAX: usize = 16;
const REQUEST_ID: &str = "fuzz";
const ATTEMPT: &[u8; 16] = b"one attempt here";

/// `METHOD target`, then a header a line.
pub fn head(input: &[u8]) {
    let (first, rest) = first_line(input);
    let mut words = first.splitn(2, |&byte| byte == b' ');
    let method = words.next().and_then(|word| Method::from_bytes(word).ok());
    let uri = words.next().and_then(|word| Uri::try_from(word).ok());
    // What hyper would not let pass is nobody's to parse.
    let (Some(method), Some(uri)) = (method, uri) else { return };
    match parse_head(&method, &uri, &headers(rest), REQUEST_ID.to_owned()) {
        Err(failure) => {
            check_refusal(&failure);
            assert!(uri.path().len() < 8 || !failure.to_string().contains(uri.path()), "a log names a path");
        }
        Ok(call) => check_call(&call),
    }
}

fn headers(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split(|&byte| byte == b'\n').take(HEADERS_MAX) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let value = line[colon + 1..].trim_ascii();
        let value = str::from_utf8(value).map_or_else(|_| value.to_vec(), |text| planted(text).into_bytes());
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&value))
        {
            headers.append(name, value);
        }
    }
    headers
}

fn check_call(call: &Call) {
    check_canonical(&call.path);
    let Ok(route) = route::find(call.operation, &call.path) else { return };
    assert!(route.capture(&call.path).is_some(), "a route that does not match its path");
    // The leader must understand exactly what this node understood.
    let (same_route, same) = forwarded_call(to_wire(call, &Bytes::from_static(ATTEMPT)), &Arc::default())
        .unwrap_or_else(|failure| panic!("the leader refuses what a node took: {failure}"));
    assert_eq!(same_route.action, route.action);
    assert_eq!((same.operation, &same.path), (call.operation, &call.path));
    assert_eq!(same.query.0, call.query.0);
    assert_eq!(same.headers.idempotency_key, call.headers.idempotency_key);
    assert_eq!(same.headers.merge_patch, call.headers.merge_patch);
    assert_eq!(same.token().ok(), call.token().ok());
}

/// A path that was taken is the only spelling of itself: encoded whole, it is taken again as the same.
#[track_caller]
pub fn check_canonical(path: &str) {
    assert!(matches!(SecretPath::parse_prefix(path), Ok(Some(_))), "not canonical");
    let encode = |segment: &str| segment.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let encoded = path.split('/').map(encode).collect::<Vec<_>>().join("/");
    assert_eq!(canonical_path(&format!("/v1/{encoded}")).as_deref(), Ok(path));
}

/// The path of a secret, as it comes and decoded.
pub fn path(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let text = planted(text);
    match decode_percent(&text) {
        Ok(decoded) => check_path(&decoded),
        Err(error) => canary::assert_absent(&error.to_string()),
    }
    check_path(&text);
}

fn check_path(text: &str) {
    let path = match SecretPath::parse(text) {
        Ok(path) => path,
        Err(error) => return canary::assert_absent(&error.to_string()),
    };
    assert_eq!(path.as_str(), text);
    let segments: Vec<&str> = path.segments().collect();
    assert_eq!(segments.join("/"), text);
    assert!(text.len() <= PATH_BYTES_MAX && segments.len() <= PATH_SEGMENTS_MAX);
    for segment in &segments {
        assert!(!matches!(*segment, "" | "." | "..") && !segment.chars().any(char::is_control));
    }
    canary::assert_absent(&format!("{path:?}"));
    assert_eq!(SecretPath::parse_prefix(&format!("{text}/")).ok().flatten().as_ref(), Some(&path));
    // A key has one token a segment, and begins with its parent's key.
    let key_of = |segments: &[&str]| BARRIER.key(Kind::KvMeta, segments.iter().copied());
    let key = key_of(&segments);
    assert_eq!(key.len(), key_len_of(segments.len()));
    assert!(key.starts_with(&key_of(&segments[..segments.len() - 1])));
}

/// A body of JSON.
pub fn json_body(input: &[u8]) {
    let body = String::from_utf8_lossy(input);
    let body = planted(&body);
    if let Err(failure) = JoinRequest::parse(body.as_bytes()).and_then(|request| request.holder()) {
        check_refusal(&failure);
    }
    let taken = match object(body.as_bytes()) {
        Ok(taken) => taken,
        Err(failure) => return check_refusal(&failure),
    };
    let text = serde_json::to_vec(&taken).expect("names are text");
    let again = object(&text).unwrap_or_else(|failure| panic!("it does not read its own: {failure}"));
    assert_eq!(again, taken);
    let (separators, names) = outline(&body);
    let (values_taken, names_taken) = count(&Value::Object(taken));
    // Every value but the first stands behind a separator.
    assert!(values_taken <= separators + 1, "values come from nowhere");
    let distinct = names.iter().collect::<BTreeSet<_>>().len() == names.len();
    if distinct && !names.iter().any(|name| name.contains('\\')) {
        assert_eq!(names_taken, names.len(), "what was taken is not what was sent");
    }
}

/// The number of brackets, commas and colons outside texts, and the names before the colons.
fn outline(body: &str) -> (usize, Vec<&str>) {
    let (mut separators, mut names) = (0, Vec::new());
    let (mut text_begins, mut text, mut bytes) = (None, "", body.bytes().enumerate());
    while let Some((at, byte)) = bytes.next() {
        match (byte, text_begins) {
            (b'\\', Some(_)) => drop(bytes.next()),
            (b'"', Some(begin)) => {
                text = &body[begin..at];
                text_begins = None;
            }
            (b'"', None) => text_begins = Some(at + 1),
            (b'[' | b'{' | b',' | b':', None) => {
                separators += 1;
                if byte == b':' {
                    names.push(text);
                }
            }
            _ => {}
        }
    }
    (separators, names)
}

/// Values and names in a value.
fn count(value: &Value) -> (usize, usize) {
    let below: Vec<(usize, usize)> = match value {
        Value::Array(items) => items.iter().map(count).collect(),
        Value::Object(fields) => fields.values().map(count).map(|(v, n)| (v, n + 1)).collect(),
        _ => Vec::new(),
    };
    below.iter().fold((1, 0), |(values, names), below| (values + below.0, names + below.1))
}

/// A duration, as text and as JSON.
pub fn duration(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let text = planted(text);
    let parsed = duration::parse_s(&text);
    assert_eq!(duration::from_json_s(&Value::String(text.clone())), parsed);
    match parsed {
        Ok(seconds) => {
            assert_eq!(duration::parse_s(&duration::format_s(seconds)), Ok(seconds));
            assert_eq!(duration::from_json_s(&seconds.into()), Ok(seconds));
        }
        Err(error) => canary::assert_absent(&error.to_string()),
    }
    if let Ok(value) = serde_json::from_str::<Value>(&text) {
        let _ = duration::from_json_s(&value);
    }
}
