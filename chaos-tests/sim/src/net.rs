//! The network between the nodes: calls over connections that delay, lose, hold back and break.
//!
//! What the server puts on HTTP/2 over TLS over TCP is kept here as it behaves: a call is two streams of frames, each in
//! order; a frame that is lost comes late, and those behind it too; nothing arrives twice within a call, but a call can
//! have been answered and its answer be lost; a connection over which nothing passes is given up after a while at both
//! ends; a call that its caller drops is dropped at the other end, a moment later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conclave_node::raft::Services;
use conclave_node::raft::dial::{DialError, Purpose};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use http::{Request, Response, request, response};
use hyper::body::{Body as _, Frame};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tonic::body::Body;

use crate::pipe::{Pipe, PipeBody, broken};
use crate::random::{Dice, Trace};

/// How long a connection may take to come up, as the server has it.
const CONNECT_US: u64 = 1_000_000;
const CONNECT_POLL: Duration = Duration::from_millis(20);
/// After this long without anything passing, both ends give a connection up: the server's keepalive.
const KEEPALIVE_US: u64 = 1_500_000;
/// How often a held frame is tried again.
const RETRY_US: u64 = 10_000;
/// How much later a lost frame comes, at least and at most.
const LOSS_US: (u64, u64) = (200_000, 450_000);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How the network is at the moment.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub delay_us: (u64, u64),
    pub lost_in_thousand: u64,
    /// Frames that break their connection.
    pub breaking_in_million: u64,
}

impl Weather {
    pub const FAIR: Self = Self { delay_us: (100, 2_000), lost_in_thousand: 0, breaking_in_million: 0 };
}

/// What has passed.
pub struct Summary {
    /// A hash of all of it, in order.
    pub trace: u64,
    pub frames: u64,
    pub broken_calls: u64,
    /// Snapshots that were sent and answered.
    pub snapshots_sent: u64,
}

pub struct Net(Mutex<State>);

struct State {
    now_us: u64,
    dice: Dice,
    weather: Weather,
    trace: Trace,
    /// From whom to whom nothing passes.
    blocked: BTreeSet<(u64, u64)>,
    /// Paused: what comes is kept, nothing is answered.
    frozen: BTreeSet<u64>,
    up: BTreeMap<u64, Up>,
    connected: BTreeSet<(u64, u64, u8)>,
    calls: BTreeMap<u64, Call>,
    next_call: u64,
    due: BTreeSet<(u64, u64, Direction)>,
    frames: u64,
    broken: u64,
    snapshots: u64,
}

#[derive(Clone)]
struct Up {
    services: Services,
    runtime: Handle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    There,
    Back,
}

enum Parcel {
    Open(Box<request::Parts>),
    Head(Box<response::Parts>),
    Data(Frame<Bytes>),
    End,
    /// The caller has gone.
    Reset,
}

struct Call {
    from: u64,
    to: u64,
    purpose: u8,
    /// What has been sent, with the time at which it arrives.
    there: Line,
    back: Line,
    head: Option<oneshot::Sender<Result<response::Parts, io::Error>>>,
    request: Pipe,
    response: Pipe,
    server: Option<AbortHandle>,
    stuck_since: Option<u64>,
    /// The connection is known to break then.
    breaks_at: Option<u64>,
}

#[derive(Default)]
struct Line {
    parcels: VecDeque<(u64, Parcel)>,
    last_us: u64,
}

/// What is done to an end of a call once the network's state is free again.
enum Act {
    Spawn { up: Up, from: u64, call: u64, request: Request<Body> },
    Break(Call),
    Drop(Call),
}

