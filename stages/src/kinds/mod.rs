//! The table of stage kinds, in data-flow order.

use pipe_plugin::stage::Kind;

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
pub static STAGES: &[Kind] = &[
    Kind::whole(&phantom::Phantom),
    Kind::per_item(&centroid::Centroid).inspected_by(inspections::centroid).foreseen_by(checks::passed_on),
    Kind::whole(&lidc::Lidc),
    Kind::per_item(&locate::Locate).foreseen_by(checks::passed_on),
    Kind::per_item(&dicom::Dicom).inspected_by(inspections::dicom).foreseen_by(checks::dicom),
    Kind::per_item(&crop::Crop).inspected_by(inspections::crop).foreseen_by(checks::crop),
    Kind::per_item(&import_crops::ImportCrops).foreseen_by(checks::import_crops),
    Kind::per_item(&slice::Slice).foreseen_by(checks::slice),
    Kind::per_item(&report::Report).foreseen_by(checks::report),
    Kind::whole(&text_encode::TextEncode).foreseen_by(checks::text_encode),
    Kind::whole(&split::Split).foreseen_by(checks::split),
    Kind::whole(&train::Train).foreseen_by(checks::train),
    Kind::whole(&calibrate::Calibrate).foreseen_by(checks::calibrate),
    Kind::whole(&import_experiment::ImportExperiment).foreseen_by(checks::import_experiment),
    Kind::whole(&evaluate::Evaluate).foreseen_by(checks::evaluate).compared_by(checks::results::evaluate),
    Kind::whole(&zero_shot::ZeroShot).foreseen_by(checks::zero_shot),
];
