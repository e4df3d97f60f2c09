//! The `pipe` program: the library's command line with the kinds of the lung-nodule workflow.

use std::process::ExitCode;

/// Training touches many fresh pages; this allocator keeps them, see [`keep_pages`].
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's option `purge_delay`, at the same place in its versions 2 and 3.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Has the allocator keep what is freed: a training step frees and takes gigabytes, and a sixth of its time would go
/// into the pages that the system hands out anew.
#[allow(unsafe_code, reason = "options of the allocator are set by a C function")]
fn keep_pages() {
    // SAFETY: it takes two numbers, checks the first and stores the second.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}

fn main() -> ExitCode {
    keep_pages();
    pipe::main(pipe::STAGES, pipe::lock_file!("Cargo.lock"))
}
