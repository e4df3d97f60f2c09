//! The `pipe` program: the library's command line with the kinds of the lung-nodule workflow.

use std::process::ExitCode;

/// Training touches many fresh pages; this allocator keeps them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pipe::main(pipe::STAGES, pipe::lock_file!("Cargo.lock"))
}
