//! A request as the service sees it: parsed, bounded and canonical, whether a client sent it or a node forwarded it.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use conclave_core::plan::{Operation, Query};
use conclave_proto::secret::Secret;
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::failure::Failure;

/// Most values, keys and brackets in one JSON body; bounds what parsing may allocate, about 100 bytes each.
const JSON_TOKENS_MAX: usize = 1_000_000;
/// Begins the names by which serde_json marks its own numbers: an object that has one would be taken for a number, or
/// for JSON in JSON, whose depth and values nobody has counted.
const RESERVED_NAME_PREFIX: &str = "$serde_json::private::";

/// One request to `/v1/...`.
pub struct Call {
    pub operation: Operation,
    /// HEAD: the answer goes without its body.
    pub head: bool,
    /// Decoded and canonical, without `/v1/`; a list may end in one slash.
    pub path: String,
    /// Path and query as they came, to forward them unchanged.
    pub uri: String,
    pub query: Query,
    pub headers: CallHeaders,
    pub body: Bytes,
    /// A body too large for memory, not read yet.
    pub upload: Mutex<Option<Incoming>>,
    pub client: Option<SocketAddr>,
    pub request_id: String,
    /// Names a write that may be repeated, so that it is applied at most once: set when it is forwarded.
    pub attempt: OnceLock<Bytes>,
}

/// The headers that mean something.
#[derive(Default)]
pub struct CallHeaders {
    pub token: Option<Secret<String>>,
    pub consistency: Consistency,
    pub idempotency_key: Option<String>,
    pub merge_patch: bool,
}

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// As if there were one node: the default.
    #[default]
    Linearizable,
    /// This node's own state, if it is not older than this.
    Stale { bound: Duration },
}

impl Call {
    /// The token, or the refusal of an anonymous caller.
    pub fn token(&self) -> Result<&str, Failure> {
        self.headers.token.as_ref().map(|token| token.expose().as_str()).ok_or(Failure::Denied)
    }

    /// The body as a JSON object; empty and `null` are an empty object, as Vault's clients expect.
    pub fn json(&self) -> Result<Map<String, Value>, Failure> {
        parse_object(&self.body)
    }

    /// The body of an upload; only once.
    pub fn take_upload(&self) -> Option<Incoming> {
        self.upload.lock().take()
    }

    pub fn changes(&self) -> bool {
        self.operation.changes()
    }
}

/// Parses a body. The sentence names the place, never the content: a parser's own message would quote it.
pub fn parse_object(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    let body = body.trim_ascii();
    if body.is_empty() || body == b"null" {
        return Ok(Map::new());
    }
    if body[0] != b'{' {
        return Err(Failure::invalid("failed to decode JSON input: the body must be a JSON object"));
    }
    let shape = shape_of(body);
    if shape.has_reserved_name {
        return Err(Failure::invalid(format!(
            "refused JSON input: names that begin with {RESERVED_NAME_PREFIX:?} are reserved"
        )));
    }
    if shape.tokens > JSON_TOKENS_MAX {
        return Err(Failure::invalid(format!(
            "refused JSON input due to high complexity: more than {JSON_TOKENS_MAX} values"
        )));
    }
    serde_json::from_slice(body).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Eof => "it ends too early",
            _ => "it is not valid JSON, or nested too deeply",
        };
        let (line, column) = (error.line(), error.column());
        Failure::invalid(format!("failed to decode JSON input: {what} (line {line}, column {column})"))
    })
}

/// What is known of a body before it is parsed.
struct Shape {
    /// Separators and brackets outside strings: at least as many as there will be values.
    tokens: usize,
    has_reserved_name: bool,
}

fn shape_of(body: &[u8]) -> Shape {
    let mut shape = Shape { tokens: 0, has_reserved_name: false };
    let mut in_string = false;
    let mut escaped = false;
    let mut string = 0..0;
    for (at, &byte) in body.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' if in_string => {
                in_string = false;
                string.end = at + 1;
            }
            b'"' => {
                in_string = true;
                string = at..at;
            }
            b',' | b'{' | b'[' if !in_string => shape.tokens += 1,
            b':' if !in_string => {
                shape.tokens += 1;
                shape.has_reserved_name |= is_reserved_name(&body[string.clone()]);
            }
            _ => {}
        }
    }
    shape
}

