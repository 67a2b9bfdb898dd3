//! All methods and enforcements, in one record: a login looks at it once, and names its revision, so that none that was
//! decided before an enforcement comes in behind it.

use std::collections::{BTreeMap, BTreeSet};

use conclave_proto::log::Txn;
use serde::{Deserialize, Serialize};

use super::totp::Scheme;
use crate::crypto::{Kind, plain_key};
use crate::engine::mount::Mount;
use crate::error::Error;
use crate::identity::Belonging;
use crate::plan::Context;
use crate::stored;

/// Version of the record's form: every field that came later has a default.
const VERSION: u32 = 1;
/// What is known to be enforced at most.
pub const METHODS_MAX: usize = 128;
pub const ENFORCEMENTS_MAX: usize = 256;

#[derive(Clone, Serialize, Deserialize)]
pub struct Table {
    version: u32,
    /// By id.
    pub methods: BTreeMap<String, Method>,
    /// By name.
    pub enforcements: BTreeMap<String, Enforcement>,
    /// Where the record stood; 0: there is none.
    #[serde(skip)]
    revision: u64,
}

/// A way to prove more: codes of a device.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    pub id: String,
    /// Other than that of any other method, unless it is empty.
    pub name: String,
    pub issuer: String,
    /// Of secrets that are made from now on.
    pub scheme: Scheme,
    pub key_bytes: usize,
    /// Length of a side of the barcode; 0: none is made.
    pub barcode_pixels: usize,
    /// Wrong codes of one entity within a period.
    pub attempts_max: u64,
}

/// That logins need one of some methods.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforcement {
    pub id: String,
    pub name: String,
    pub method_ids: Vec<String>,
    pub mount_accessors: Vec<String>,
    pub mount_types: Vec<String>,
    pub group_ids: Vec<String>,
    pub entity_ids: Vec<String>,
}

fn key() -> Vec<u8> {
    plain_key(Kind::LoginMfa)
}

impl Table {
    /// # Errors
    /// [`Error::Corrupt`], [`Error::View`].
    pub fn load(ctx: &Context<'_>) -> Result<Self, Error> {
        match stored::load::<Self>(ctx.view, ctx.barrier, &key(), 0)? {
            Some(found) if found.value.version != VERSION => Err(stored::unknown()),
            Some(found) => Ok(Self { revision: found.revision, ..found.value }),
            None => Ok(Self {
                version: VERSION,
                methods: BTreeMap::new(),
                enforcements: BTreeMap::new(),
                revision: 0,
            }),
        }
    }

    /// That it stands as it did when `txn` was decided.
    pub fn require(&self, txn: &mut Txn) {
        txn.require(key(), self.revision);
    }

    /// # Errors
    /// [`Error::Invalid`]: there are too many. [`Error::TooLarge`]: they do not fit.
    pub fn put(&self, ctx: &mut Context<'_>, txn: &mut Txn) -> Result<(), Error> {
        if self.methods.len() > METHODS_MAX {
            return Err(Error::invalid(format!("there are at most {METHODS_MAX} MFA methods")));
        }
        if self.enforcements.len() > ENFORCEMENTS_MAX {
            return Err(Error::invalid(format!("there are at most {ENFORCEMENTS_MAX} login enforcements")));
        }
        self.require(txn);
        stored::put(ctx, txn, &key(), "identity/mfa", self, 0)
    }

    /// What is asked of whoever logs in at `mount` and is this entity.
    pub fn matching(&self, mount: &Mount, who: &Belonging) -> Vec<&Enforcement> {
        let groups: BTreeSet<&String> = who.direct_group_ids.iter().chain(&who.inherited_group_ids).collect();
        self.enforcements
            .values()
            .filter(|enforcement| {
                // Who was merged into another one is still whom an operator has named.
                let is_named = |id: &String| *id == who.entity.id || who.entity.merged_ids.contains(id);
                enforcement.entity_ids.iter().any(is_named)
                    || enforcement.group_ids.iter().any(|id| groups.contains(id))
                    || enforcement.mount_accessors.iter().any(|accessor| accessor == mount.accessor())
                    || enforcement.mount_types.iter().any(|kind| kind == mount.engine_type())
            })
            .collect()
    }
}
