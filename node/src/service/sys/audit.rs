//! `sys/audit`: what this node's audit devices are, what they make of a text, and where all trails stood.
//!
//! Devices are set in the nodes' configuration only, as in OpenBao: no client may name a file or a host to write to.

use conclave_core::audit;
use serde_json::{Map, Value, json};

use crate::cluster::Cluster;
use crate::service::Service;
use crate::service::answer::Answer;
use crate::service::call::Call;
use crate::service::failure::Failure;

/// The devices of this node, in Vault's shape.
pub fn list(service: &Service, call: &Call) -> Result<Answer, Failure> {
    let present = service.node().audit().devices();
    let mut devices = Map::new();
    for (name, type_name, required) in present.iter().flat_map(|present| present.iter()) {
        let path = format!("{name}/");
        let device = json!({
            "type": type_name,
            "path": path,
            "description": "",
            "local": true,
            "options": { "required": required.to_string() },
        });
        devices.insert(path, device);
    }
    Ok(Answer::doubled(&call.request_id, &Value::Object(devices), &[]))
}

pub fn refuse_change() -> Failure {
    Failure::invalid(
        "audit devices cannot be changed via the API: set them as [[audit]] in each node's configuration file",
    )
}

/// What stands for a text in the trail of one device, to look for it there.
pub fn hash(service: &Service, cluster: &Cluster, call: &Call) -> Result<Answer, Failure> {
    let name = call.path.rsplit('/').next().unwrap_or_default();
    let devices = service.node().audit().devices();
    if !devices.is_some_and(|devices| devices.iter().any(|(device, ..)| device == name)) {
        return Err(Failure::invalid(format!("unknown audit backend \"{name}/\"")));
    }
    let input = call.json()?.get("input").and_then(Value::as_str);
    let input = input.ok_or_else(|| Failure::invalid("the \"input\" parameter is empty"))?;
    let unsealed = cluster.seal.unsealed().ok_or(Failure::Sealed)?;
    let hash = unsealed.barrier.audit_salt(name).hash(input);
    Ok(Answer::doubled(&call.request_id, &json!({ "hash": hash }), &[]))
}

/// The heads of all trails that the cluster has noted: what `conclave audit verify --anchors` takes.
pub fn anchors(cluster: &Cluster, call: &Call) -> Result<Answer, Failure> {
    let unsealed = cluster.seal.unsealed().ok_or(Failure::Sealed)?;
    let (anchors, _) = cluster.plan(&unsealed, |ctx| audit::anchors(ctx))?;
    Ok(Answer::doubled(&call.request_id, &json!({ "anchors": anchors }), &[]))
}
