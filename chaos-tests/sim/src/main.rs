//! `conclave-sim`: the server's own storage, Raft and request pipeline in simulated time, on a simulated network and disks.
//!
//! Each seed runs in a process of its own, since all chance of a process comes from one stream (`chance.c`): so a seed
//! gives the same run wherever it stands among others, and a run that failed is repeated by its number.

mod arguments;
mod clients;
mod disk;
mod faults;
mod host;
mod invariants;
mod net;
mod pipe;
mod random;
mod request;
mod runner;
mod world;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::One(one) => runner::one(&one),
        Command::Many(many) => runner::many(&many),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conclave-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}
