//! The table of stage kinds, in data-flow order.

use pipe_plugin::stage::Kind;

use crate::{checks, inspections, methods, of_all_cases};

pub mod calibrate;
pub mod centroid;
pub mod crop;
pub mod dicom;
pub mod evaluate;
pub mod import_crops;
pub mod import_experiment;
pub mod lidc;
pub mod locate;
pub mod luna16;
pub mod phantom;
pub mod report;
pub mod slice;
pub mod split;
pub mod text_encode;
pub mod train;
pub mod zero_shot;

/// All kinds, in data-flow order.
pub static STAGES: &[Kind] = &[
    Kind::whole(&phantom::Phantom).described_by(methods::phantom),
    Kind::per_item(&centroid::Centroid)
        .inspected_by(inspections::centroid)
        .foreseen_by(checks::passed_on)
        .described_by(methods::centroid),
    Kind::whole(&lidc::Lidc).foreseen_by(checks::lidc).described_by(methods::lidc),
    Kind::whole(&luna16::Luna16).foreseen_by(checks::luna16).described_by(methods::luna16),
    Kind::per_item(&locate::Locate).foreseen_by(checks::passed_on).described_by(methods::locate),
    Kind::per_item(&dicom::Dicom)
        .inspected_by(inspections::dicom)
        .foreseen_by(checks::dicom)
        .described_by(methods::dicom),
    Kind::per_item(&crop::Crop)
        .inspected_by(inspections::crop)
        .foreseen_by(checks::crop)
        .described_by(methods::crop),
    Kind::per_item(&import_crops::ImportCrops)
        .foreseen_by(checks::import_crops)
        .described_by(methods::import_crops),
    Kind::per_item(&slice::Slice).foreseen_by(checks::slice).described_by(methods::slice),
    Kind::per_item(&report::Report).foreseen_by(checks::report).described_by(methods::report),
    Kind::whole(&text_encode::TextEncode).foreseen_by(checks::text_encode).described_by(methods::text_encode),
    Kind::whole(&split::Split).foreseen_by(checks::split).described_by(methods::split),
    Kind::whole(&train::Train).foreseen_by(checks::train).described_by(methods::train),
    Kind::whole(&calibrate::Calibrate).foreseen_by(checks::calibrate).described_by(methods::calibrate),
    Kind::whole(&import_experiment::ImportExperiment)
        .foreseen_by(checks::import_experiment)
        .described_by(methods::import_experiment),
    Kind::whole(&evaluate::Evaluate)
        .foreseen_by(checks::evaluate)
        .compared_by(checks::results::evaluate)
        .of_all_cases(of_all_cases::EVALUATE)
        .described_by(methods::evaluate),
    Kind::whole(&zero_shot::ZeroShot)
        .foreseen_by(checks::zero_shot)
        .of_all_cases(of_all_cases::ZERO_SHOT)
        .described_by(methods::zero_shot),
];
