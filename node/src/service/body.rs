//! A request's body: its bytes, the memory it is allowed, and what it says, which is read once and only when asked.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::failure::Failure;

/// Memory for all bodies of requests that are not answered yet, in bytes.
const BUDGET_BYTES: usize = 256 * 1024 * 1024;
/// The part of it that large bodies may fill: the rest is for small ones, which few large ones must not crowd out.
const BUDGET_LARGE_BYTES: usize = 192 * 1024 * 1024;
/// What a small body may take.
const SMALL_BYTES: usize = 64 * 1024;
/// Most values, keys and brackets in one JSON body.
const JSON_TOKENS_MAX: usize = 1_000_000;
/// What one of them may take in memory once it is parsed, in bytes.
const JSON_TOKEN_BYTES: usize = 100;
/// Begins the names by which serde_json marks its own numbers: an object that has one would be taken for a number, or
/// for JSON in JSON, whose depth and values nobody has counted.
const RESERVED_NAME_PREFIX: &str = "$serde_json::private::";

/// Counts the memory of all bodies. Cheap: one atomic addition for what a client sent, none for a request without body.
#[derive(Default)]
pub struct Budget {
    used: AtomicUsize,
}

/// A share of the budget, given back when this is dropped.
#[derive(Default)]
pub struct Place {
    budget: Option<Arc<Budget>>,
    bytes: usize,
}

impl Place {
    /// An empty share of `budget`. Without a budget, as [`Place::default`] is, it may grow for ever.
    pub fn of(budget: &Arc<Budget>) -> Self {
        Self { budget: Some(Arc::clone(budget)), bytes: 0 }
    }

    /// Takes that many bytes more.
    ///
    /// # Errors
    /// [`Failure::Overloaded`]: other requests hold too much.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        let Some(budget) = &self.budget else { return Ok(()) };
        let limit = if self.bytes + bytes > SMALL_BYTES { BUDGET_LARGE_BYTES } else { BUDGET_BYTES };
        if budget.used.fetch_add(bytes, Ordering::Relaxed) + bytes > limit {
            budget.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Failure::Overloaded(
                "too many requests with large bodies at once: try again in a moment".to_owned(),
            ));
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// A body, whole in memory. It keeps its place until the request is answered.
#[derive(Default)]
pub struct Body {
    bytes: Bytes,
    place: Place,
    parsed: OnceLock<Result<Parsed, Failure>>,
}

struct Parsed {
    object: Map<String, Value>,
    _place: Place,
}

impl Body {
    /// `place` has been grown for `bytes`.
    pub fn new(bytes: Bytes, place: Place) -> Self {
        Self { bytes, place, parsed: OnceLock::new() }
    }

