//! Judges what clients saw of a cluster: whether one correct server could have answered so.
//!
//! - [`history`]: what was asked and answered, as the clients recorded it.
//!
//! Nothing here knows a server: it can judge any history, also one made by hand or by a simulation.

pub mod history;
