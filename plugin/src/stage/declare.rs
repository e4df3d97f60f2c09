//! Kinds whose stages each declare their own inputs and outputs.
//!
//! A [`Declare`] function makes a kind of its own from what a stage says. All that comes later treats it as any other kind; its
//! name stays that of the kind that declares, and what was declared are its parameters, so that it can be made again from these.

use serde_json::Value;

use super::kind::Kind;

/// Makes the kind of a stage. Kinds live as long as the process: the same declaration must give the same kind, or else memory is
/// lost with every call.
pub type Declare = fn(&Declaration<'_>) -> Result<Kind, Vec<Misdeclared>>;

/// What a stage says of itself.
pub struct Declaration<'a> {
    /// Its parameters as they are written, a table.
    pub params: &'a Value,
    /// The names of its inputs, sorted.
    pub inputs: &'a [String],
}

/// What is wrong with a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misdeclared {
    /// The parameter or input that is wrong.
    pub name: String,
    /// What is wrong, in a sentence.
    pub problem: String,
    /// What to do about it.
    pub advice: Option<String>,
}
