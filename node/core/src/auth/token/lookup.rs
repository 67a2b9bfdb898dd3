//! What is told of a token, in Vault's shapes.

use serde_json::{Map, Value, json};

use super::entry::{TokenEntry, TokenKind};
use super::root::ROOT_PATH;

const MS_PER_S: u64 = 1_000;

/// What `auth/token/lookup` answers. With `id` it contains the token: never log it.
///
/// `now_ms`: the cluster's time, Unix milliseconds.
pub fn lookup_data(entry: &TokenEntry, id: &str, is_orphan: bool, expires_at_ms: u64, now_ms: u64) -> Value {
    let mut data = json!({
        "accessor": entry.accessor,
        "creation_time": entry.created_ms / MS_PER_S,
        "creation_ttl": entry.ttl_ms / MS_PER_S,
        "display_name": entry.display_name,
        "entity_id": "",
        "expire_time": null,
        "explicit_max_ttl": entry.explicit_max_ttl_ms / MS_PER_S,
        "id": id,
        "meta": meta(entry),
        "num_uses": entry.uses_left,
        "orphan": is_orphan,
        "path": entry.path,
        "policies": entry.policies,
        "ttl": 0,
        "type": kind_name(entry.kind),
    });
    let fields = data.as_object_mut().expect("made as an object");
    // Those of `init` and of key shares come without.
    if entry.path != ROOT_PATH {
        fields.insert("issue_time".to_owned(), rfc3339(entry.created_ms));
        fields.insert("renewable".to_owned(), entry.renewable.into());
    }
    if expires_at_ms > 0 {
        fields.insert("expire_time".to_owned(), rfc3339(expires_at_ms));
        fields.insert("ttl".to_owned(), (expires_at_ms.saturating_sub(now_ms) / MS_PER_S).into());
    }
    if entry.renewed_ms > 0 {
        fields.insert("last_renewal".to_owned(), rfc3339(entry.renewed_ms));
        fields.insert("last_renewal_time".to_owned(), (entry.renewed_ms / MS_PER_S).into());
    }
    if entry.period_ms > 0 {
        fields.insert("period".to_owned(), (entry.period_ms / MS_PER_S).into());
    }
    if !entry.bound_cidrs.is_empty() {
        let nets: Vec<String> = entry.bound_cidrs.iter().map(ToString::to_string).collect();
        fields.insert("bound_cidrs".to_owned(), nets.into());
    }
    data
}

/// The `auth` of an answer that hands a token out or renews it. Contains the token: never log it.
pub fn auth_block(entry: &TokenEntry, token: &str, is_orphan: bool, lasts_ms: u64) -> Value {
    json!({
        "client_token": token,
        "accessor": entry.accessor,
        "policies": entry.policies,
        "token_policies": entry.policies,
        "metadata": meta(entry),
        "lease_duration": lasts_ms / MS_PER_S,
        "renewable": entry.renewable,
        "entity_id": "",
        "token_type": kind_name(entry.kind),
        "orphan": is_orphan,
        "mfa_requirement": null,
        "num_uses": entry.uses_left,
    })
}

fn meta(entry: &TokenEntry) -> Value {
    if entry.meta.is_empty() {
        return Value::Null;
    }
    let pairs = entry.meta.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    Value::Object(pairs.collect::<Map<_, _>>())
}

fn kind_name(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Service => "service",
    }
}

fn rfc3339(time_ms: u64) -> Value {
    let time = i64::try_from(time_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or(Value::Null, |time| Value::String(time.to_string()))
}
