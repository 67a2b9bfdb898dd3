//! The route table: every path of the API as data, with who may call it, where it runs and whether sealing stops it.
//!
//! A path that is not here and not below a mount does not exist. The tests walk the table.

mod table;

use conclave_core::auth::mfa::MfaRequest;
use conclave_core::auth::rights::RightsRequest;
use conclave_core::auth::token::TokenRequest;
use conclave_core::auth::wrapping::WrappingRequest;
use conclave_core::identity::IdentityRequest;
use conclave_core::lease::LeaseRequest;
use conclave_core::plan::Operation::{self, Delete, List, Patch, Read, Scan, Write};
use conclave_core::policy::api::{Form, PolicyRequest};
use conclave_core::policy::password_api::PasswordRequest;
use conclave_core::quota::api::QuotaRequest;
use conclave_core::quota::lease_api::LeaseQuotaRequest;
use conclave_core::seal::ceremony::{self, Step};

use self::table::token;
use super::failure::Failure;

pub use self::table::routes;

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
    Ceremony(Step, ceremony::Form),
    Wrapping(WrappingRequest),
    AuthMount(AuthMountRequest),
    LockedUsers,
    UnlockUser,
    /// Below an auth mount: its method decides, also whether it is a login, which needs no token.
    Auth,
    Quota(QuotaRequest),
    LeaseQuota(LeaseQuotaRequest),
    Lease(LeaseRequest),
    Identity(IdentityRequest),
    Mfa(MfaRequest),
    /// Finishes a login that waits for another factor.
    MfaValidate,
    ListAudit,
    EnableAudit,
    DisableAudit,
    AuditHash,
    AuditAnchors,
    /// Below a mount: the engine decides.
    Secret,
}

/// What can be asked of the auth mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthMountRequest {
    List,
    Read,
    ReadTune,
    Enable,
    Disable,
    Tune,
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

/// The fixed part of `auth/`; what else is there is below a mount.
const TOKEN_PATHS: &str = "auth/token";

const AUTH: Route =
    token(Action::Auth, &[Read, Write, Delete, List, Scan], "*", Place::State, "Below an auth mount.");

const SECRET: Route =
    token(Action::Secret, &[Read, Write, Patch, Delete, List, Scan], "*", Place::State, "Below a mount.");

/// Finds the route of a canonical path. Below `sys/`, `auth/token/` and `identity/` only the table's paths exist.
pub fn find(operation: Operation, path: &str) -> Result<&'static Route, Failure> {
    if !is_reserved(path) {
        return Ok(&SECRET);
    }
    let path = path.trim_end_matches('/');
    let mut known = false;
    for route in routes().filter(|route| route.matches(path)) {
        if route.operations.contains(&operation) {
            return Ok(route);
        }
        known = true;
    }
    if is_below_auth_mount(path) {
        return if AUTH.operations.contains(&operation) { Ok(&AUTH) } else { Err(Failure::Unsupported) };
    }
    Err(if known { Failure::Unsupported } else { Failure::NoRoute { path: path.to_owned() } })
}

fn is_reserved(path: &str) -> bool {
    matches!(path.split('/').next(), Some("sys" | "auth" | "identity"))
}

