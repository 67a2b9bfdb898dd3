//! Rate limits and the audit trail.

use conclave_core::plan::Operation::{self, Delete, List, Read, Write};
use conclave_core::quota::api::QuotaRequest as Q;
use conclave_core::quota::lease_api::LeaseQuotaRequest as L;

use super::super::{Action, Place, Route};
use super::token;

const fn limit(
    request: Q,
    operations: &'static [Operation],
    pattern: &'static str,
    summary: &'static str,
) -> Route {
    token(Action::Quota(request), operations, pattern, Place::State, summary)
}

const fn lease_count(
    request: L,
    operations: &'static [Operation],
    pattern: &'static str,
    summary: &'static str,
) -> Route {
    token(Action::LeaseQuota(request), operations, pattern, Place::State, summary)
}

pub(super) const ROUTES: &[Route] = &[
    token(Action::ListAudit, &[Read], "sys/audit", Place::Here, "This node's audit devices."),
    token(
        Action::EnableAudit,
        &[Write],
        "sys/audit/:id",
        Place::Here,
        "Enable an audit device at all nodes.",
    ),
    token(
        Action::DisableAudit,
        &[Delete],
        "sys/audit/:id",
        Place::Here,
        "Disable an audit device at all nodes.",
    ),
    token(
        Action::AuditHash,
        &[Write],
        "sys/audit-hash/:id",
        Place::Here,
        "What stands for a text in the trail of a device.",
    ),
    token(
        Action::AuditAnchors,
        &[Read],
        "sys/audit-anchors",
        Place::Here,
        "Heads of all nodes' audit trails, as the cluster noted them.",
    ),
    limit(Q::ReadConfig, &[Read], "sys/quotas/config", "What holds for all rate limits."),
    limit(Q::WriteConfig, &[Write], "sys/quotas/config", "Change what holds for all rate limits."),
    limit(Q::List, &[List], "sys/quotas/rate-limit", "Names of all rate limits."),
    limit(Q::Read, &[Read], "sys/quotas/rate-limit/:name", "A rate limit."),
    limit(Q::Write, &[Write], "sys/quotas/rate-limit/:name", "Write a rate limit."),
    limit(Q::Delete, &[Delete], "sys/quotas/rate-limit/:name", "Delete a rate limit."),
    lease_count(L::List, &[List], "sys/quotas/lease-count", "Names of all quotas on the number of leases."),
    lease_count(L::Read, &[Read], "sys/quotas/lease-count/:name", "How many leases there may be, and are."),
    lease_count(L::Write, &[Write], "sys/quotas/lease-count/:name", "Say how many leases there may be."),
    lease_count(
        L::Delete,
        &[Delete],
        "sys/quotas/lease-count/:name",
        "Delete a quota on the number of leases.",
    ),
];
