//! The HTTP edge: accepts, bounds and parses requests, and writes answers. It decides nothing.
//!
//! ```text
//! listener (TCP, TLS) -> connection (HTTP) -> request (limits, canonical path, headers, body) -> service -> response
//! ```

mod connection;
mod file_certificate;
mod listener;
pub mod method;
mod opening;
mod request;
mod response;

pub use file_certificate::FileCertificate;
pub use listener::{Listener, ServeError};
pub use request::{
    canonical_path, check_target, idempotency_key, is_request_id, parse_head, parse_query, wrap_ttl_s,
};