impl Net {
    pub fn new(dice: Dice) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            now_us: 0,
            dice,
            weather: Weather::FAIR,
            trace: Trace::default(),
            blocked: BTreeSet::new(),
            frozen: BTreeSet::new(),
            up: BTreeMap::new(),
            connected: BTreeSet::new(),
            calls: BTreeMap::new(),
            next_call: 1,
            due: BTreeSet::new(),
            frames: 0,
            broken: 0,
            snapshots: 0,
        })))
    }

    /// A node's way to the others; its calls run on the runtime that makes them.
    pub fn transport(self: &Arc<Self>, node_id: u64) -> Arc<Transport> {
        Arc::new(Transport { net: Arc::clone(self), node_id })
    }

    pub fn set_weather(&self, weather: Weather) {
        self.0.lock().weather = weather;
    }

    pub fn block(&self, from: u64, to: u64) {
        self.0.lock().blocked.insert((from, to));
    }

    pub fn heal(&self) {
        self.0.lock().blocked.clear();
    }

    pub fn freeze(&self, node_id: u64, frozen: bool) {
        let mut state = self.0.lock();
        if frozen {
            state.frozen.insert(node_id)
        } else {
            state.frozen.remove(&node_id)
        };
    }

    /// The node's process is gone. `silently`: its kernel too, so that nobody is told.
    pub fn down(&self, node_id: u64, silently: bool) {
        // Dropped when the lock is free again: with it may go callers, who tell the network.
        let mut _gone = None;
        let mut state = self.0.lock();
        _gone = state.up.remove(&node_id);
        let now_us = state.now_us;
        let after = if silently { KEEPALIVE_US } else { state.delay() };
        state.connected.retain(|(from, to, _)| *from != node_id && *to != node_id);
        for call in state.calls.values_mut().filter(|call| call.from == node_id || call.to == node_id) {
            call.breaks_at.get_or_insert(now_us + after);
            // Its own end went with it.
            if call.to == node_id {
                call.server = None;
            }
        }
    }

    pub fn summary(&self) -> Summary {
        let state = self.0.lock();
        let State { trace, frames, broken, snapshots, .. } = &*state;
        Summary { trace: trace.0, frames: *frames, broken_calls: *broken, snapshots_sent: *snapshots }
    }

    /// Delivers what is due at this time.
    pub fn deliver(self: &Arc<Self>, now_us: u64) {
        let mut acts = Vec::new();
        {
            let mut state = self.0.lock();
            state.now_us = now_us;
            state.break_stuck(&mut acts);
            while let Some(&(at, id, direction)) = state.due.first().filter(|(at, ..)| *at <= now_us) {
                state.due.remove(&(at, id, direction));
                state.arrive(id, direction, &mut acts);
            }
        }
        for act in acts {
            match act {
                Act::Spawn { up, from, call, request } => self.spawn(&up, from, call, request),
                Act::Break(call) => call.tear(),
                Act::Drop(call) => call.end(),
            }
        }
    }

    fn spawn(self: &Arc<Self>, up: &Up, from: u64, call: u64, request: Request<Body>) {
        let (net, services) = (Arc::clone(self), up.services.clone());
        let task = up.runtime.spawn(async move {
            let (head, body) = services.answer(from, request).await.into_parts();
            net.send(call, Direction::Back, Parcel::Head(Box::new(head)));
            net.pump(call, Direction::Back, body).await;
        });
        if let Some(call) = self.0.lock().calls.get_mut(&call) {
            call.server = Some(task.abort_handle());
        }
    }

    /// Sends a body, frame by frame.
    async fn pump(&self, call: u64, direction: Direction, body: Body) {
        let mut frames = frames_of(body);
        while let Some(frame) = frames.next().await {
            match frame {
                Some(frame) => self.send(call, direction, Parcel::Data(frame)),
                None => return self.send(call, direction, Parcel::Reset),
            }
        }
        self.send(call, direction, Parcel::End);
    }

    fn send(&self, id: u64, direction: Direction, parcel: Parcel) {
        let mut state = self.0.lock();
        let delay_us = state.delay();
        let State { now_us, calls, due, dice, weather, .. } = &mut *state;
        let Some(call) = calls.get_mut(&id) else { return };
        if dice.range(0, 1_000_000) < weather.breaking_in_million {
            call.breaks_at.get_or_insert(*now_us + delay_us);
        }
        let line = if direction == Direction::There { &mut call.there } else { &mut call.back };
        let at = (*now_us + delay_us).max(line.last_us + 1);
        line.last_us = at;
        line.parcels.push_back((at, parcel));
        due.insert((at, id, direction));
    }

    /// Opens a call over a connection that is up.
    fn open(
        &self,
        from: u64,
        to: u64,
        purpose: Purpose,
        parts: request::Parts,
    ) -> (u64, oneshot::Receiver<Result<response::Parts, io::Error>>, Pipe) {
        let (head, told) = oneshot::channel();
        let response = Pipe::default();
        let call = Call {
            from,
            to,
            purpose: purpose as u8,
            there: Line::default(),
            back: Line::default(),
            head: Some(head),
            request: Pipe::default(),
            response: response.clone(),
            server: None,
            stuck_since: None,
            breaks_at: None,
        };
        let id = {
            let mut state = self.0.lock();
            let id = state.next_call;
            state.next_call += 1;
            state.calls.insert(id, call);
            id
        };
        self.send(id, Direction::There, Parcel::Open(Box::new(parts)));
        (id, told, response)
    }

    /// Waits for a connection.
    async fn connect(&self, from: u64, to: u64, purpose: Purpose) -> Result<(), DialError> {
        let refuse = |kind, why: &str| DialError { node_id: to, source: io::Error::new(kind, why) };
        let mut waited_us = 0;
        loop {
            let (is_known, is_up, passes, delay_us) = {
                let mut state = self.0.lock();
                let is_known = state.connected.contains(&(from, to, purpose as u8));
                let passes = state.passes(from, to) && state.passes(to, from);
                (is_known, state.up.contains_key(&to), passes, state.delay())
            };
            if is_known {
                return Ok(());
            }
            if passes {
                // There and back for TCP, there and back for TLS.
                tokio::time::sleep(Duration::from_micros(4 * delay_us)).await;
                if !is_up {
                    return Err(refuse(io::ErrorKind::ConnectionRefused, "nobody listens"));
                }
                let mut state = self.0.lock();
                if state.passes(from, to) && state.passes(to, from) && state.up.contains_key(&to) {
                    state.connected.insert((from, to, purpose as u8));
                    return Ok(());
                }
            }
            if waited_us >= CONNECT_US {
                return Err(refuse(io::ErrorKind::TimedOut, "no connection in time"));
            }
            tokio::time::sleep(CONNECT_POLL).await;
            waited_us += CONNECT_POLL.as_micros() as u64;
        }
    }
}

