//! Tokens: how they are made, found, renewed and ended.
//!
//! A token is never stored. Its record lies under a keyed hash of it, sealed like any other; who reads the disk learns
//! neither tokens nor how many there are of whom. A token holds as long as its record and those of all its ancestors do:
//! to end one token is to end all that were made with it, in one write. What is left of them is cleared away afterwards
//! ([`clear`]). A batch token has no record: all that is known of it is sealed in its own text. Every use looks the records
//! up, and hands their revisions on, so that a change decided by a token fails if the token was revoked in between (I7).

pub(crate) mod anchor;
mod api;
mod batch;
pub mod clear;
mod create;
pub mod cubbyhole;
mod entry;
mod granted;
mod held;
mod identify;
mod line;
mod lookup;
mod renew;
mod replaced;
mod revoke;
mod role;
mod role_api;
mod root;
pub(crate) mod store;
mod text;
pub mod tidy;
mod wrapping;

pub use api::{Caller, TokenRequest, handle, plan_use};
pub use batch::BATCH_TOKEN_BYTES_MAX;
pub use create::{Created, Creation, Maker, plan_create};
pub use entry::{LoginOrigin, TokenEntry, TokenKind};
pub use held::acl_of;
pub use identify::{Identified, TOKEN_BYTES_MAX, TokenCaches, identify};
pub use lookup::{auth_block, lookup_data};
pub use renew::{Renewed, plan_renew};
pub use revoke::{end_all, plan_revoke, plan_revoke_once, plan_revoke_orphan};
pub(in crate::auth) use role::matches_glob;
pub use root::plan_root_token;
pub use store::{Found, accessors, find, find_by_accessor, find_token};
pub use text::{TOKEN_CHARACTERS, one_time_password};
pub use wrapping::plan_wrapping_token;

#[cfg(test)]
mod tests;
