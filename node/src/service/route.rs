//! The route table: every path of the API as data, with who may call it, where it runs and whether sealing stops it.
//!
//! A path that is not here and not below a mount does not exist. The tests walk the table.

mod identity;

use conclave_core::auth::rights::RightsRequest;
use conclave_core::auth::token::TokenRequest;
use conclave_core::identity::IdentityRequest;
use conclave_core::plan::Operation::{self, Delete, List, Patch, Read, Scan, Write};
use conclave_core::policy::api::{Form, PolicyRequest};
use conclave_core::policy::password_api::PasswordRequest;

use super::failure::Failure;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Health,
    Leader,
    SealStatus,
    Unseal,
    Seal,
    InitStatus,
    Init,
    JoinCluster,
    AdmitNode,
    JoinToken,
    Members,
    Leave,
    StepDown,
    HaStatus,
    KeyStatus,
    RotateKeyring,
    ReadRotateConfig,
    WriteRotateConfig,
    ListMounts,
    ReadMount,
    EnableMount,
    DisableMount,
    ReadMountTune,
    TuneMount,
    Remount,
    RemountStatus,
    VisibleMounts,
    VisibleMount,
    RaftConfiguration,
    RemovePeer,
    AutopilotState,
    SaveSnapshot,
    RestoreSnapshot,
    HostInfo,
    Metrics,
    OpenApi,
    Token(TokenRequest),
    Policy(PolicyRequest, Form),
    Rights(RightsRequest),
    Password(PasswordRequest),
    Identity(IdentityRequest),
    /// Below a mount: the engine decides.
    Secret,
}

/// Where a request is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// By this node, about itself.
    Here,
    /// From the replicated state, at whichever node was asked.
    State,
    /// By the leader.
    Leader,
}

