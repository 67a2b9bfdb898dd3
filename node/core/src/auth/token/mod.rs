//! Tokens: how they are made, found, renewed and ended.
//!
//! A token is never stored. Its record lies under a keyed hash of it, sealed like any other; who reads the disk learns
//! neither tokens nor how many there are of whom. A token holds as long as its record and those of all its ancestors do:
//! to end one token is to end all that were made with it, in one write. What is left of them is cleared away afterwards
//! ([`clear`]). Every use looks the records up, and hands their revisions on, so that a change decided by a token fails if
//! the token was revoked in between (I7).

mod api;
pub mod clear;
mod create;
mod entry;
mod identify;
mod lookup;
mod renew;
mod revoke;
mod root;
mod store;
mod text;

pub use api::{Caller, TokenRequest, handle, plan_use};
pub use create::{Created, Creation, plan_create};
pub use entry::{TokenEntry, TokenKind};
pub use identify::{Identified, TOKEN_BYTES_MAX, TokenCaches, acl_of, identify};
pub use lookup::{auth_block, lookup_data};
pub use renew::{Renewed, plan_renew};
pub use revoke::{plan_revoke, plan_revoke_orphan};
pub use root::plan_root_token;
pub use store::{Found, accessors, find, find_by_accessor};
pub use text::is_intact;

#[cfg(test)]
mod tests;
