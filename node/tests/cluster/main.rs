//! What Conclave promises, shown on clusters of real processes with real TLS and real disks.

mod admission;
mod bad_input;
mod consistency;
mod failover;
mod harness;
mod load;
mod membership;
#[cfg(feature = "planted-bugs")]
mod planted;
mod seal;
mod secrecy;
mod snapshot;
