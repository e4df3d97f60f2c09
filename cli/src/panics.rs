//! Panics, which are faults of the program: each is told with its place, and its backtrace is kept in a file.

use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use pipe_engine::panics::{self, Noted, text_of};

use crate::render;

/// The exit code of a program that panicked, as Rust has it.
const PANICKED: u8 = 101;

/// The folder of the run that goes on.
static RUN: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Panics where `PIPE_PANIC` says so, for tests. Release builds have no such thing.
#[cfg(debug_assertions)]
pub(crate) fn panic_on_demand(place: &str) {
    let wanted = std::env::var("PIPE_PANIC").is_ok_and(|wanted| wanted == place);
    assert!(!wanted, "a panic on demand");
}

#[cfg(not(debug_assertions))]
pub(crate) fn panic_on_demand(_place: &str) {}

/// Notes which run goes on.
pub(crate) fn set_run(folder: PathBuf) {
    *RUN.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder);
}

/// The folder of the run that goes on, if any.
pub(crate) fn run_folder() -> Option<PathBuf> {
    RUN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Has every panic noted. Whoever catches it tells it; where nobody does, it is told at once.
pub(crate) fn install() {
    std::panic::set_hook(Box::new(|info| {
        let noted = Noted {
            text: text_of(info.payload()),
            place: info
                .location()
                .map_or_else(|| "?".to_owned(), |place| format!("{}:{}", place.file(), place.line())),
            backtrace: written(info),
        };
        let thread = std::thread::current();
        // Threads of the pool and of the schedule hand panics on, as the main thread does; see `guarded` and `caught`.
        let is_caught = thread.name().is_none_or(|name| name == "main" || name.starts_with("pipe-"));
        if !is_caught {
            tell(&noted);
        }
        panics::note(noted);
    }));
}

/// Runs a command; a panic of it is told, and its exit code given.
pub(crate) fn caught<T>(command: impl FnOnce() -> T) -> Result<T, ExitCode> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(command)).map_err(|panic| {
        let text = text_of(panic.as_ref());
        let unknown = || Noted { text: text.clone(), place: "?".to_owned(), backtrace: None };
        tell(&panics::take(&text).unwrap_or_else(unknown));
        ExitCode::from(PANICKED)
    })
}

fn tell(panic: &Noted) {
    render::line(&format!("error: pipe itself went wrong at {}: {}", panic.place, panic.text));
    render::line(&match &panic.backtrace {
        Some(file) => format!("  help: please report this, with the backtrace in {}", file.display()),
        None => "  help: please report this".to_owned(),
    });
}

/// Writes a panic's backtrace among the run's logs, or where temporary files are.
fn written(info: &PanicHookInfo<'_>) -> Option<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let backtrace = Backtrace::force_capture();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let text = format!("{info}\n\n{backtrace}\n");
    let write = |folder: &Path, name: String| {
        std::fs::create_dir_all(folder).ok()?;
        let path = folder.join(name);
        std::fs::write(&path, &text).ok()?;
        Some(path)
    };
    run_folder()
        .and_then(|run| write(&run.join("logs"), format!("panic-{number}.txt")))
        .or_else(|| write(&std::env::temp_dir(), format!("pipe-panic-{}-{number}.txt", std::process::id())))
}
