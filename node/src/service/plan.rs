//! Deciding a request on one view: who calls, whether they may, and what it means. Everything here is synchronous and
//! reads nothing but the view; what it plans names the records it was decided from (I7).

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use conclave_core::Error;
use conclave_core::audit::{self, DeviceTable};
use conclave_core::auth::mfa;
use conclave_core::auth::rights::{self, RightsRequest};
use conclave_core::auth::token::{self, Identified};
use conclave_core::auth::wrapping::{self, WrappingRequest};
use conclave_core::auth::{self, Method, MethodRequest, PasswordDone};
use conclave_core::crypto::{Kind, plain_key};
use conclave_core::engine::{self, cubbyhole, mount, mount::MountTable};
use conclave_core::errand::Errands;
use conclave_core::identity::{self, AuthMounts};
use conclave_core::plan::{Context, Operation, Plan, Reply, Request};
use conclave_core::policy::api::Form;
use conclave_core::policy::{self, Permit};
use conclave_core::seal::ceremony::{self, Ceremony, Step};
use conclave_core::view::View;
use conclave_core::{lease, quota};
use conclave_faults::{Bug, planted};
use conclave_proto::log::Txn;
use serde_json::{Map, Value};

use super::access::permit;
use super::answer::Answer;
use super::call::Call;
use super::failure::Failure;
use super::idempotency::Name;
use super::quotas;
use super::recorded::{Known, Seen};
use super::route::{self, Action, AuthMountRequest, Route};
use super::sys;
use crate::cluster::Cluster;
use crate::seal::Unsealed;

/// What a decision read that may serve the next one too, once it is certain that its view was of one state.
type Learned = RefCell<Option<Arc<MountTable>>>;

/// The mount table as it stands in the view.
///
/// # Errors
/// [`Failure::Restoring`]: it, and all secrets, are being replaced. The mark of that comes and goes together with a change
/// of the table, so that a table from the cache vouches for its absence; where there is no table, the mark is looked up.
fn mounts(ctx: &Context<'_>, unsealed: &Unsealed, learned: &Learned) -> Result<Arc<MountTable>, Failure> {
    let stamp = ctx.view.stamp(&MountTable::record_key(ctx.barrier))?;
    let cached = unsealed.caches.mounts.load();
    if let (Some(table), Some(stamp)) = (cached.as_ref(), stamp)
        && table.revision() == stamp.revision
    {
        return Ok(Arc::clone(table));
    }
    if ctx.view.stamp(&plain_key(Kind::RestoreMarker))?.is_some() {
        return Err(Failure::Restoring);
    }
    let table = Arc::new(MountTable::load(ctx.view, ctx.barrier)?);
    learned.replace(Some(Arc::clone(&table)));
    Ok(table)
}

/// A decision: what to commit, and how to answer once it is.
pub struct Decided {
    pub plan: Plan,
    shape: Shape,
    /// The answer is no; what is committed is only that a token was used.
    refusal: Option<Failure>,
}

/// How the answer is wrapped.
#[derive(Clone, Copy)]
enum Shape {
    Envelope,
    /// Fields at the top and under `data`.
    Doubled,
    /// The data alone.
    Bare,
}

impl Decided {
    /// Whether its transaction proves all that it was decided from: it tells nothing of the state, and does not refuse.
    pub fn only_changes(&self, call: &Call) -> bool {
        call.changes() && self.refusal.is_none()
    }

    /// Whether it is one part of what was asked, so that the next one is to be decided once this one is committed.
    pub fn goes_on(&self) -> bool {
        self.plan.reply.goes_on
    }

    pub fn into_answer(self, request_id: &str, stale_for: Option<Duration>) -> Answer {
        if let Some(refusal) = &self.refusal {
            return Answer { stale_for, ..Answer::failure(refusal) };
        }
        let reply = &self.plan.reply;
        if reply.wrap_info.is_some() {
            return Answer::enveloped(request_id, reply, stale_for);
        }
        match (self.shape, reply.data.as_deref()) {
            (Shape::Doubled, Some(data)) => match serde_json::from_slice(data) {
                Ok(data) => Answer { stale_for, ..Answer::doubled(request_id, &data, &reply.warnings) },
                Err(_) => Answer::enveloped(request_id, reply, stale_for),
            },
            (Shape::Bare, Some(data)) => Answer { stale_for, ..Answer::new(reply.status, data.to_vec()) },
            _ => Answer::enveloped(request_id, reply, stale_for),
        }
    }
}

