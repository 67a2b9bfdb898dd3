//! What the chaos tests can switch on in a server, and the only place that knows the switches.
//!
//! - [`planted`]: bugs that a harness must catch, or its clean runs prove nothing;
//! - [`failpoint`]: where a server can be stopped, before and after every durable step.
//!
//! Each is a table of data, from which the harness and the documents are made, and one call in the code it is about. Without
//! the Cargo feature that call is a constant and nothing of it is compiled in. No release is built with it.

#[cfg(feature = "fail-points")]
mod armed;
mod bugs;
pub mod failpoint;
pub mod planted;
mod points;

pub use bugs::{BUGS, Bug, Checker, PlantedBug, Scope};
