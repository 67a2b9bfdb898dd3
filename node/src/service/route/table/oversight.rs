//! Rate limits and the audit trail.

use conclave_core::plan::Operation::{Delete, List, Read, Write};
use conclave_core::quota::api::QuotaRequest;

use super::super::{Action, Place, Route};
use super::token;

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
    token(
        Action::Quota(QuotaRequest::ReadConfig),
        &[Read],
        "sys/quotas/config",
        Place::State,
        "What holds for all rate limits.",
    ),
    token(
        Action::Quota(QuotaRequest::WriteConfig),
        &[Write],
        "sys/quotas/config",
        Place::State,
        "Change what holds for all rate limits.",
    ),
    token(
        Action::Quota(QuotaRequest::List),
        &[List],
        "sys/quotas/rate-limit",
        Place::State,
        "Names of all rate limits.",
    ),
    token(
        Action::Quota(QuotaRequest::Read),
        &[Read],
        "sys/quotas/rate-limit/:name",
        Place::State,
        "A rate limit.",
    ),
    token(
        Action::Quota(QuotaRequest::Write),
        &[Write],
        "sys/quotas/rate-limit/:name",
        Place::State,
        "Write a rate limit.",
    ),
    token(
        Action::Quota(QuotaRequest::Delete),
        &[Delete],
        "sys/quotas/rate-limit/:name",
        Place::State,
        "Delete a rate limit.",
    ),
];
