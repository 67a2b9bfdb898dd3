//! `conclave status`: the seal and the leadership of one node, whether it is sealed or not.

use conclave_client::{Client, Request};
use serde_json::{Map, Value};

use super::kv::object;
use crate::failure::Failure;
use crate::output::{Report, table, value};

/// The node is up, but sealed or not initialised.
const CODE_SEALED: u8 = 1;

pub async fn run(client: &Client) -> Result<Report, Failure> {
    let client = client.first_node();
    let seal = client.send(Request::get("sys/seal-status")).await?;
    let mut status = object(seal.data()).clone();
    // A sealed node does not say who leads.
    let leader = client.send(Request::get("sys/leader").any_status()).await?;
    if leader.status() == 200 {
        status.extend(object(leader.data()).clone());
    }
    let code = if status.get("sealed") == Some(&Value::Bool(false)) { 0 } else { CODE_SEALED };
    Ok(Report::new(shown(&status), &Value::Object(status)).with_code(code))
}

/// The status as a table. Leadership is shown where the answer tells of it.
pub fn shown(status: &Map<String, Value>) -> String {
    let mut rows: Vec<[String; 2]> = Vec::new();
    let field =
        |title: &str, name: &str| status.get(name).map(|found| [title.to_owned(), value::cell(name, found)]);
    rows.extend(field("Seal Type", "type"));
    rows.extend(field("Initialized", "initialized"));
    rows.extend(field("Sealed", "sealed"));
    rows.extend(field("Total Shares", "n"));
    rows.extend(field("Threshold", "t"));
    if status.get("sealed") == Some(&Value::Bool(true)) {
        let number = |name: &str| status.get(name).and_then(Value::as_u64).unwrap_or(0);
        rows.push(["Unseal Progress".to_owned(), format!("{}/{}", number("progress"), number("t"))]);
        rows.extend(field("Unseal Nonce", "nonce"));
    }
    rows.extend(field("Version", "version"));
    rows.extend(field("Storage Type", "storage_type"));
    rows.extend(field("Cluster Name", "cluster_name"));
    rows.extend(field("Cluster ID", "cluster_id"));
    rows.extend(field("HA Enabled", "ha_enabled"));
    rows.extend(field("HA Cluster", "leader_cluster_address"));
    if let Some(leads) = status.get("is_self").and_then(Value::as_bool) {
        rows.push(["HA Mode".to_owned(), if leads { "active" } else { "standby" }.to_owned()]);
        rows.extend(field("Active Since", "active_time"));
        if !leads {
            rows.extend(field("Active Node Address", "leader_address"));
        }
    }
    rows.extend(field("Raft Committed Index", "raft_committed_index"));
    rows.extend(field("Raft Applied Index", "raft_applied_index"));
    table::columns(["Key", "Value"], &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sealed_node_shows_how_far_unsealing_is() {
        let status = json!({"type": "shamir", "initialized": true, "sealed": true, "n": 3, "t": 2, "progress": 1,
            "nonce": "", "version": "0.1.0", "storage_type": "raft"});
        let expect = "\
Key                Value
---                -----
Seal Type          shamir
Initialized        true
Sealed             true
Total Shares       3
Threshold          2
Unseal Progress    1/2
Unseal Nonce       n/a
Version            0.1.0
Storage Type       raft
";
        assert_eq!(shown(object(&status)), expect);
    }

    #[test]
    fn a_follower_shows_who_leads() {
        let status = json!({"sealed": false, "progress": 0, "ha_enabled": true, "is_self": false,
            "leader_address": "https://n1:8200", "raft_applied_index": 7});
        let expect = "\
Key                    Value
---                    -----
Sealed                 false
HA Enabled             true
HA Mode                standby
Active Node Address    https://n1:8200
Raft Applied Index     7
";
        assert_eq!(shown(object(&status)), expect);
    }
}