/// Decides `call` on the current view of this node, at the time of its read point, or at the cluster's as this node knows
/// it.
pub async fn decide(
    cluster: &Cluster,
    route: &'static Route,
    call: &Call,
    read_at_ms: Option<u64>,
) -> Result<Decided, Failure> {
    // Reading RocksDB never yields by itself: without this, busy readers starve the runtime's timers.
    tokio::task::consume_budget().await;
    if call.changes() || route.action == Action::KeyStatus {
        // What opens with the keys at hand says nothing of newer ones, and a retired key must seal no more.
        cluster.refresh_keys()?;
    }
    with_fresh_keys(cluster, |unsealed| {
        let learned = Learned::default();
        let make = |view: &dyn View, now_ms| {
            let mut rng = rand::rng();
            let mut ctx = Context { view, barrier: &unsealed.barrier, now_ms, rng: &mut rng };
            learned.take();
            Decision { cluster, unsealed, route, call, learned: &learned }.make(&mut ctx)
        };
        let decided = match call.operation {
            // They read so much that some of it will have changed meanwhile.
            Operation::List | Operation::Scan => cluster.view_at(read_at_ms, make),
            _ => cluster.glance_at(read_at_ms, make),
        };
        if let Some(table) = learned.take() {
            unsealed.caches.mounts.store(Some(table));
        }
        decided
    })
}

/// Checks the caller's token and the policy only, for what is then done outside the state. The transaction, if there is one,
/// must be committed whatever the verdict is: a token was used that can be used only so often.
///
/// # Errors
/// There is no caller.
pub fn authorize(cluster: &Cluster, call: &Call) -> Result<(Option<Txn>, Result<(), Failure>), Failure> {
    with_fresh_keys(cluster, |unsealed| {
        cluster.glance_now(|view, now_ms| {
            let identified = identify(view, unsealed, now_ms, call)?;
            let verdict = permit(&identified.identity, call, false).map(drop);
            let mut rng = rand::rng();
            let mut ctx = Context { view, barrier: &unsealed.barrier, now_ms, rng: &mut rng };
            let mut txn = Txn::default();
            charge(&mut ctx, identified, &mut txn)?;
            Ok((Some(txn).filter(|txn| !txn.is_empty()), verdict))
        })
    })
}

/// Counts the use of a token that can be used only so often, and ties what is written to all that it was decided by.
fn charge(ctx: &mut Context<'_>, by: Identified, txn: &mut Txn) -> Result<(), Failure> {
    token::plan_use(ctx, &by, txn)?;
    let unguarded = planted::is(Bug::UnwrapUnguarded) && by.entry.uses_left > 0;
    if !txn.is_empty() && !unguarded {
        // A token that was revoked in between, or lost a policy, must not have its way (I7).
        txn.preconditions.extend(by.preconditions);
    }
    Ok(())
}

/// Who calls, and what is mounted, as this node's state stands: for the audit record of what is not decided from the state.
pub fn look(cluster: &Cluster, call: &Call) -> Result<Seen, Failure> {
    with_fresh_keys(cluster, |unsealed| {
        let learned = Learned::default();
        let seen = cluster.glance_now(|view, now_ms| {
            let mut rng = rand::rng();
            let ctx = Context { view, barrier: &unsealed.barrier, now_ms, rng: &mut rng };
            learned.take();
            let caller = match identify(view, unsealed, now_ms, call) {
                Ok(caller) => {
                    let allowed = permit(&caller.identity, call, false).is_ok();
                    Some(Known::of(&caller, call, allowed, false))
                }
                Err(Failure::Denied | Failure::Rule(Error::Denied)) => None,
                Err(failure) => return Err(failure),
            };
            Ok(Seen { caller, mounts: mounts(&ctx, unsealed, &learned).ok(), ..Seen::default() })
        });
        if let Some(table) = learned.take() {
            unsealed.caches.mounts.store(Some(table));
        }
        seen
    })
}

