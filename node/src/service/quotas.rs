//! What quotas have to know of a request and of the mounts.

use conclave_core::Error;
use conclave_core::auth::Method;
use conclave_core::engine::mount::MountTable;
use conclave_core::plan::Context;
use conclave_core::quota::api::Mounted;

use super::call::Call;
use crate::cluster::Cluster;

/// What is mounted at exactly this path.
pub fn mounted(table: &MountTable, path: &str) -> Option<Mounted> {
    let mount = table.resolve_shown(path).filter(|mount| mount.path() == path)?;
    Some(Mounted {
        uuid: Some(mount.uuid().to_owned()),
        is_auth: mount.is_auth(),
        has_roles: Method::of(mount).is_some_and(Method::has_roles),
    })
}

/// The role that a login would be by, as this node's state stands; `None`: it is no login, or names none. What is wrong with
/// it is said when it is decided.
pub fn role_of_login(cluster: &Cluster, call: &Call) -> Option<String> {
    let unsealed = cluster.seal.unsealed()?;
    let body = call.json().ok()?;
    let found = cluster.glance_now(|view, now_ms| {
        let mut rng = rand::rng();
        let ctx = Context { view, barrier: &unsealed.barrier, now_ms, rng: &mut rng };
        let table = MountTable::load(view, &unsealed.barrier)?;
        let Some((mount, rest)) = table.resolve(&call.path) else { return Ok::<_, Error>(None) };
        match Method::of(mount).filter(|method| method.is_login(rest)) {
            Some(method) => method.role_of(&ctx, mount, rest, &call.query, body),
            None => Ok(None),
        }
    });
    found.unwrap_or_default()
}
