//! A node's answer: status, the headers that matter, and the JSON body.
//!
//! Numbers keep the digits they were stored with. `Debug` shows no content, since most answers are secrets.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub struct Answer {
    pub(crate) status: u16,
    pub(crate) index: Option<u64>,
    pub(crate) node: Option<String>,
    pub(crate) stale_for: Option<String>,
    pub(crate) body: Value,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The log index that the answer was made from.
    pub fn index(&self) -> Option<u64> {
        self.index
    }

    /// The name of the node that answered.
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// How old a stale answer may be, such as `120ms`; absent: the answer is linearizable.
    pub fn stale_for(&self) -> Option<&str> {
        self.stale_for.as_deref()
    }

    /// The whole body; `null` when there was none.
    pub fn body(&self) -> &Value {
        &self.body
    }

    pub fn into_body(self) -> Value {
        self.body
    }

    /// The `data` field, or the whole body of an endpoint that has no envelope (such as `sys/health`).
    pub fn data(&self) -> &Value {
        let enveloped = self.body.get("request_id").is_some() || self.body.get("data").is_some();
        if enveloped { &self.body["data"] } else { &self.body }
    }

    /// The `data` field as a value of your own.
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(self.data())
    }

    /// The names in the answer to a list; empty when it is not one.
    pub fn keys(&self) -> Vec<&str> {
        strings(&self.data()["keys"])
    }

    pub fn warnings(&self) -> Vec<&str> {
        strings(&self.body["warnings"])
    }

    pub(crate) fn errors(&self) -> Vec<String> {
        strings(&self.body["errors"]).into_iter().map(str::to_owned).collect()
    }

    /// The `auth` field of a login or a new token.
    pub fn auth(&self) -> Option<&Map<String, Value>> {
        self.body.get("auth").and_then(Value::as_object)
    }
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({})", self.status)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(body: Value) -> Answer {
        Answer { status: 200, index: None, node: None, stale_for: None, body }
    }

    #[test]
    fn data_is_found_with_and_without_an_envelope() {
        assert_eq!(answer(json!({"request_id": "r", "data": {"a": 1}})).data()["a"], 1);
        assert_eq!(answer(json!({"request_id": "r", "data": null})).data(), &Value::Null);
        assert_eq!(answer(json!({"sealed": true})).data()["sealed"], true);
    }

    #[test]
    fn numbers_keep_their_digits() {
        let body = serde_json::from_str(r#"{"data":{"n":12345678901234567890.50}}"#).unwrap();
        assert_eq!(answer(body).data()["n"].to_string(), "12345678901234567890.50");
    }

    #[test]
    fn debug_shows_no_content() {
        assert_eq!(format!("{:?}", answer(json!({"data": {"password": "canary"}}))), "Answer(200)");
    }
}
