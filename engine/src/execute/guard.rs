//! Running code that the engine did not write.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::stage::StageError;

/// Runs a kind's code; a panic in it becomes an error.
pub(super) fn guarded(run: impl FnOnce() -> Result<(), StageError>) -> Result<(), StageError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_string())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Err(StageError::message(format!("the stage's code panicked: {text}"))
                .advise("please report this"))
        }
    }
}