    /// A body that has been received already, if there is memory for it as well.
    ///
    /// # Errors
    /// As [`Place::grow`].
    pub fn received(bytes: Bytes, budget: &Arc<Budget>) -> Result<Self, Failure> {
        let mut place = Place::of(budget);
        place.grow(bytes.len())?;
        Ok(Self::new(bytes, place))
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What it says, as a JSON object; empty and `null` are an empty object, as Vault's clients expect.
    ///
    /// # Errors
    /// [`Failure`]: it is not a JSON object, is too complex, or there is no memory for it now.
    pub fn json(&self) -> Result<&Map<String, Value>, Failure> {
        let parsed = self.parsed.get_or_init(|| {
            let mut place = self.place.budget.as_ref().map(Place::of).unwrap_or_default();
            let object = parse_object(&self.bytes, &mut place)?;
            Ok(Parsed { object, _place: place })
        });
        parsed.as_ref().map(|parsed| &parsed.object).map_err(Clone::clone)
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<String> for Body {
    /// A body that this node made itself.
    fn from(text: String) -> Self {
        Self::new(text.into(), Place::default())
    }
}

/// Parses a body. The sentence names the place, never the content: a parser's own message would quote it.
///
/// # Errors
/// As [`Body::json`].
pub fn parse_object(body: &[u8], memory: &mut Place) -> Result<Map<String, Value>, Failure> {
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
    memory.grow(shape.tokens * JSON_TOKEN_BYTES)?;
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
            if let Err(failure) = parse(body.as_bytes()) {
                prop_assert!(!failure.sentences().concat().contains("canary"));
            }
        }

        #[test]
        fn the_count_of_tokens_bounds_the_count_of_values(values in proptest::collection::vec(0_u8..10, 1..50)) {
            let text = serde_json::to_vec(&serde_json::json!({ "a": values })).unwrap();
            prop_assert!(shape_of(&text).tokens >= values.len());
        }
    }

    fn parse(text: &[u8]) -> Result<Map<String, Value>, Failure> {
        parse_object(text, &mut Place::default())
    }

    fn sentence(body: &str) -> String {
        parse(body.as_bytes()).unwrap_err().sentences().concat()
    }

    #[test]
    fn empty_and_null_bodies_are_empty_objects() {
        for body in ["", "  ", "null", " null\n", "{}"] {
            assert!(parse(body.as_bytes()).unwrap().is_empty(), "{body:?}");
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
        assert!(parse(text.as_bytes()).is_ok());
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
            assert!(parse(body.as_bytes()).is_ok(), "{body}");
        }
    }

    #[test]
    fn numbers_keep_every_digit() {
        let body = r#"{"n":9007199254740993,"big":12345678901234567890123,"f":1.50}"#;
        let object = parse(body.as_bytes()).unwrap();
        assert_eq!(object["n"].to_string(), "9007199254740993");
        assert_eq!(object["big"].to_string(), "12345678901234567890123");
        assert_eq!(object["f"].to_string(), "1.50");
    }

    const MIB: usize = 1024 * 1024;

    fn overloaded(result: Result<(), Failure>) -> bool {
        matches!(result, Err(Failure::Overloaded(_)))
    }

    #[test]
    fn every_byte_is_counted_until_the_body_is_dropped() {
        let budget = Arc::new(Budget::default());
        let small = Body::received(Bytes::from_static(b"{}"), &budget).unwrap();
        let large = Body::received(Bytes::from(vec![b' '; MIB]), &budget).unwrap();
        assert_eq!(budget.used.load(Ordering::Relaxed), MIB + 2);
        drop(large);
        assert_eq!(budget.used.load(Ordering::Relaxed), 2);
        drop(small);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_parsing_takes_is_counted_too() {
        let budget = Arc::new(Budget::default());
        let body = Body::received(Bytes::from_static(br#"{"a":[1,2]}"#), &budget).unwrap();
        assert_eq!(budget.used.load(Ordering::Relaxed), 11);
        body.json().unwrap();
        assert_eq!(budget.used.load(Ordering::Relaxed), 11 + 4 * JSON_TOKEN_BYTES);
        drop(body);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn large_bodies_leave_room_for_small_ones_and_small_ones_have_an_end_as_well() {
        let budget = Arc::new(Budget::default());
        let mut large = Place::of(&budget);
        large.grow(BUDGET_LARGE_BYTES).unwrap();
        assert!(overloaded(large.grow(1)));
        assert!(overloaded(Place::of(&budget).grow(SMALL_BYTES + 1)));
        let mut small = Vec::new();
        for _ in 0..(BUDGET_BYTES - BUDGET_LARGE_BYTES) / SMALL_BYTES {
            let mut place = Place::of(&budget);
            place.grow(SMALL_BYTES).unwrap();
            small.push(place);
        }
        assert!(overloaded(Place::of(&budget).grow(1)));
        // What was refused holds nothing.
        drop(small);
        drop(large);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_body_is_parsed_once() {
        let body = Body::from(r#"{"a":1}"#.to_owned());
        assert!(std::ptr::eq(body.json().unwrap(), body.json().unwrap()));
    }
}