impl State {
    fn delay(&mut self) -> u64 {
        let (low, high) = self.weather.delay_us;
        let lost = self.dice.chance(self.weather.lost_in_thousand);
        self.dice.range(low, high) + if lost { self.dice.range(LOSS_US.0, LOSS_US.1) } else { 0 }
    }

    /// Whether what is sent arrives now.
    fn passes(&self, from: u64, to: u64) -> bool {
        !self.blocked.contains(&(from, to)) && !self.frozen.contains(&from) && !self.frozen.contains(&to)
    }

    /// Gives up calls over connections through which nothing has passed for long.
    fn break_stuck(&mut self, acts: &mut Vec<Act>) {
        let mut gone = Vec::new();
        let Self { calls, blocked, frozen, now_us, .. } = self;
        for (id, call) in calls.iter_mut() {
            let (from, to) = (call.from, call.to);
            let is_stuck = blocked.contains(&(from, to))
                || blocked.contains(&(to, from))
                || frozen.contains(&from)
                || frozen.contains(&to);
            call.stuck_since = is_stuck.then(|| call.stuck_since.unwrap_or(*now_us));
            let given_up = call.stuck_since.is_some_and(|since| *now_us >= since + KEEPALIVE_US);
            if given_up || call.breaks_at.is_some_and(|at| *now_us >= at) {
                gone.push(*id);
            }
        }
        for id in gone {
            if let Some(call) = self.calls.remove(&id) {
                self.connected.remove(&(call.from, call.to, call.purpose));
                self.trace.note(&[id, self.now_us, 9]);
                self.broken += 1;
                acts.push(Act::Break(call));
            }
        }
    }