/// One row of the table.
#[derive(Debug)]
pub struct Route {
    pub action: Action,
    operations: &'static [Operation],
    /// `*` at the end stands for one or more segments, `:id` for one.
    pattern: &'static str,
    /// Needs no token.
    pub open: bool,
    /// Works while the node is sealed.
    pub when_sealed: bool,
    pub place: Place,
    /// One line for the API's description.
    pub summary: &'static str,
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

const fn token(
    action: Action,
    operations: &'static [Operation],
    pattern: &'static str,
    place: Place,
    summary: &'static str,
) -> Route {
    Route { action, operations, pattern, open: false, when_sealed: false, place, summary }
}

/// The routes of `sys` and `auth`. The first match wins, so a longer pattern stands before a shorter one.
const ROUTES: &[Route] = &[
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
    token(Action::KeyStatus, &[Read], "sys/key-status", Place::State, "The active key term."),
    token(
        Action::ReadRotateConfig,
        &[Read],
        "sys/rotate/config",
        Place::State,
        "When keys rotate by themselves.",
    ),
    token(Action::WriteRotateConfig, &[Write], "sys/rotate/config", Place::State, "Set when keys rotate."),
    token(Action::ReadRotateConfig, &[Read], "sys/rotate/keyring/config", Place::State, "When keys rotate."),
    token(
        Action::WriteRotateConfig,
        &[Write],
        "sys/rotate/keyring/config",
        Place::State,
        "Set when keys rotate.",
    ),
    token(Action::RotateKeyring, &[Write], "sys/rotate/keyring", Place::State, "Begin a new key term."),
    token(Action::RotateKeyring, &[Write], "sys/rotate", Place::State, "Begin a new key term."),
    token(Action::ListMounts, &[Read], "sys/mounts", Place::State, "All mounts."),
    token(Action::ReadMountTune, &[Read], "sys/mounts/*/tune", Place::State, "A mount's settings."),
    token(Action::TuneMount, &[Write], "sys/mounts/*/tune", Place::State, "Change a mount's settings."),
    token(Action::ReadMount, &[Read], "sys/mounts/*", Place::State, "One mount."),
    token(Action::EnableMount, &[Write], "sys/mounts/*", Place::State, "Enable an engine at a path."),
    token(
        Action::DisableMount,
        &[Delete],
        "sys/mounts/*",
        Place::State,
        "Disable a mount and destroy its secrets.",
    ),
    token(Action::RemountStatus, &[Read], "sys/remount/status/:id", Place::State, "How a remount went."),
    token(Action::Remount, &[Write], "sys/remount", Place::State, "Move a mount to another path."),
    token(
        Action::VisibleMount,
        &[Read],
        "sys/internal/ui/mounts/*",
        Place::State,
        "The mount that serves a path.",
    ),
    // Without a token this lists the mounts that are visible to all, as clients expect: the handler decides.
    Route {
        action: Action::VisibleMounts,
        operations: &[Read],
        pattern: "sys/internal/ui/mounts",
        open: true,
        when_sealed: false,
        place: Place::State,
        summary: "The mounts that the caller may see.",
    },
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
    token(
        Action::Token(TokenRequest::Accessors),
        &[List],
        "auth/token/accessors",
        Place::State,
        "Accessors of all tokens.",
    ),
    token(
        Action::Token(TokenRequest::CreateOrphan),
        &[Write],
        "auth/token/create-orphan",
        Place::State,
        "Make a token that outlives yours.",
    ),
    token(Action::Token(TokenRequest::Create), &[Write], "auth/token/create", Place::State, "Make a token."),
    token(
        Action::Token(TokenRequest::LookupSelf),
        &[Read, Write],
        "auth/token/lookup-self",
        Place::State,
        "The caller's own token.",
    ),
    token(
        Action::Token(TokenRequest::LookupAccessor),
        &[Write],
        "auth/token/lookup-accessor",
        Place::State,
        "The token with this accessor.",
    ),
    token(Action::Token(TokenRequest::Lookup), &[Read, Write], "auth/token/lookup", Place::State, "A token."),
    token(
        Action::Token(TokenRequest::RenewSelf),
        &[Write],
        "auth/token/renew-self",
        Place::State,
        "Make the caller's own token last longer.",
    ),
    token(
        Action::Token(TokenRequest::RenewAccessor),
        &[Write],
        "auth/token/renew-accessor",
        Place::State,
        "Make the token with this accessor last longer.",
    ),
    token(
        Action::Token(TokenRequest::Renew),
        &[Write],
        "auth/token/renew",
        Place::State,
        "Make a token last longer.",
    ),
    token(
        Action::Token(TokenRequest::RevokeSelf),
        &[Write],
        "auth/token/revoke-self",
        Place::State,
        "End the caller's own token and all made with it.",
    ),
    token(
        Action::Token(TokenRequest::RevokeAccessor),
        &[Write],
        "auth/token/revoke-accessor",
        Place::State,
        "End the token with this accessor and all made with it.",
    ),
    token(
        Action::Token(TokenRequest::RevokeOrphan),
        &[Write],
        "auth/token/revoke-orphan",
        Place::State,
        "End a token, and let those made with it live on.",
    ),
    token(
        Action::Token(TokenRequest::Revoke),
        &[Write],
        "auth/token/revoke",
        Place::State,
        "End a token and all made with it.",
    ),
    token(
        Action::Policy(PolicyRequest::List, Form::Policies),
        &[List],
        "sys/policies/acl",
        Place::State,
        "Names of all policies.",
    ),
    token(
        Action::Policy(PolicyRequest::Read, Form::Policies),
        &[Read],
        "sys/policies/acl/*",
        Place::State,
        "A policy.",
    ),
    token(
        Action::Policy(PolicyRequest::Write, Form::Policies),
        &[Write],
        "sys/policies/acl/*",
        Place::State,
        "Write a policy.",
    ),
    token(
        Action::Policy(PolicyRequest::Delete, Form::Policies),
        &[Delete],
        "sys/policies/acl/*",
        Place::State,
        "Delete a policy.",
    ),
    token(
        Action::Policy(PolicyRequest::List, Form::Policy),
        &[Read, List],
        "sys/policy",
        Place::State,
        "Names of all policies.",
    ),
    token(
        Action::Policy(PolicyRequest::Read, Form::Policy),
        &[Read],
        "sys/policy/*",
        Place::State,
        "A policy.",
    ),
    token(
        Action::Policy(PolicyRequest::Write, Form::Policy),
        &[Write],
        "sys/policy/*",
        Place::State,
        "Write a policy.",
    ),
    token(
        Action::Policy(PolicyRequest::Delete, Form::Policy),
        &[Delete],
        "sys/policy/*",
        Place::State,
        "Delete a policy.",
    ),
    token(
        Action::Password(PasswordRequest::List),
        &[List],
        "sys/policies/password",
        Place::State,
        "Names of all password policies.",
    ),
    token(
        Action::Password(PasswordRequest::Generate),
        &[Read],
        "sys/policies/password/*/generate",
        Place::State,
        "A password made by a policy.",
    ),
    token(
        Action::Password(PasswordRequest::Read),
        &[Read],
        "sys/policies/password/*",
        Place::State,
        "A password policy.",
    ),
    token(
        Action::Password(PasswordRequest::Write),
        &[Write],
        "sys/policies/password/*",
        Place::State,
        "Write a password policy.",
    ),
    token(
        Action::Password(PasswordRequest::Delete),
        &[Delete],
        "sys/policies/password/*",
        Place::State,
        "Delete a password policy.",
    ),
    token(
        Action::Rights(RightsRequest::Capabilities),
        &[Write],
        "sys/capabilities",
        Place::State,
        "What a token may do at paths.",
    ),
    token(
        Action::Rights(RightsRequest::CapabilitiesSelf),
        &[Write],
        "sys/capabilities-self",
        Place::State,
        "What the caller may do at paths.",
    ),
    token(
        Action::Rights(RightsRequest::CapabilitiesAccessor),
        &[Write],
        "sys/capabilities-accessor",
        Place::State,
        "What the token with this accessor may do at paths.",
    ),
    token(
        Action::Rights(RightsRequest::Explain),
        &[Write],
        "sys/policies/explain",
        Place::State,
        "Which rule decides a request, and what would allow it.",
    ),
    token(
        Action::Rights(RightsRequest::ResultantAcl),
        &[Read],
        "sys/internal/ui/resultant-acl",
        Place::State,
        "All rules of the caller's policies.",
    ),
];

const SECRET: Route =
    token(Action::Secret, &[Read, Write, Patch, Delete, List, Scan], "*", Place::State, "Below a mount.");

/// All rows, in the order in which they are looked at.
pub fn all() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().chain(identity::ROUTES)
}

