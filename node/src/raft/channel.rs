//! One channel to another node: over TLS, or over whatever a simulation gives.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either, FutureExt as _, MapErr, TryFutureExt as _};
use http::{Request, Response};
use tonic::body::Body;
use tonic::transport::Channel;
use tower_service::Service;

use super::clock::WallClock;
use super::dial::Purpose;
use super::server::Services;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Brings gRPC calls from one node to another. Node ids take the place of addresses and certificates.
pub trait Transport: Send + Sync {
    /// Makes a call; it is given up when the future, or the body of its answer, is dropped. A [`super::dial::DialError`]
    /// says that the other node has seen nothing of it.
    fn call(
        &self,
        node_id: u64,
        purpose: Purpose,
        request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, BoxError>>;

    /// From now on calls to this node are answered by `services`.
    fn serve(&self, services: Services);
}

/// What a node meets outside itself, where that is not the machine that it runs on. All of it then runs on the runtime
/// that it is started on.
#[derive(Clone)]
pub struct Surroundings {
    pub transport: Arc<dyn Transport>,
    pub clock: WallClock,
    /// Entries kept behind a snapshot: few, where logs are short and a node that was away is to need one.
    pub entries_kept: u64,
}

/// Carries the calls for one purpose to one node. Cheap to clone.
#[derive(Clone)]
pub enum PeerChannel {
    Tls(Channel),
    Given { transport: Arc<dyn Transport>, node_id: u64, purpose: Purpose },
}

type Tls = MapErr<<Channel as Service<Request<Body>>>::Future, fn(tonic::transport::Error) -> BoxError>;

impl Service<Request<Body>> for PeerChannel {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Either<Tls, BoxFuture<'static, Result<Response<Body>, BoxError>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Tls(channel) => channel.poll_ready(context).map_err(BoxError::from),
            Self::Given { .. } => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self {
            Self::Tls(channel) => channel.call(request).map_err(BoxError::from as fn(_) -> _).left_future(),
            Self::Given { transport, node_id, purpose } => {
                transport.call(*node_id, *purpose, request).right_future()
            }
        }
    }
}
