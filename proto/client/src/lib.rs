//! The client of a Conclave cluster, for programs.
//!
//! A [`Client`] knows one or more nodes and uses any of them: every node answers reads linearizably and takes writes.
//! It repeats what may be repeated, within bounds: a write carries an idempotency key, so that a repeat cannot act
//! twice, and a write without one is never sent again once a node may have seen it. Such a write is *unknown*, not
//! failed ([`Error::Unknown`]).
//!
//! What this crate must never do: print a token, a secret or a path, in a log line, a `Debug` or an error's text; follow
//! a redirect with the token in hand; wait without a bound.
//!
//! ```no_run
//! # async fn example() -> Result<(), conclave_client::Error> {
//! use conclave_client::{Client, Request};
//!
//! let client = Client::from_environment()?;
//! let answer = client.send(Request::get("secret/data/payment")).await?;
//! let password = &answer.data()["data"]["password"];
//! # let _ = password;
//! # Ok(())
//! # }
//! ```

mod address;
mod answer;
mod attempt;
mod builder;
mod client;
mod environment;
mod error;
mod request;
mod retry;
#[cfg(test)]
mod testing;
mod transfer;

pub use answer::Answer;
pub use builder::{Builder, Staleness};
pub use client::Client;
pub use conclave_proto::path::PathError;
pub use conclave_proto::secret::Secret;
pub use environment::Environment;
pub use error::{Error, NodeFailure, Refusal};
pub use request::{Method, Request};
