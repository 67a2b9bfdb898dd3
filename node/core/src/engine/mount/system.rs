//! `sys/`, `cubbyhole/` and `identity/` in lists of mounts: the server's own paths, as OpenBao shows them. They are in no record, so
//! nothing can change, move or disable them; requests below them never come to a mount's engine.

use super::record::MountRecord;
use super::{Mount, MountTable};
use crate::crypto::{Barrier, Kind};
use crate::engine::cubbyhole;

const PATH: &str = "sys/";
const IDENTITY_PATH: &str = "identity/";

/// The rows of what is built in. Their ids are the cluster's own and the same at every node.
pub(super) fn mounts(barrier: &Barrier) -> [Mount; 3] {
    let system = MountRecord {
        description: "system endpoints used for control, policy and debugging".to_owned(),
        passthrough_request_headers: vec!["Accept".to_owned()],
        seal_wrap: true,
        ..record(barrier, PATH, "system")
    };
    let cubbyhole = MountRecord {
        description: "per-token private secret storage".to_owned(),
        local: true,
        ..record(barrier, cubbyhole::PATH, "cubbyhole")
    };
    let identity = MountRecord {
        description: "identity store".to_owned(),
        passthrough_request_headers: vec!["Authorization".to_owned()],
        ..record(barrier, IDENTITY_PATH, "identity")
    };
    [system, cubbyhole, identity].map(|record| Mount { record, table_revision: 0 })
}

pub(super) fn record(barrier: &Barrier, path: &str, engine_type: &str) -> MountRecord {
    let id = barrier.key(Kind::Mounts, [path]);
    let mut uuid = [0; 16];
    // A key is its kind and one token of 16 bytes for each segment.
    uuid.copy_from_slice(&id[1..17]);
    MountRecord {
        path: path.to_owned(),
        uuid: uuid::Builder::from_random_bytes(uuid).into_uuid().to_string(),
        accessor: format!("{engine_type}_{}", hex::encode(&id[13..17])),
        engine_type: engine_type.to_owned(),
        ..MountRecord::default()
    }
}

pub(super) fn is_built_in(path: &str) -> bool {
    matches!(path, PATH | IDENTITY_PATH | cubbyhole::PATH)
}

impl MountTable {
    /// As [`MountTable::find`], with what is only shown.
    pub(super) fn find_shown(&self, path: &str) -> Option<&Mount> {
        let path = super::with_slash(path);
        self.shown().find(|mount| mount.path() == path).or_else(|| self.find(&path))
    }

    /// The mount that answers at `path`, with what is only shown.
    pub fn resolve_shown(&self, path: &str) -> Option<&Mount> {
        let is_at =
            |mount: &&Mount| path.starts_with(mount.path()) || path == mount.path().trim_end_matches('/');
        self.shown().find(is_at).or_else(|| self.resolve(path).map(|(mount, _)| mount))
    }

    /// All mounts, with what is only shown.
    pub fn iter_shown(&self) -> impl Iterator<Item = &Mount> {
        self.iter().chain(self.shown())
    }

    fn shown(&self) -> impl Iterator<Item = &Mount> {
        self.built_in.iter().chain([&self.token])
    }
}
