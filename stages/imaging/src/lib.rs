//! CT scans on disk: DICOM series; NIfTI, NRRD and MetaImage headers, orientation, and voxels read as a stream.
//!
//! Nothing here knows of nodules, crops or samples tables. World coordinates are NIfTI's own, RAS
//! millimetres; whoever holds LPS points converts them.

// Numbers here come from files that others have written.
#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

pub mod affine;
pub mod dicom;
mod error;
mod fields;
mod gzip;
pub mod header;
pub mod layout;
mod nifti;
pub mod nifti_write;
pub mod orientation;
pub mod placement;
pub mod plausibility;
pub mod scan;
mod source;
mod text_header;
pub mod voxels;
