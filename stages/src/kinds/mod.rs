//! The table of stage kinds, in data-flow order.

use pipe_engine::stage::{AnyStage, PerItem, Whole};

pub mod crop;
pub mod phantom;
pub mod slice;
pub mod split;
pub mod text_encode;

/// All kinds, in data-flow order.
pub static STAGES: &[&dyn AnyStage] = &[
    &Whole(phantom::Phantom),
    &PerItem(crop::Crop),
    &PerItem(slice::Slice),
    &Whole(text_encode::TextEncode),
    &Whole(split::Split),
];
