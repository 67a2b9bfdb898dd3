//! The rows. Of a table the first match wins, so a longer pattern stands before a shorter one; no two tables overlap.

mod auth;
mod identity;
mod keys;
mod lease;
mod mfa;
mod mounts;
mod node;
mod oversight;
mod policy;

use conclave_core::plan::Operation;

use super::{Action, Place, Route};

/// All routes of `sys`, `auth` and `identity`.
pub fn routes() -> impl Iterator<Item = &'static Route> {
    const TABLES: [&[Route]; 9] = [
        node::ROUTES,
        mounts::ROUTES,
        keys::ROUTES,
        auth::ROUTES,
        policy::ROUTES,
        identity::ROUTES,
        mfa::ROUTES,
        oversight::ROUTES,
        lease::ROUTES,
    ];
    TABLES.into_iter().flatten()
}

const fn open(
    action: Action,
    operations: &'static [Operation],
    pattern: &'static str,
    place: Place,
    summary: &'static str,
) -> Route {
    let when_sealed = matches!(place, Place::Here);
    Route { action, operations, pattern, open: true, when_sealed, place, summary }
}

pub(super) const fn token(
    action: Action,
    operations: &'static [Operation],
    pattern: &'static str,
    place: Place,
    summary: &'static str,
) -> Route {
    Route { action, operations, pattern, open: false, when_sealed: false, place, summary }
}
