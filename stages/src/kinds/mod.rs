//! The table of stage kinds, in data-flow order.

use pipe_engine::stage::{AnyStage, PerItem, Whole};

pub mod calibrate;
pub mod crop;
pub mod phantom;
pub mod report;
pub mod slice;
pub mod split;
pub mod text_encode;

/// All kinds, in data-flow order.
pub static STAGES: &[&dyn AnyStage] = &[
    &Whole(phantom::Phantom),
    &PerItem(crop::Crop),
    &PerItem(slice::Slice),
    &PerItem(report::Report),
    &Whole(text_encode::TextEncode),
    &Whole(split::Split),
    &Whole(calibrate::Calibrate),
];
