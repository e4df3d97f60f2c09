//! The table of stage kinds, in data-flow order.

use pipe_engine::stage::{AnyStage, Checked, PerItem, Whole};

use crate::inspections;

pub mod calibrate;
pub mod centroid;
pub mod crop;
pub mod dicom;
pub mod evaluate;
pub mod import_crops;
pub mod import_experiment;
pub mod lidc;
pub mod locate;
pub mod phantom;
pub mod report;
pub mod slice;
pub mod split;
pub mod text_encode;
pub mod train;
pub mod zero_shot;

/// All kinds, in data-flow order.
pub static STAGES: &[&dyn AnyStage] = &[
    &Whole(phantom::Phantom),
    &Checked { kind: PerItem(centroid::Centroid), rows: Some(inspections::centroid), given: None },
    &Whole(lidc::Lidc),
    &PerItem(locate::Locate),
    &Checked {
        kind: PerItem(dicom::Dicom),
        rows: Some(inspections::dicom),
        given: Some(inspections::points_in_series),
    },
    &Checked { kind: PerItem(crop::Crop), rows: Some(inspections::crop), given: Some(inspections::points) },
    &PerItem(import_crops::ImportCrops),
    &PerItem(slice::Slice),
    &PerItem(report::Report),
    &Whole(text_encode::TextEncode),
    &Whole(split::Split),
    &Whole(train::Train),
    &Whole(calibrate::Calibrate),
    &Whole(import_experiment::ImportExperiment),
    &Whole(evaluate::Evaluate),
    &Whole(zero_shot::ZeroShot),
];
