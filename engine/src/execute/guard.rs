//! Running code that the engine did not write.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::panics;
use crate::stage::StageError;

/// Runs a kind's code; a panic in it becomes an error.
pub(crate) fn guarded<T, E: From<StageError>>(run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panics::text_of(panic.as_ref());
        let noted = panics::take(&text);
        let place = noted.as_ref().map_or(String::new(), |noted| format!(" at {}", noted.place));
        let error = StageError::message(format!("the stage's code panicked{place}: {text}"));
        Err(error
            .advise(match noted.and_then(|noted| noted.backtrace) {
                Some(file) => format!("please report this, with the backtrace in {}", file.display()),
                None => "please report this".to_owned(),
            })
            .into())
    })
}