fn is_below_auth_mount(path: &str) -> bool {
    let rest = path.strip_prefix(TOKEN_PATHS).map(|rest| rest.is_empty() || rest.starts_with('/'));
    path.starts_with("auth/") && rest != Some(true)
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
                | Action::AuthMount(
                    AuthMountRequest::Read
                        | AuthMountRequest::ReadTune
                        | AuthMountRequest::Enable
                        | AuthMountRequest::Disable
                        | AuthMountRequest::Tune
                )
                | Action::Token(TokenRequest::Accessors | TokenRequest::RevokeOrphan | TokenRequest::Tidy)
                | Action::Lease(
                    LeaseRequest::List
                        | LeaseRequest::RevokePrefix
                        | LeaseRequest::RevokeForce
                        | LeaseRequest::Irrevocable
                        | LeaseRequest::Tidy
                )
                | Action::ListAudit
                | Action::EnableAudit
                | Action::DisableAudit
                | Action::AuditAnchors
        )
    }

    /// Whether a change is decided by what all lies below a path. No transaction can prove that nothing more does, so the
    /// state that it is planned on is proven first.
    pub fn decides_by_a_range(&self) -> bool {
        matches!(self.action, Action::Lease(LeaseRequest::RevokePrefix | LeaseRequest::RevokeForce))
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
        assert_eq!(action(Write, "auth/approle/login"), Ok(Action::Auth));
        assert_eq!(action(List, "auth/tokens/users/"), Ok(Action::Auth));
        assert_eq!(action(Read, "sys/auth/a/b/tune"), Ok(Action::AuthMount(AuthMountRequest::ReadTune)));
        assert_eq!(action(List, "secret/metadata/"), Ok(Action::Secret));
        assert_eq!(action(List, "sys/leases/lookup/"), Ok(Action::Lease(LeaseRequest::List)));
        assert_eq!(action(Write, "sys/leases/revoke/a/b"), Ok(Action::Lease(LeaseRequest::Revoke)));
        assert_eq!(action(Write, "sys/leases/lookup/a"), Err(405));
    }

    #[test]
    fn what_is_not_in_the_table_does_not_exist() {
        assert_eq!(action(Read, "sys/nothing"), Err(404));
        assert_eq!(action(Read, "sys/raw/x"), Err(404));
        // The old names of what is below `sys/leases`, whose checks were forgotten elsewhere (CVE-2026-45808).
        for path in [
            "sys/renew",
            "sys/renew/x",
            "sys/revoke",
            "sys/revoke/x",
            "sys/revoke-prefix/x",
            "sys/revoke-force/x",
        ] {
            assert_eq!(action(Write, path), Err(404), "{path}");
        }
        assert_eq!(action(Write, "auth/token/nothing"), Err(404));
        assert_eq!(action(Write, "auth"), Err(404));
        assert_eq!(action(Write, "auth/token"), Err(404));
        assert_eq!(action(Patch, "auth/approle/login"), Err(405));
        assert_eq!(action(Read, "identity"), Err(404));
        assert_eq!(action(Read, "identity/oidc/config"), Err(404));
        assert_eq!(action(Read, "identity/entity/id/a/b"), Err(404));
        assert_eq!(action(Delete, "sys/health"), Err(405));
        assert_eq!(action(Read, "sys/remount/status/1/2"), Err(404));
    }

    #[test]
    fn only_these_actions_need_no_token() {
        let mut open: Vec<_> =
            routes().filter(|route| route.open).map(|route| format!("{:?}", route.action)).collect();
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
                "MfaValidate",
                "SealStatus",
                "Unseal",
                "VisibleMounts",
                "Wrapping(Lookup)"
            ]
        );
    }

    #[test]
    fn only_these_actions_need_sudo() {
        let mut protected: Vec<_> = routes()
            .filter(|route| route.root_protected())
            .map(|route| format!("{:?}", route.action))
            .collect();
        protected.sort();
        protected.dedup();
        assert_eq!(
            protected,
            [
                "AuditAnchors",
                "AuthMount(Disable)",
                "AuthMount(Enable)",
                "AuthMount(Read)",
                "AuthMount(ReadTune)",
                "AuthMount(Tune)",
                "DisableAudit",
                "EnableAudit",
                "JoinToken",
                "Lease(Irrevocable)",
                "Lease(List)",
                "Lease(RevokeForce)",
                "Lease(RevokePrefix)",
                "Lease(Tidy)",
                "Leave",
                "ListAudit",
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
        for route in routes() {
            let path = route.pattern.replace('*', "a/b").replace(":id", "x").replace(":name", "x");
            for operation in route.operations {
                assert_eq!(action(*operation, &path), Ok(route.action), "{path}");
            }
        }
    }
}