/// The audit devices that are enabled, as this node's state stands, if they are not those of `revision`.
///
/// # Errors
/// Their record cannot be read.
pub fn audit_devices(cluster: &Cluster, revision: Option<u64>) -> Result<Option<DeviceTable>, Failure> {
    with_fresh_keys(cluster, |unsealed| {
        cluster.glance_now(|view, _| {
            let stamp = view.stamp(&audit::devices_key())?;
            if revision.is_some_and(|revision| stamp.map_or(0, |stamp| stamp.revision) == revision) {
                return Ok(None);
            }
            Ok(Some(audit::devices(view, &unsealed.barrier)?))
        })
    })
}

/// Runs `decide`; when a record does not open because the keyring has a newer term, takes that over and runs it again.
fn with_fresh_keys<T>(
    cluster: &Cluster,
    decide: impl Fn(&Unsealed) -> Result<T, Failure>,
) -> Result<T, Failure> {
    loop {
        let unsealed = cluster.seal.unsealed().ok_or(Failure::Sealed)?;
        match decide(&unsealed) {
            Err(Failure::Rule(Error::Corrupt(_))) if has_newer_keys(cluster, &unsealed)? => {}
            decided => return decided,
        }
    }
}

/// Whether there are newer keys than these; somebody else may have taken them over already.
fn has_newer_keys(cluster: &Cluster, used: &Arc<Unsealed>) -> Result<bool, Failure> {
    let refreshed = cluster.refresh_keys()?;
    Ok(refreshed || cluster.seal.unsealed().is_some_and(|current| !Arc::ptr_eq(&current, used)))
}

fn identify(view: &dyn View, unsealed: &Unsealed, now_ms: u64, call: &Call) -> Result<Identified, Failure> {
    let from = call.client.map(|client| client.ip());
    let (barrier, caches) = (&unsealed.barrier, &unsealed.caches.tokens);
    Ok(token::identify(view, barrier, caches, now_ms, call.token()?, from)?)
}

struct Decision<'a> {
    cluster: &'a Cluster,
    unsealed: &'a Unsealed,
    route: &'static Route,
    call: &'a Call,
    learned: &'a Learned,
}

