//! Running code that the engine did not write.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::stage::StageError;

/// Runs a kind's code; a panic in it becomes an error.
pub(crate) fn guarded<T, E: From<StageError>>(run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_string())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            let error = StageError::message(format!("the stage's code panicked: {text}"));
            Err(error.advise("please report this").into())
        }
    }
}
