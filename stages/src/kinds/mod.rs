//! The table of stage kinds, in data-flow order.

use pipe_engine::stage::{AnyStage, Whole};

pub mod split;

/// All kinds, in data-flow order.
pub static STAGES: &[&dyn AnyStage] = &[&Whole(split::Split)];
