//! Reading DICOM series: order, geometry, values, and refusals, with files written here.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "dicom/build.rs"]
mod build;
#[path = "dicom/geometry.rs"]
mod geometry;
#[path = "dicom/refusals.rs"]
mod refusals;
#[path = "dicom/series.rs"]
mod series;
#[path = "dicom/values.rs"]
mod values;
