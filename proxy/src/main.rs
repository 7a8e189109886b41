//! The one binary, `lockgate`.

use std::process::ExitCode;

// Measured a third of a microsecond a request cheaper than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lockgate::cli::main()
}
