//! A node, its cluster, and its backups.

use conclave_core::plan::Operation::{Read, Write};

use super::super::{Action, Place, Route};
use super::{open, token};

pub(super) const ROUTES: &[Route] = &[
    open(Action::Health, &[Read], "sys/health", Place::Here, "The node's health, as a status code."),
    open(Action::Leader, &[Read], "sys/leader", Place::Here, "Who leads the cluster."),
    open(Action::SealStatus, &[Read], "sys/seal-status", Place::Here, "Whether the node is sealed."),
    open(Action::Unseal, &[Write], "sys/unseal", Place::Here, "Give one key share."),
    open(Action::InitStatus, &[Read], "sys/init", Place::Here, "Whether the node belongs to a cluster."),
    open(Action::Init, &[Write], "sys/init", Place::Here, "Make a new cluster of this node."),
    open(
        Action::JoinCluster,
        &[Write],
        "sys/storage/raft/join",
        Place::Here,
        "Make this node join a cluster.",
    ),
    open(
        Action::AdmitNode,
        &[Write],
        "sys/cluster/join",
        Place::Leader,
        "Admit a node that holds a join token.",
    ),
    token(Action::JoinToken, &[Write], "sys/cluster/join-token", Place::State, "Make a join token."),
    token(Action::Members, &[Read], "sys/cluster/members", Place::State, "The cluster's nodes."),
    token(Action::Leave, &[Write], "sys/cluster/leave", Place::Here, "Take this node out of the cluster."),
    token(Action::Seal, &[Write], "sys/seal", Place::Here, "Seal this node."),
    token(Action::StepDown, &[Write], "sys/step-down", Place::Leader, "Hand leadership to another node."),
    token(
        Action::HaStatus,
        &[Read],
        "sys/ha-status",
        Place::State,
        "The cluster's nodes, as Vault lists them.",
    ),
    token(
        Action::RaftConfiguration,
        &[Read],
        "sys/storage/raft/configuration",
        Place::State,
        "The Raft group.",
    ),
    token(
        Action::RemovePeer,
        &[Write],
        "sys/storage/raft/remove-peer",
        Place::Leader,
        "Remove a node for good.",
    ),
    token(
        Action::AutopilotState,
        &[Read],
        "sys/storage/raft/autopilot/state",
        Place::Leader,
        "Health of all nodes.",
    ),
    token(Action::SaveSnapshot, &[Read], "sys/storage/raft/snapshot", Place::Here, "Download a backup."),
    token(Action::RestoreSnapshot, &[Write], "sys/storage/raft/snapshot", Place::Here, "Restore a backup."),
    token(Action::HostInfo, &[Read], "sys/host-info", Place::Here, "The node's machine."),
    token(Action::Metrics, &[Read], "sys/metrics", Place::Here, "The node's metrics."),
    token(Action::OpenApi, &[Read], "sys/internal/specs/openapi", Place::State, "This API's description."),
];
