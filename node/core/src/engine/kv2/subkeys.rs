//! `subkeys/`: the names in a secret without their values.

use conclave_proto::path::SecretPath;
use serde_json::{Map, Value};

use super::meta::VersionJson;
use super::patch::WipedValue;
use super::{Slot, data};
use crate::engine::mount::Mount;
use crate::engine::text::JsonText;
use crate::error::Error;
use crate::fields;
use crate::plan::{Context, Plan, Request};

const KNOWN_PARAMETERS: [&str; 3] = ["depth", "path", "version"];

pub(super) fn read(
    context: &Context<'_>,
    mount: &Mount,
    path: &SecretPath,
    request: &Request<'_>,
) -> Result<Plan, Error> {
    // 0 means all; less than 0 gives the top only, as Vault does.
    let depth = match fields::query_integer(request.query, "depth")?.unwrap_or(0) {
        0 => usize::MAX,
        depth => usize::try_from(depth).unwrap_or(1),
    };
    let slot = Slot::load(context, mount, path)?;
    let meta = slot.meta.as_ref().ok_or(Error::NotFound)?;
    let version = data::version_asked(meta, data::asked_number(request)?)?;
    let readable = version.is_readable(context.now_ms);
    let names = if readable {
        let stored = data::read_version(context, &slot, version.number)?;
        names_of(&WipedValue::parse(&stored.payload)?.0, depth)
    } else {
        Value::Null
    };
    let mut text = JsonText::with_capacity(256);
    text.push(b"{\"metadata\":");
    text.push_json(&VersionJson { meta, version });
    text.push(b",\"subkeys\":");
    text.push_json(&names);
    text.push(b"}");
    let mut reply = text.reply(if readable { 200 } else { 404 });
    reply.warnings = fields::unknown_warning(request.query.names(), &KNOWN_PARAMETERS);
    Ok(reply.into())
}

/// The value with everything but its objects' names taken away. As deep as the parser allowed.
fn names_of(value: &Value, depth: usize) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, field)| {
                    let below = match field {
                        Value::Object(inner) if !inner.is_empty() && depth > 1 => names_of(field, depth - 1),
                        _ => Value::Null,
                    };
                    (name.clone(), below)
                })
                .collect::<Map<_, _>>(),
        ),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_shown_to_the_depth_asked_and_values_never() {
        let secret = json!({"a": {"b": {"c": 1}, "e": {}, "l": [1, {"x": 2}]}, "s": "canary", "nul": null});
        let all = json!({"a": {"b": {"c": null}, "e": null, "l": null}, "nul": null, "s": null});
        assert_eq!(names_of(&secret, usize::MAX), all);
        assert_eq!(names_of(&secret, 3), all);
        assert_eq!(
            names_of(&secret, 2),
            json!({"a": {"b": null, "e": null, "l": null}, "nul": null, "s": null})
        );
        assert_eq!(names_of(&secret, 1), json!({"a": null, "nul": null, "s": null}));
        assert_eq!(names_of(&json!({}), 1), json!({}));
        assert_eq!(names_of(&json!(null), 1), json!(null));
    }
}
