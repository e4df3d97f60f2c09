//! The table of stage kinds, in data-flow order.

use pipe_plugin::stage::{AnyStage, Checked, PerItem, Whole};

use crate::{checks, inspections};

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
    &Checked {
        kind: PerItem(centroid::Centroid),
        rows: Some(inspections::centroid),
        given: Some(checks::passed_on),
    },
    &Whole(lidc::Lidc),
    &Checked { kind: PerItem(locate::Locate), rows: None, given: Some(checks::passed_on) },
    &Checked { kind: PerItem(dicom::Dicom), rows: Some(inspections::dicom), given: Some(checks::dicom) },
    &Checked { kind: PerItem(crop::Crop), rows: Some(inspections::crop), given: Some(checks::crop) },
    &Checked { kind: PerItem(import_crops::ImportCrops), rows: None, given: Some(checks::import_crops) },
    &Checked { kind: PerItem(slice::Slice), rows: None, given: Some(checks::slice) },
    &Checked { kind: PerItem(report::Report), rows: None, given: Some(checks::report) },
    &Checked { kind: Whole(text_encode::TextEncode), rows: None, given: Some(checks::text_encode) },
    &Checked { kind: Whole(split::Split), rows: None, given: Some(checks::split) },
    &Checked { kind: Whole(train::Train), rows: None, given: Some(checks::train) },
    &Checked { kind: Whole(calibrate::Calibrate), rows: None, given: Some(checks::calibrate) },
    &Checked {
        kind: Whole(import_experiment::ImportExperiment),
        rows: None,
        given: Some(checks::import_experiment),
    },
    &Checked { kind: Whole(evaluate::Evaluate), rows: None, given: Some(checks::evaluate) },
    &Checked { kind: Whole(zero_shot::ZeroShot), rows: None, given: Some(checks::zero_shot) },
];
