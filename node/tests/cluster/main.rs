//! What Conclave promises, shown on clusters of real processes with real TLS and real disks.

mod admission;
mod advisories;
#[cfg(feature = "fail-points")]
mod attempt;
mod audit;
mod bad_input;
mod cert_login;
mod consistency;
mod damage;
mod failover;
mod full_disk;
mod harness;
mod identity;
mod jwt_logins;
mod leases;
mod limits;
mod load;
mod login_mfa;
mod logins;
mod membership;
#[cfg(feature = "planted-bugs")]
mod planted;
mod recover;
mod roots;
mod seal;
mod secrecy;
mod snapshot;
mod tokens;
mod wrapping;
