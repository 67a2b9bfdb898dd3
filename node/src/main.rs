//! The one binary: `conclave server` is this crate, every other program is `conclave-cli`.

use std::process::ExitCode;

/// A request makes some fifty small allocations, many of them freed on another thread: the C library's allocator spends a
/// tenth of a read on that. RocksDB's C++ keeps using it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let local = conclave_cli::Local {
        version: conclave_node::node::VERSION,
        server: conclave_node::server::main,
        recover: conclave_node::recover::run,
        audit_verify: conclave_node::audit::verify::run,
    };
    conclave_cli::run(std::env::args_os(), &local)
}
