//! `PATCH data/`: JSON merge patch (RFC 7396) of the current version into the next one. Numbers keep their digits,
//! because both sides are merged as text of numbers, never as floating point.

use conclave_proto::path::SecretPath;
use serde_json::{Map, Value};
use zeroize::Zeroize;

use super::meta::{Meta, VersionJson};
use super::{Slot, data};
use crate::engine::mount::Mount;
use crate::engine::text::JsonText;
use crate::error::Error;
use crate::plan::{Context, Plan, Request};

pub(super) fn patch(
    context: &mut Context<'_>,
    mount: &Mount,
    path: &SecretPath,
    request: &Request<'_>,
) -> Result<Plan, Error> {
    let patch = data::data_of(request.body)?;
    let cas = data::cas_of(request.body)?;
    let slot = Slot::load(context, mount, path)?;
    let meta = slot.meta.as_ref().ok_or(Error::NotFound)?;
    let current = meta.version(meta.current_version).ok_or(Error::NotFound)?;
    Meta::check_cas(meta.current_version, data::cas_is_required(mount, Some(meta)), cas)?;
    if !current.is_readable(context.now_ms) {
        return Ok(JsonText::of(&VersionJson { meta, version: current }).reply(404).into());
    }
    let stored = data::read_version(context, &slot, current.number)?;
    let mut merged = WipedValue::parse(&stored.payload)?;
    merge(&mut merged.0, patch);
    let mut plan = data::put_version(context, slot, &JsonText::of(&merged.0).into_bytes())?;
    plan.reply.warnings = data::body_warnings(request);
    Ok(plan)
}

/// As deep as the request's body, which its parser has bounded.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        wipe(target);
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        wipe(target);
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, change) in patch {
        if change.is_null() {
            if let Some(mut removed) = target.remove(name) {
                wipe(&mut removed);
            }
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

/// A parsed secret: its texts are wiped when it is dropped.
pub(super) struct WipedValue(pub(super) Value);

impl WipedValue {
    pub(super) fn parse(json_text: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(json_text)
            .map(Self)
            .map_err(|_| Error::Corrupt("a version's record is not JSON".to_owned()))
    }
}

impl Drop for WipedValue {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, patch: &str, expect: &str) {
        let mut merged = serde_json::from_str(target).unwrap();
        merge(&mut merged, &serde_json::from_str(patch).unwrap());
        let expect: Value = serde_json::from_str(expect).unwrap();
        assert_eq!(merged, expect, "{target} + {patch}");
    }

    #[test]
    fn merging_follows_the_examples_of_rfc_7396() {
        check(r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#);
        check(r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#);
        check(r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#);
        check(r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#);
        check(r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#);
        check(r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#);
        check(r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#);
        check(r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#);
        check(r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#);
        check(r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#);
        check(r#"{"a":"foo"}"#, "null", "null");
        check(r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#);
        check("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#);
        check("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#);
    }

    #[test]
    fn merging_keeps_every_digit() {
        check(
            r#"{"n":9007199254740993,"f":1.50}"#,
            r#"{"big":123456789012345678901234567890}"#,
            r#"{"n":9007199254740993,"f":1.50,"big":123456789012345678901234567890}"#,
        );
    }
}
