//! `sys/` in lists of mounts: the server's own paths, as OpenBao shows them. It is in no record, so nothing can
//! change, move or disable it; requests below it never come to an engine.

use super::record::MountRecord;
use super::{Mount, MountTable};
use crate::crypto::{Barrier, Kind};

pub(super) const PATH: &str = "sys/";
pub(super) const TYPE: &str = "system";

/// The row of `sys/`. Its ids are the cluster's own and the same at every node.
pub(super) fn mount(barrier: &Barrier) -> Mount {
    let id = barrier.key(Kind::Mounts, [PATH]);
    let mut uuid = [0; 16];
    // A key is its kind and one token of 16 bytes for each segment.
    uuid.copy_from_slice(&id[1..17]);
    let record = MountRecord {
        path: PATH.to_owned(),
        uuid: uuid::Builder::from_random_bytes(uuid).into_uuid().to_string(),
        accessor: format!("{TYPE}_{}", hex::encode(&id[13..17])),
        engine_type: TYPE.to_owned(),
        description: "system endpoints used for control, policy and debugging".to_owned(),
        passthrough_request_headers: vec!["Accept".to_owned()],
        seal_wrap: true,
        ..MountRecord::default()
    };
    Mount { record, table_revision: 0 }
}

impl MountTable {
    /// As [`MountTable::find`], with what is only shown.
    pub(super) fn find_shown(&self, path: &str) -> Option<&Mount> {
        if path.strip_suffix('/').unwrap_or(path) == "sys" { Some(&self.system) } else { self.find(path) }
    }

    /// The mount that answers at `path`, with what is only shown.
    pub fn resolve_shown(&self, path: &str) -> Option<&Mount> {
        if path == "sys" || path.starts_with(PATH) {
            return Some(&self.system);
        }
        self.resolve(path).map(|(mount, _)| mount)
    }
}
