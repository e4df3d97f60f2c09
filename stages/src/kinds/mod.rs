//! The table of stage kinds, in data-flow order.

use pipe_engine::stage::{AnyStage, PerItem, Whole};

pub mod calibrate;
pub mod crop;
pub mod report;
pub mod slice;
pub mod split;

/// All kinds, in data-flow order.
pub static STAGES: &[&dyn AnyStage] = &[
    &PerItem(crop::Crop),
    &PerItem(slice::Slice),
    &PerItem(report::Report),
    &Whole(split::Split),
    &Whole(calibrate::Calibrate),
];
