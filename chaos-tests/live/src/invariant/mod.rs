//! What must hold whatever was done to the cluster, and what no client could see: one file each.

pub mod logs;
pub mod secrecy;
pub mod serves;
pub mod states;
pub mod trails;