impl Decision<'_> {
    fn make(&self, ctx: &mut Context<'_>) -> Result<Decided, Failure> {
        if self.route.action == Action::VisibleMounts && self.call.headers.token.is_none() {
            let table = mounts(ctx, self.unsealed, self.learned)?;
            self.trace(None, &table, false);
            return Ok(envelope(Reply::json(&sys::mounts::visible_to_all(&table)).into()));
        }
        if let (Action::Ceremony(step, form), None) = (self.route.action, &self.call.headers.token) {
            return self.asked_by_share(ctx, step, form);
        }
        if self.route.action == Action::Wrapping(WrappingRequest::Lookup) {
            // Who is not known must not make anything in the state, such as a token for another wrapped answer.
            if self.call.headers.wrap_ttl_s.is_some() {
                return Err(not_wrappable());
            }
            self.trace_open(&mounts(ctx, self.unsealed, self.learned)?);
            return Ok(envelope(self.wrapping(ctx, WrappingRequest::Lookup)?));
        }
        if self.route.action == Action::MfaValidate {
            return self.validate(ctx);
        }
        if self.route.action == Action::Auth
            && let Some(decided) = self.login(ctx)?
        {
            return Ok(decided);
        }
        let identified = match identify(ctx.view, self.unsealed, ctx.now_ms, self.call) {
            // Most who ask with no valid token here ask with a wrapping token that was used.
            Err(Failure::Rule(Error::Denied))
                if matches!(
                    self.route.action,
                    Action::Wrapping(WrappingRequest::Unwrap | WrappingRequest::Rewrap)
                ) =>
            {
                self.trace_stranger(&Failure::Denied);
                return Err(wrapping::not_valid().into());
            }
            identified => identified.inspect_err(|failure| self.trace_stranger(failure))?,
        };
        let table = mounts(ctx, self.unsealed, self.learned)?;
        let mut decided = match self.allowed(ctx, &identified, &table) {
            Err(refusal) if identified.entry.uses_left > 0 && !refusal.is_fault() => {
                Decided { refusal: Some(refusal), ..envelope(Reply::no_content().into()) }
            }
            decided => decided?,
        };
        if decided.refusal.is_none() {
            self.wrap(ctx, &mut decided)?;
        }
        if decided.goes_on() {
            // One request is one use, in however many parts it is done.
            decided.plan.txn.preconditions.extend(identified.preconditions);
        } else {
            charge(ctx, identified, &mut decided.plan.txn)?;
        }
        Ok(decided)
    }

    /// What the caller's policies allow of it.
    fn allowed(
        &self,
        ctx: &mut Context<'_>,
        caller: &Identified,
        table: &Arc<MountTable>,
    ) -> Result<Decided, Failure> {
        let acl = caller.identity.acl();
        match self.route.action {
            // Clients ask these before they ask for anything: who may see nothing is told of nothing.
            Action::VisibleMounts => {
                self.trace(Some((caller, true)), table, false);
                return Ok(envelope(Reply::json(&sys::mounts::visible(table, acl)).into()));
            }
            Action::VisibleMount => {
                self.trace(Some((caller, true)), table, false);
                let path = self.route.capture(&self.call.path).unwrap_or_default();
                return Ok(envelope(sys::mounts::serving(table, acl, path)?.into()));
            }
            _ => {}
        }
        let creates = self.creates(ctx, caller, table)?;
        let permit = permit(&caller.identity, self.call, creates);
        self.trace(Some((caller, permit.is_ok())), table, creates);
        let permit = permit?;
        if !self.call.changes() {
            return self.decide(ctx, &permit, caller, table, &Map::new());
        }
        // Only now: a stranger's body is not worth reading.
        let body = self.call.json()?;
        self.once(ctx, |ctx| self.decide(ctx, &permit, caller, table, body))
    }

    /// What was answered to this change before, if it has a name and was made; else what `decide` says, remembered.
    fn once(
        &self,
        ctx: &mut Context<'_>,
        decide: impl FnOnce(&mut Context<'_>) -> Result<Decided, Failure>,
    ) -> Result<Decided, Failure> {
        let name = Name::of(ctx, self.call);
        if let Some(reply) = name.as_ref().map(|name| name.recall(ctx)).transpose()?.flatten() {
            return Ok(Decided { plan: reply.into(), shape: self.shape(), refusal: None });
        }
        let mut decided = decide(ctx)?;
        let is_done = !decided.plan.txn.is_empty() && decided.refusal.is_none() && !decided.goes_on();
        if let Some(name) = name.filter(|_| is_done) {
            name.remember(ctx, &mut decided.plan)?;
        }
        Ok(decided)
    }

    /// For a caller without a token, who shows a key share instead. A repeat has the share of the first time in its body.
    fn asked_by_share(
        &self,
        ctx: &mut Context<'_>,
        step: Step,
        form: ceremony::Form,
    ) -> Result<Decided, Failure> {
        if !self.call.changes() {
            return Err(Failure::Denied);
        }
        self.trace_open(&mounts(ctx, self.unsealed, self.learned)?);
        let body = self.call.json()?;
        self.once(ctx, |ctx| {
            let plan = self.ceremony(ctx, step, form, ceremony::Caller::Keeper, body)?;
            let mut decided = Decided { plan, shape: self.shape(), refusal: None };
            self.wrap(ctx, &mut decided)?;
            Ok(decided)
        })
    }

    /// Lays the answer aside if that was asked for.
    fn wrap(&self, ctx: &mut Context<'_>, decided: &mut Decided) -> Result<(), Failure> {
        let Some(ttl_s) = self.call.headers.wrap_ttl_s else { return Ok(()) };
        if matches!(decided.shape, Shape::Bare) {
            return Err(not_wrappable());
        }
        let path = self.call.path.trim_end_matches('/');
        let slash = if matches!(self.call.operation, Operation::List | Operation::Scan) { "/" } else { "" };
        Ok(wrapping::wrap(ctx, &mut decided.plan, ttl_s, &format!("{path}{slash}"))?)
    }

    fn wrapping(&self, ctx: &mut Context<'_>, request: WrappingRequest) -> Result<Plan, Failure> {
        let nothing = Map::new();
        let body = if self.call.changes() { self.call.json()? } else { &nothing };
        let own = self.call.token().unwrap_or_default();
        Ok(wrapping::handle(ctx, request, own, self.call.headers.wrap_ttl_s.is_some(), body)?)
    }

    fn ceremony(
        &self,
        ctx: &mut Context<'_>,
        step: Step,
        form: ceremony::Form,
        caller: ceremony::Caller,
        body: &Map<String, Value>,
    ) -> Result<Plan, Failure> {
        let root_key = &self.unsealed.root_key;
        let ceremony = Ceremony { step, form, operation: self.call.operation, caller, root_key };
        Ok(ceremony::handle(ctx, &ceremony, body)?)
    }

    /// Notes for the audit records what this decision was made by.
    fn trace(&self, caller: Option<(&Identified, bool)>, table: &Arc<MountTable>, creates: bool) {
        if self.call.trace.is_none() {
            return;
        }
        let caller = caller.map(|(caller, allowed)| Known::of(caller, self.call, allowed, creates));
        self.note(Seen { caller, mounts: Some(Arc::clone(table)), creates, shows_itself: false });
    }

    fn trace_stranger(&self, failure: &Failure) {
        if matches!(failure, Failure::Denied | Failure::Rule(Error::Denied)) {
            self.note(Seen { mounts: self.unsealed.caches.mounts.load_full(), ..Seen::default() });
        }
    }

    /// For what needs no token: what it shows in place of one is in its body.
    fn trace_open(&self, table: &Arc<MountTable>) {
        self.note(Seen { mounts: Some(Arc::clone(table)), shows_itself: true, ..Seen::default() });
    }

    fn note(&self, seen: Seen) {
        if let Some(trace) = &self.call.trace {
            trace.saw(seen);
        }
    }

    /// Whether policies must allow `create`, and the audit record says so.
    fn creates(&self, ctx: &Context<'_>, caller: &Identified, table: &MountTable) -> Result<bool, Failure> {
        if !matches!(self.route.action, Action::Secret | Action::Auth)
            || self.call.operation != Operation::Write
            || (caller.identity.is_root() && self.call.trace.is_none())
        {
            return Ok(false);
        }
        if let Some(rest) = cubbyhole::below(&self.call.path) {
            return Ok(cubbyhole::creates(ctx, caller, rest)?);
        }
        let Some((mount, rest)) = table.resolve(&self.call.path) else { return Ok(false) };
        Ok(match Method::of(mount) {
            Some(method) => method.creates(ctx, mount, rest)?,
            None => engine::creates(ctx, mount, rest)?,
        })
    }

    fn shape(&self) -> Shape {
        match self.route.action {
            Action::ListMounts
            | Action::ReadMount
            | Action::ReadMountTune
            | Action::AuthMount(
                AuthMountRequest::List | AuthMountRequest::Read | AuthMountRequest::ReadTune,
            )
            | Action::Remount
            | Action::KeyStatus
            | Action::HaStatus
            | Action::Policy(_, Form::Policy)
            | Action::Rights(
                RightsRequest::Capabilities
                | RightsRequest::CapabilitiesSelf
                | RightsRequest::CapabilitiesAccessor,
            ) => Shape::Doubled,
            Action::OpenApi | Action::Ceremony(_, ceremony::Form::Vault) => Shape::Bare,
            _ => Shape::Envelope,
        }
    }

    fn decide(
        &self,
        ctx: &mut Context<'_>,
        permit: &Permit,
        caller: &Identified,
        table: &MountTable,
        body: &Map<String, Value>,
    ) -> Result<Decided, Failure> {
        let captured = self.route.capture(&self.call.path).unwrap_or_default();
        let plan = match self.route.action {
            Action::Secret => self.secret(ctx, permit, caller, table, body)?,
            Action::Wrapping(request) => self.wrapping(ctx, request)?,
            Action::Auth => self.below_auth(ctx, permit, table, body)?,
            Action::AuthMount(request) => sys::mounts::auth(ctx, permit, table, request, captured, body)?,
            Action::LockedUsers => auth::locked_users(ctx, table, &self.call.query)?,
            Action::UnlockUser => auth::unlock_user(ctx, table, captured)?,
            Action::Token(request) => {
                let (token, path) = (self.call.token()?, &self.call.path);
                let certificates = self.call.certificates.as_deref();
                let asked_by = token::Caller { identified: caller, token, path, captured, certificates };
                token::handle(ctx, request, &asked_by, body)?
            }
            Action::Policy(request, form) => {
                let versioned: Vec<&str> = table.versioned_paths().collect();
                policy::api::handle(ctx, request, form, captured, body, &versioned)?
            }
            Action::Password(request) => policy::password_api::handle(ctx, request, captured, body)?,
            Action::Quota(request) => {
                quota::api::handle(ctx, request, captured, body, &|path| quotas::mounted(table, path))?
            }
            Action::LeaseQuota(request) => {
                quota::lease_api::handle(ctx, request, captured, body, &|path| quotas::mounted(table, path))?
            }
            Action::Lease(request) => {
                lease::handle(ctx, request, captured, table, &self.call.query.paged(permit), body)?
            }
            Action::Rights(request) => {
                let protected = |operation, path: &str| {
                    route::find(operation, path).is_ok_and(|route| route.root_protected())
                };
                rights::handle(ctx, request, caller, body, &protected)?
            }
            Action::Ceremony(step, form) => {
                let may_sudo = caller.identity.acl().may_sudo(&self.call.path);
                let caller = ceremony::Caller::Token { hash: caller.hash(), may_sudo };
                self.ceremony(ctx, step, form, caller, body)?
            }
            Action::Identity(request) => {
                let mounts = AuthMounts::of(ctx.barrier, table);
                identity::handle(ctx, request, &mounts, captured, body)?
            }
            Action::Mfa(request) => {
                let mounts = &AuthMounts::of(ctx.barrier, table);
                let entity_id = caller.entry.entity_id.as_str();
                mfa::handle(ctx, request, &mfa::Asked { mounts, entity_id, captured, body })?
            }
            Action::ListMounts => mount::list(table).into(),
            Action::ReadMount => mount::read(table, captured)?.into(),
            Action::ReadMountTune => mount::read_tune(table, captured)?.into(),
            Action::RemountStatus => mount::remount_status(table, captured)?.into(),
            Action::EnableMount => mount::enable(ctx, permit, table, captured, body)?,
            Action::DisableMount => mount::disable(ctx, permit, table, captured)?,
            Action::TuneMount => mount::tune(ctx, permit, table, captured, body)?,
            Action::Remount => mount::remount(ctx, permit, table, body)?,
            Action::JoinToken => {
                let (txn, data) = sys::membership::plan_join_token(self.cluster, ctx, body)?;
                Plan { txn, reply: Reply::json(&data) }
            }
            Action::Members => Reply::json(&sys::membership::members(self.cluster)).into(),
            Action::RaftConfiguration => {
                Reply::json(&sys::membership::raft_configuration(self.cluster)).into()
            }
            Action::HaStatus => Reply::json(&sys::membership::ha_status(self.cluster)).into(),
            Action::KeyStatus => Reply::json(&sys::keys::status(self.unsealed)).into(),
            Action::ReadRotateConfig => {
                Reply::json(&sys::keys::config(&sys::keys::Rotation::load(ctx)?.0)).into()
            }
            Action::WriteRotateConfig => change(sys::keys::plan_config(ctx, body)?),
            Action::RotateKeyring => change(sys::keys::plan_rotation(self.cluster, self.unsealed, ctx)?),
            Action::OpenApi => Reply::json(&sys::openapi::document()).into(),
            _ => return Err(Failure::Unsupported),
        };
        let mut decided = Decided { plan, shape: self.shape(), refusal: None };
        self.wrap(ctx, &mut decided)?;
        Ok(decided)
    }

    /// A login, which is its own proof of who calls; `None`: it is none.
    fn login(&self, ctx: &mut Context<'_>) -> Result<Option<Decided>, Failure> {
        let table = mounts(ctx, self.unsealed, self.learned)?;
        let Some((mount, rest)) = table.resolve(&self.call.path) else { return Ok(None) };
        let Some(method) = Method::of(mount).filter(|method| method.is_login(rest)) else { return Ok(None) };
        self.trace_open(&table);
        let body = self.call.json()?;
        let password = self.call.password.lock().clone();
        let errands = self.call.errands.lock().clone();
        let request = self.method_request(rest, body, password.as_ref(), &errands);
        // A repeat has the secret of the first time in its body.
        let decided = self.once(ctx, |ctx| {
            let step = method.login(ctx, mount, &request)?;
            self.logged_in(ctx, step)
        })?;
        Ok(Some(decided))
    }

    fn logged_in(&self, ctx: &mut Context<'_>, step: auth::Step) -> Result<Decided, Failure> {
        match step {
            // Nobody is known yet to whom there is no token to give: nothing is kept for him.
            auth::Step::Done(plan) if plan.reply.auth.is_none() && self.call.headers.wrap_ttl_s.is_some() => {
                Err(not_wrappable())
            }
            auth::Step::Done(plan) => {
                let mut decided = envelope(plan);
                self.wrap(ctx, &mut decided)?;
                Ok(decided)
            }
            auth::Step::Refused(txn, error) => {
                let plan = Plan { txn, reply: Reply::no_content() };
                Ok(Decided { refusal: Some(error.into()), ..envelope(plan) })
            }
            auth::Step::Work(work) => Err(Failure::Undecided(Box::new(work))),
        }
    }

    /// The rest of a login that waits for another factor.
    fn validate(&self, ctx: &mut Context<'_>) -> Result<Decided, Failure> {
        let table = mounts(ctx, self.unsealed, self.learned)?;
        self.trace_open(&table);
        let body = self.call.json()?;
        let from = self.call.client.map(|client| client.ip());
        self.once(ctx, |ctx| {
            let step = mfa::validate(ctx, &table, body, from)?;
            self.logged_in(ctx, step)
        })
    }

    fn method_request<'r>(
        &'r self,
        path: &'r str,
        body: &'r Map<String, Value>,
        password: Option<&'r PasswordDone>,
        errands: &'r Errands,
    ) -> MethodRequest<'r> {
        MethodRequest {
            operation: self.call.operation,
            path,
            full_path: &self.call.path,
            query: &self.call.query,
            body,
            from: self.call.client.map(|client| client.ip()),
            password,
            errands,
            codes: &self.call.headers.codes,
            certificates: self.call.certificates.as_deref(),
        }
    }

    /// What a caller with a token asks below an auth mount.
    fn below_auth(
        &self,
        ctx: &mut Context<'_>,
        permit: &Permit,
        table: &MountTable,
        body: &Map<String, Value>,
    ) -> Result<Plan, Failure> {
        let found = table.resolve(&self.call.path);
        let found = found.and_then(|(mount, rest)| Some((Method::of(mount)?, mount, rest)));
        let (method, mount, rest) = found.ok_or_else(|| Failure::NoRoute { path: self.call.path.clone() })?;
        let password = self.call.password.lock().clone();
        let errands = self.call.errands.lock().clone();
        let query = self.call.query.paged(permit);
        let request =
            MethodRequest { query: &query, ..self.method_request(rest, body, password.as_ref(), &errands) };
        match method.handle(ctx, permit, mount, &request)? {
            auth::Step::Done(plan) => Ok(plan),
            auth::Step::Refused(_, error) => Err(error.into()),
            auth::Step::Work(work) => Err(Failure::Undecided(Box::new(work))),
        }
    }

    fn secret(
        &self,
        ctx: &mut Context<'_>,
        permit: &Permit,
        caller: &Identified,
        table: &MountTable,
        body: &Map<String, Value>,
    ) -> Result<Plan, Failure> {
        let query = self.call.query.paged(permit);
        if let Some(path) = cubbyhole::below(&self.call.path) {
            let request = Request { operation: self.call.operation, path, query: &query, body };
            return Ok(cubbyhole::handle(ctx, permit, caller, &request)?);
        }
        let (mount, rest) = table
            .resolve(&self.call.path)
            .ok_or_else(|| Failure::NoRoute { path: self.call.path.clone() })?;
        if self.call.operation == Operation::Patch && !self.call.headers.merge_patch {
            return Err(Failure::UnsupportedMediaType(
                "PATCH requires Content-Type of application/merge-patch+json".to_owned(),
            ));
        }
        let request = Request { operation: self.call.operation, path: rest, query: &query, body };
        Ok(engine::handle(ctx, permit, mount, &request)?)
    }
}

fn envelope(plan: Plan) -> Decided {
    Decided { plan, shape: Shape::Envelope, refusal: None }
}

/// Said of answers that are not made from the state alone.
pub fn not_wrappable() -> Failure {
    Failure::invalid("this answer cannot be wrapped: leave X-Vault-Wrap-TTL out")
}

/// A change that is answered without content.
fn change(txn: Txn) -> Plan {
    Plan { txn, reply: Reply::no_content() }
}