/// Finds the route of a canonical path. Below `sys/`, `auth/` and `identity/` only the table's paths exist.
pub fn find(operation: Operation, path: &str) -> Result<&'static Route, Failure> {
    if !is_reserved(path) {
        return Ok(&SECRET);
    }
    let path = path.trim_end_matches('/');
    let mut known = false;
    for route in all().filter(|route| route.matches(path)) {
        if route.operations.contains(&operation) {
            return Ok(route);
        }
        known = true;
    }
    Err(if known { Failure::Unsupported } else { Failure::NoRoute { path: path.to_owned() } })
}

fn is_reserved(path: &str) -> bool {
    matches!(path.split('/').next(), Some("sys" | "auth" | "identity"))
}

impl Route {
    /// Whether a policy must grant `sudo` as well. The actions are those for which OpenBao asks for it, and those of
    /// ours that let a node in or out.
    pub fn root_protected(&self) -> bool {
        matches!(
            self.action,
            Action::Seal
                | Action::StepDown
                | Action::Remount
                | Action::RotateKeyring
                | Action::JoinToken
                | Action::Leave
                | Action::Token(TokenRequest::Accessors | TokenRequest::RevokeOrphan | TokenRequest::Tidy)
        )
    }

    pub fn pattern(&self) -> &'static str {
        self.pattern
    }

    pub fn operations(&self) -> &'static [Operation] {
        self.operations
    }

    fn matches(&self, path: &str) -> bool {
        self.capture(path).is_some()
    }

    /// The part of `path` that the pattern's wildcard stands for; empty when it has none.
    pub fn capture<'p>(&self, path: &'p str) -> Option<&'p str> {
        let path = path.trim_end_matches('/');
        let Some((before, after)) = self.pattern.split_once(['*', ':']) else {
            return (self.pattern == path).then_some("");
        };
        let one_segment = self.pattern.contains(':');
        let after = if one_segment { "" } else { after };
        let captured = path.strip_prefix(before)?.strip_suffix(after)?;
        let fits = !captured.is_empty() && (!one_segment || !captured.contains('/'));
        fits.then_some(captured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(operation: Operation, path: &str) -> Result<Action, u16> {
        find(operation, path).map(|route| route.action).map_err(|failure| failure.status())
    }

    #[test]
    fn each_path_finds_its_action() {
        assert_eq!(action(Read, "sys/mounts"), Ok(Action::ListMounts));
        assert_eq!(action(Read, "sys/mounts/a/b"), Ok(Action::ReadMount));
        assert_eq!(action(Read, "sys/mounts/a/b/tune"), Ok(Action::ReadMountTune));
        assert_eq!(action(Write, "sys/mounts/tune"), Ok(Action::EnableMount));
        assert_eq!(action(Read, "sys/internal/ui/mounts/secret/x"), Ok(Action::VisibleMount));
        assert_eq!(action(Read, "sys/remount/status/1-2"), Ok(Action::RemountStatus));
        let entity = Action::Identity(IdentityRequest::EntityReadByName);
        assert_eq!(action(Read, "identity/entity/name/a/b"), Ok(entity));
        assert_eq!(action(Write, "auth/token/create/ci"), Ok(Action::Token(TokenRequest::CreateByRole)));
        assert_eq!(action(Read, "secret/data/x"), Ok(Action::Secret));
        assert_eq!(action(List, "secret/metadata/"), Ok(Action::Secret));
    }

    #[test]
    fn what_is_not_in_the_table_does_not_exist() {
        assert_eq!(action(Read, "sys/nothing"), Err(404));
        assert_eq!(action(Read, "sys/raw/x"), Err(404));
        assert_eq!(action(Write, "auth/approle/login"), Err(404));
        assert_eq!(action(Read, "identity"), Err(404));
        assert_eq!(action(Read, "identity/oidc/config"), Err(404));
        assert_eq!(action(Read, "identity/entity/id/a/b"), Err(404));
        assert_eq!(action(Delete, "sys/health"), Err(405));
        assert_eq!(action(Read, "sys/remount/status/1/2"), Err(404));
    }

    #[test]
    fn only_these_actions_need_no_token() {
        let mut open: Vec<_> =
            all().filter(|route| route.open).map(|route| format!("{:?}", route.action)).collect();
        open.sort();
        assert_eq!(
            open,
            [
                "AdmitNode",
                "Health",
                "Init",
                "InitStatus",
                "JoinCluster",
                "Leader",
                "SealStatus",
                "Unseal",
                "VisibleMounts"
            ]
        );
    }

    #[test]
    fn only_these_actions_need_sudo() {
        let mut protected: Vec<_> =
            all().filter(|route| route.root_protected()).map(|route| format!("{:?}", route.action)).collect();
        protected.sort();
        protected.dedup();
        assert_eq!(
            protected,
            [
                "JoinToken",
                "Leave",
                "Remount",
                "RotateKeyring",
                "Seal",
                "StepDown",
                "Token(Accessors)",
                "Token(RevokeOrphan)",
                "Token(Tidy)"
            ]
        );
    }

    #[test]
    fn every_route_finds_itself() {
        for route in all() {
            let path = route.pattern.replace('*', "a/b").replace(":id", "x");
            for operation in route.operations {
                assert_eq!(action(*operation, &path), Ok(route.action), "{path}");
            }
        }
    }
}
