//! The kind.

pub mod command;