/// `literal` stands in quotes, or is empty.
fn is_reserved_name(literal: &[u8]) -> bool {
    if literal.contains(&b'\\') {
        // Spelled with escapes it is the same name.
        let name = serde_json::from_slice::<String>(literal);
        return name.is_ok_and(|name| name.starts_with(RESERVED_NAME_PREFIX));
    }
    literal.get(1..).is_some_and(|name| name.starts_with(RESERVED_NAME_PREFIX.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_body_is_an_object_or_refused_without_its_content(body in r#"[{}\[\]",:0-9.eE+tfn\\ u-]{0,60}"#) {
            let body = format!("{body}canary");
            if let Err(failure) = parse_object(body.as_bytes()) {
                prop_assert!(!failure.sentences().concat().contains("canary"));
            }
        }

        #[test]
        fn the_count_of_tokens_bounds_the_count_of_values(values in proptest::collection::vec(0_u8..10, 1..50)) {
            let text = serde_json::to_vec(&serde_json::json!({ "a": values })).unwrap();
            prop_assert!(shape_of(&text).tokens >= values.len());
        }
    }

    fn sentence(body: &str) -> String {
        parse_object(body.as_bytes()).unwrap_err().sentences().concat()
    }

    #[test]
    fn empty_and_null_bodies_are_empty_objects() {
        for body in ["", "  ", "null", " null\n", "{}"] {
            assert!(parse_object(body.as_bytes()).unwrap().is_empty(), "{body:?}");
        }
    }

    #[test]
    fn a_bad_body_is_refused_with_a_place_and_without_its_content() {
        for body in [
            r#""canary""#,
            r#"["canary"]"#,
            r#"{"canary""#,
            r#"{"a": canary}"#,
            r#"{"a": "canary" "b"}"#,
            r#"{"a":1} canary"#,
        ] {
            let sentence = sentence(body);
            assert!(sentence.starts_with("failed to decode JSON input"), "{sentence}");
            assert!(!sentence.contains("canary"), "{sentence}");
        }
    }

    #[test]
    fn deep_nesting_and_endless_lists_are_refused() {
        assert!(sentence(&format!("{{\"a\":{}", "[".repeat(100_000))).contains("nested too deeply"));
        let endless = format!("{{\"a\":[{}0]}}", "0,".repeat(JSON_TOKENS_MAX));
        assert!(sentence(&endless).contains("high complexity"));
    }

    #[test]
    fn commas_inside_strings_do_not_count() {
        let text = format!("{{\"a\":\"{}\"}}", ",\\\"".repeat(JSON_TOKENS_MAX));
        assert!(parse_object(text.as_bytes()).is_ok());
    }

    #[test]
    fn a_name_that_the_parser_keeps_for_itself_is_refused() {
        // Taken for JSON in JSON, or for a number, what is stored would not be what was sent, and neither the depth nor
        // the count of values would be bounded.
        let smuggled = format!("[{}0]", "0,".repeat(10));
        for name in [
            "$serde_json::private::RawValue",
            "$serde_json::private::Number",
            r"\u0024serde_json::private::RawValue",
            r"$serde\u005fjson::private::Number",
        ] {
            for body in [
                format!(r#"{{"data":{{"{name}":"{smuggled}"}}}}"#),
                format!(r#"{{"data":{{"{name}" : "1.5"}}}}"#),
                format!(r#"{{"data":[{{"a":1,"{name}":"1"}}]}}"#),
            ] {
                assert!(sentence(&body).contains("reserved"), "{body}");
            }
        }
        for body in
            [r#"{"a":"$serde_json::private::Number"}"#, r#"{"$serde":{"b":["$serde_json::private::"]}}"#]
        {
            assert!(parse_object(body.as_bytes()).is_ok(), "{body}");
        }
    }

    #[test]
    fn numbers_keep_every_digit() {
        let body = r#"{"n":9007199254740993,"big":12345678901234567890123,"f":1.50}"#;
        let object = parse_object(body.as_bytes()).unwrap();
        assert_eq!(object["n"].to_string(), "9007199254740993");
        assert_eq!(object["big"].to_string(), "12345678901234567890123");
        assert_eq!(object["f"].to_string(), "1.50");
    }
}
