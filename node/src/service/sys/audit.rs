//! `sys/audit`: which audit devices there are, what they make of a text, and where all trails stood.
//!
//! Devices come from each node's configuration, and from the replicated state for those that were enabled here.

use std::sync::Arc;

use conclave_core::audit::{self, Enabled};
use conclave_core::plan::{Context, Operation};
use conclave_proto::log::Txn;
use conclave_proto::txn::Outcome;
use serde_json::{Map, Value, json};

use crate::audit::wall_clock_ns;
use crate::cluster::Cluster;
use crate::service::answer::Answer;
use crate::service::call::Call;
use crate::service::failure::Failure;
use crate::service::write::overtaken;
use crate::service::{Service, plan};

/// How often a change is planned anew when another one came in between.
const PLANS_MAX: usize = 8;

/// The devices of this node, in Vault's shape.
pub fn list(service: &Service, cluster: &Cluster, call: &Call) -> Result<Answer, Failure> {
    let trail = service.node().audit();
    let mut shown = Map::new();
    let mut show = |name: &str, type_name: &str, description: &str, options: Value| {
        let path = format!("{name}/");
        let device = json!({
            "type": type_name, "path": path, "description": description, "local": false, "options": options,
        });
        shown.insert(path, device);
    };
    for enabled in plan::audit_devices(cluster, None)?.unwrap_or_default().devices {
        show(&enabled.name, &enabled.r#type, &enabled.description, json!(enabled.options));
    }
    for (name, type_name, required) in trail.devices().iter().flat_map(|devices| devices.iter()) {
        if trail.is_configured(name) {
            show(name, type_name, "", json!({ "required": required.to_string() }));
        }
    }
    Ok(Answer::doubled(&call.request_id, &Value::Object(shown), &[]))
}

/// Enables a device at all nodes. It is opened here first, so that one that cannot be is refused.
pub async fn enable(service: &Arc<Service>, cluster: &Cluster, call: &Call) -> Result<Answer, Failure> {
    let name = name_in(call);
    let trail = service.node().audit();
    let enabled = Enabled::asked(name, call.json()?, &mut rand::rng())?;
    if trail.is_configured(name) {
        return Err(audit::in_use(name).into());
    }
    let table = plan::audit_devices(cluster, None)?.unwrap_or_default();
    if table.devices.iter().any(|other| other.name == name) {
        return Err(audit::in_use(name).into());
    }
    trail.prepare(enabled.clone(), table, probe(call)).await.map_err(Failure::invalid)?;
    let changed = change(cluster, |ctx| audit::plan_enable(ctx, &enabled).map(Some)).await;
    // Of a device that was not enabled in the end, nothing is left.
    adopt(service, cluster).await?;
    changed.map(|()| Answer::no_content())
}

/// The first record of a device, as Vault writes it there.
fn probe(call: &Call) -> Vec<u8> {
    let asked = audit::Asked {
        id: &call.request_id,
        operation: audit::operation_name(Operation::Write),
        path: "sys/audit/test",
        client: None,
        token: None,
        caller: None,
        mount: None,
        body: None,
        query: &[],
    };
    asked.write(None).request(wall_clock_ns(), None)
}

/// Disables a device at all nodes; its files stay. One that there is not is disabled already, as for Vault.
pub async fn disable(service: &Arc<Service>, cluster: &Cluster, call: &Call) -> Result<Answer, Failure> {
    let name = name_in(call);
    if service.node().audit().is_configured(name) {
        return Err(Failure::invalid("cannot disable configuration-managed audit device"));
    }
    change(cluster, |ctx| audit::plan_disable(ctx, name)).await?;
    adopt(service, cluster).await?;
    Ok(Answer::no_content())
}

async fn change(
    cluster: &Cluster,
    plan: impl Fn(&mut Context<'_>) -> Result<Option<Txn>, conclave_core::Error>,
) -> Result<(), Failure> {
    for _ in 0..PLANS_MAX {
        let unsealed = cluster.seal.unsealed().ok_or(Failure::Sealed)?;
        let Some(txn) = cluster.plan(&unsealed, &plan)? else { return Ok(()) };
        if let Outcome::Applied { .. } = cluster.propose_patiently(txn).await? {
            return Ok(());
        }
    }
    Err(overtaken())
}

async fn adopt(service: &Service, cluster: &Cluster) -> Result<(), Failure> {
    if let Some(table) = plan::audit_devices(cluster, None)? {
        service.node().audit().adopt(table).await;
    }
    Ok(())
}

fn name_in(call: &Call) -> &str {
    call.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// What stands for a text in the trail of one device, to look for it there.
pub fn hash(service: &Service, cluster: &Cluster, call: &Call) -> Result<Answer, Failure> {
    let name = name_in(call);
    let input = match call.json()?.get("input") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    if input.is_empty() {
        return Err(Failure::invalid("the \"input\" parameter is empty"));
    }
    let devices = service.node().audit().devices();
    if !devices.is_some_and(|devices| devices.iter().any(|(device, ..)| device == name)) {
        return Err(Failure::invalid(format!("unknown audit backend \"{name}/\"")));
    }
    let unsealed = cluster.seal.unsealed().ok_or(Failure::Sealed)?;
    let hash = unsealed.barrier.audit_salt(name).hash(&input);
    Ok(Answer::doubled(&call.request_id, &json!({ "hash": hash }), &[]))
}

/// The heads of all trails that the cluster has noted: what `conclave audit verify --anchors` takes.
pub fn anchors(cluster: &Cluster, call: &Call) -> Result<Answer, Failure> {
    let unsealed = cluster.seal.unsealed().ok_or(Failure::Sealed)?;
    let (anchors, _) = cluster.plan(&unsealed, |ctx| audit::anchors(ctx))?;
    Ok(Answer::doubled(&call.request_id, &json!({ "anchors": anchors }), &[]))
}
