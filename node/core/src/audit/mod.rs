//! The pure part of the audit trail: what a record says, what stands in it for a secret, and the chain that ties the
//! lines of a trail to each other.
//!
//! A record is one line of JSON in Vault's schema. Names and paths stand in it as they are, every string that a caller
//! sent or was given only as a keyed hash ([`Salt`]). The last member of each line is its link ([`Chain`]), and
//! [`Verifier`] finds what has been changed since.

mod anchors;
mod chain;
mod hash;
mod record;
mod table;
mod verify;

pub use anchors::{Anchor, anchors, plan_anchors};
pub use chain::{Chain, HASH_BYTES, Head};
pub use hash::{Salt, members};
pub use record::{Answered, Asked, Caller, MountPoint, Record, operation_name};
pub use table::{DeviceTable, Enabled, devices, devices_key, in_use, plan_disable, plan_enable};
pub use verify::{Finding, Place, Verdict, Verifier};
