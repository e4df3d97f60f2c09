//! What each kind did and gave, in sentences for the methods and results of a paper.
//!
//! Stands beside the kinds, like [`crate::checks`]: what is said goes to people and into no result. Every number comes from the
//! parameters and results of a run.

mod data;
mod evaluation;
mod training;

pub use self::data::{
    centroid, crop, dicom, import_crops, lidc, locate, phantom, report, slice, split, text_encode,
};
pub use self::evaluation::{evaluate, zero_shot};
pub use self::training::{calibrate, import_experiment, train};

/// A number of things, such as `1 patient` or `3 patients`.
fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Numbers in a few words: one if all are the same, or the least and the largest.
fn between(numbers: &[usize]) -> Option<String> {
    let (least, most) = (numbers.iter().min()?, numbers.iter().max()?);
    Some(if least == most { least.to_string() } else { format!("{least} to {most}") })
}

/// A list as sentences have it.
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// A share in per cent, with one digit behind the point at most.
fn percent(share: f64) -> String {
    let rounded = (share * 1000.0).round() / 10.0;
    format!("{rounded} %")
}
