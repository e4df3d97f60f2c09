//! The `pipe` program.

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

/// Candle runs even the smallest operation on spinning threads of its own, beside the engine's pool; with
/// folds side by side most of the time goes there. Matrix products are parallel all the same.
fn one_thread_for_small_operations() {
    const VARIABLE: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(VARIABLE).is_none() {
        #[allow(unsafe_code, reason = "nothing else runs yet that could read the environment")]
        // SAFETY: this is the first thing that the process does; there is only one thread.
        unsafe {
            std::env::set_var(VARIABLE, "1");
        }
    }
}

fn main() -> ExitCode {
    if let Some(code) = pipe_command::serve(std::env::args_os()) {
        return code;
    }
    one_thread_for_small_operations();
    keep_pages();
    pipe::program(pipe_cli::lock_file!("Cargo.lock")).run()
}
