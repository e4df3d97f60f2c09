//! What is known of a panic beyond its text: where it happened, and where its backtrace is.
//!
//! The program's panic hook knows that, and notes it here; whoever catches the panic asks for it. Threads differ where work
//! is handed from one to another, so the text tells which panic is meant.

use std::any::Any;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// So many panics that nobody has asked for are kept.
const KEPT: usize = 16;

/// A panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// What it says.
    pub text: String,
    /// The file and line in the program's source.
    pub place: String,
    /// The file that the backtrace was written to.
    pub backtrace: Option<PathBuf>,
}

static NOTED: Mutex<VecDeque<Noted>> = Mutex::new(VecDeque::new());

/// Notes a panic, for whoever catches it.
pub fn note(panic: Noted) {
    let mut noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    if noted.len() >= KEPT {
        noted.pop_front();
    }
    noted.push_back(panic);
}

/// What was noted of a panic with that text.
pub fn take(text: &str) -> Option<Noted> {
    let mut noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    let position = noted.iter().rposition(|panic| panic.text == text)?;
    noted.remove(position)
}

/// The text of what a panic carries.
pub fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_found_by_its_text_once() {
        let panic = |text: &str, place: &str| Noted {
            text: text.to_owned(),
            place: place.to_owned(),
            backtrace: None,
        };
        note(panic("a", "1"));
        note(panic("b", "2"));
        note(panic("a", "3"));
        assert_eq!(take("a"), Some(panic("a", "3")));
        assert_eq!(take("b"), Some(panic("b", "2")));
        assert_eq!(take("b"), None);
        assert_eq!(text_of(&"text"), "text");
        assert_eq!(text_of(&String::from("text")), "text");
        assert_eq!(text_of(&7), "");
    }
}
