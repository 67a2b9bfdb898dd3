//! Leases.

use conclave_core::lease::LeaseRequest as L;
use conclave_core::plan::Operation::{self, List, Read, Write};

use super::super::{Action, Place, Route};
use super::token;

const fn of(
    request: L,
    operations: &'static [Operation],
    pattern: &'static str,
    summary: &'static str,
) -> Route {
    token(Action::Lease(request), operations, pattern, Place::State, summary)
}

const LIST: &str = "Ids of leases and folders of them below a path.";
const RENEW: &str = "Make a lease last longer.";
const REVOKE: &str = "End a lease.";

pub(super) const ROUTES: &[Route] = &[
    of(L::Lookup, &[Write], "sys/leases/lookup", "A lease."),
    of(L::List, &[List], "sys/leases/lookup", LIST),
    of(L::List, &[List], "sys/leases/lookup/*", LIST),
    of(L::Renew, &[Write], "sys/leases/renew", RENEW),
    of(L::Renew, &[Write], "sys/leases/renew/*", RENEW),
    of(L::Revoke, &[Write], "sys/leases/revoke", REVOKE),
    of(L::Revoke, &[Write], "sys/leases/revoke/*", REVOKE),
    of(L::RevokePrefix, &[Write], "sys/leases/revoke-prefix/*", "End all leases below a path."),
    of(L::RevokeForce, &[Write], "sys/leases/revoke-force/*", "End all leases below a path, whatever fails."),
    of(L::Count, &[Read], "sys/leases/count", "How many leases there are."),
    of(L::Irrevocable, &[Read], "sys/leases", "Leases that could not be revoked."),
    of(
        L::Tidy,
        &[Write],
        "sys/leases/tidy",
        "Go through all tokens for what is left of those that have ended.",
    ),
];