    /// The first parcel of a line arrives, or is held back.
    fn arrive(&mut self, id: u64, direction: Direction, acts: &mut Vec<Act>) {
        let Some(call) = self.calls.get(&id) else { return };
        let (from, to) = match direction {
            Direction::There => (call.from, call.to),
            Direction::Back => (call.to, call.from),
        };
        if self.blocked.contains(&(from, to)) || self.frozen.contains(&from) {
            self.due.insert((self.now_us + RETRY_US, id, direction));
            return;
        }
        let up = self.up.get(&to).cloned();
        let Some(call) = self.calls.get_mut(&id) else { return };
        let line = if direction == Direction::There { &mut call.there } else { &mut call.back };
        // A line that was held back has more than one entry in the calendar.
        if line.parcels.front().is_none_or(|(at, _)| *at > self.now_us) {
            return;
        }
        let Some((_, parcel)) = line.parcels.pop_front() else { return };
        if let Some((at, _)) = line.parcels.front() {
            self.due.insert((*at, id, direction));
        }
        self.frames += 1;
        let bytes = match &parcel {
            Parcel::Data(frame) => frame.data_ref().map_or(0, Bytes::len) as u64,
            _ => 0,
        };
        // Without the size: that of a certificate's signature is chance from the kernel, and stands in the first record.
        self.trace.note(&[id, self.now_us, direction as u64]);
        let now_us = self.now_us;
        tracing::trace!(now_us, id, from, to, purpose = call.purpose, ?direction, bytes, "a frame arrives");
        match (direction, parcel) {
            (Direction::There, Parcel::Open(parts)) => {
                let Some(up) = up else {
                    call.breaks_at = Some(self.now_us);
                    return;
                };
                let body = Body::new(PipeBody::new(call.request.clone(), ()));
                let request = Request::from_parts(*parts, body);
                acts.push(Act::Spawn { up, from: call.from, call: id, request });
            }
            (Direction::There, Parcel::Data(frame)) => call.request.push(frame),
            (Direction::There, Parcel::End) => call.request.finish(),
            (Direction::There, _) => {
                if let Some(call) = self.calls.remove(&id) {
                    acts.push(Act::Drop(call));
                }
            }
            (Direction::Back, Parcel::Head(parts)) => {
                let _gone = call.head.take().map(|head| head.send(Ok(*parts)));
            }
            (Direction::Back, Parcel::Data(frame)) => call.response.push(frame),
            (Direction::Back, Parcel::End) => {
                call.response.finish();
                self.snapshots += u64::from(call.purpose == Purpose::Snapshot as u8);
                self.calls.remove(&id);
            }
            (Direction::Back, _) => {
                if let Some(call) = self.calls.remove(&id) {
                    acts.push(Act::Break(call));
                }
            }
        }
    }
}

impl Call {
    /// Both ends learn that the connection is gone.
    fn tear(mut self) {
        let _gone = self.head.take().map(|head| head.send(Err(broken())));
        self.response.tear();
        self.end();
    }

    /// The serving end is dropped.
    fn end(self) {
        self.request.tear();
        self.server.iter().for_each(AbortHandle::abort);
    }
}

/// The frames of a body; `None` for an error, with which it ends.
fn frames_of(body: Body) -> impl futures::Stream<Item = Option<Frame<Bytes>>> {
    futures::stream::unfold(Some(Box::pin(body)), |body| async move {
        let mut body = body?;
        match std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await? {
            Ok(frame) => Some((Some(frame), Some(body))),
            Err(_) => Some((None, None)),
        }
    })
    .boxed()
}

/// A node's way to the others.
pub struct Transport {
    net: Arc<Net>,
    node_id: u64,
}

impl conclave_node::raft::Transport for Transport {
    fn call(
        &self,
        to: u64,
        purpose: Purpose,
        request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, BoxError>> {
        let (net, from) = (Arc::clone(&self.net), self.node_id);
        async move {
            net.connect(from, to, purpose).await?;
            let (parts, body) = request.into_parts();
            let (call, told, response) = net.open(from, to, purpose, parts);
            let sending = Arc::clone(&net);
            let pump = tokio::spawn(async move { sending.pump(call, Direction::There, body).await });
            let guard = Caller { net, call, pump: pump.abort_handle() };
            let head = told.await.map_err(|_| broken())??;
            Ok(Response::from_parts(head, Body::new(PipeBody::new(response, guard))))
        }
        .boxed()
    }

    fn serve(&self, services: Services) {
        let up = Up { services, runtime: Handle::current() };
        self.net.0.lock().up.insert(self.node_id, up);
    }
}

/// Whoever waits for a call: dropping it gives the call up.
struct Caller {
    net: Arc<Net>,
    call: u64,
    pump: AbortHandle,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.pump.abort();
        self.net.send(self.call, Direction::There, Parcel::Reset);
    }
}
