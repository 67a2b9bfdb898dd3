//! The one binary: `conclave server` is this crate, every other program is `conclave-cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    conclave_cli::run(std::env::args_os(), conclave_node::server::main)
}
