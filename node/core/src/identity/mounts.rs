//! What aliases need to know of the mounts at which somebody logs in.

use crate::crypto::{Barrier, Kind};
use crate::engine::mount::MountTable;

/// The path of the mount of tokens, which every cluster has.
pub const TOKEN_MOUNT_PATH: &str = "auth/token/";
const TOKEN_MOUNT_KIND: &str = "token";
/// Bytes of an accessor's own part.
const ACCESSOR_BYTES: usize = 4;

/// A mount at which somebody can log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthMount {
    pub accessor: String,
    /// With `auth/` before and a slash at its end.
    pub path: String,
    pub kind: String,
}

/// All of them.
#[derive(Debug, Clone)]
pub struct AuthMounts(Vec<AuthMount>);

impl AuthMounts {
    /// Those of the table.
    pub fn of(barrier: &Barrier, table: &MountTable) -> Self {
        let enabled = table.iter().filter(|mount| mount.is_auth()).map(|mount| AuthMount {
            accessor: mount.accessor().to_owned(),
            path: mount.path().to_owned(),
            kind: mount.engine_type().to_owned(),
        });
        Self::new(barrier, enabled)
    }

    /// The mount of tokens, and those that were enabled.
    pub fn new(barrier: &Barrier, enabled: impl IntoIterator<Item = AuthMount>) -> Self {
        let token = AuthMount {
            accessor: token_accessor(barrier),
            path: TOKEN_MOUNT_PATH.to_owned(),
            kind: TOKEN_MOUNT_KIND.to_owned(),
        };
        Self(std::iter::once(token).chain(enabled).collect())
    }

    pub fn has_kind(&self, kind: &str) -> bool {
        self.0.iter().any(|mount| mount.kind == kind)
    }

    pub fn find(&self, accessor: &str) -> Option<&AuthMount> {
        self.0.iter().find(|mount| mount.accessor == accessor)
    }
}

/// The accessor of the mount of tokens: in no record, the cluster's own and the same at every node.
pub fn token_accessor(barrier: &Barrier) -> String {
    let id = barrier.key(Kind::Mounts, [TOKEN_MOUNT_PATH]);
    format!("auth_token_{}", hex::encode(&id[id.len() - ACCESSOR_BYTES..]))
}
