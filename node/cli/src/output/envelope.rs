//! The envelope of an answer as JSON, with the fields in the order that Vault prints them.

use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
struct Envelope<'a> {
    request_id: &'a Value,
    lease_id: &'a Value,
    lease_duration: &'a Value,
    renewable: &'a Value,
    data: &'a Value,
    warnings: &'a Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    auth: &'a Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    wrap_info: &'a Value,
}

/// A body with an envelope in Vault's order; any other body as it is.
pub fn envelope(body: &Value) -> String {
    if body.get("request_id").is_none() {
        return pretty(body);
    }
    pretty(&Envelope {
        request_id: &body["request_id"],
        lease_id: &body["lease_id"],
        lease_duration: &body["lease_duration"],
        renewable: &body["renewable"],
        data: &body["data"],
        warnings: &body["warnings"],
        auth: &body["auth"],
        wrap_info: &body["wrap_info"],
    })
}

pub fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("JSON values have string keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_in_vaults_order_and_numbers_keep_their_digits() {
        let body = r#"{"auth":null,"data":{"n":1.50},"lease_duration":0,"lease_id":"","renewable":false,
            "request_id":"r","warnings":null,"wrap_info":null}"#;
        let expect = "{
  \"request_id\": \"r\",
  \"lease_id\": \"\",
  \"lease_duration\": 0,
  \"renewable\": false,
  \"data\": {
    \"n\": 1.50
  },
  \"warnings\": null
}";
        assert_eq!(envelope(&serde_json::from_str(body).unwrap()), expect);
    }

    #[test]
    fn a_body_without_an_envelope_is_printed_as_it_is() {
        assert_eq!(envelope(&serde_json::json!({"sealed": true})), "{\n  \"sealed\": true\n}");
    }
}
