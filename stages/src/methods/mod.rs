//! What each kind did and gave, in sentences for the methods and results of a paper.
//!
//! Stands beside the kinds, like `checks`: what is said goes to people and into no result. Every number comes from the
//! parameters and results of a run, or is one that the kind's code always takes. Instances that differ in a parameter are told apart.

mod data;
mod evaluation;
mod reports;
mod training;
mod zero_shot;

use pipe_plugin::stage::{Sentence, StageAccount, StageError};

type Told = Result<Vec<Sentence>, StageError>;

/// Gives each kind's describer the instances that agree in all parameters but those that are labels only.
macro_rules! describers {
    ($($kind:ident = $describe:path, labels $labels:expr;)*) => {$(
        #[doc = concat!("For kind `", stringify!($kind), "`.")]
        ///
        /// # Errors
        /// Results that cannot be read.
        pub fn $kind(account: &StageAccount<'_>) -> Told {
            in_groups(account, $labels, $describe)
        }
    )*};
}

describers! {
    phantom = data::phantom, labels &[];
    lidc = data::lidc, labels &[];
    luna16 = data::luna16, labels &[];
    dicom = data::dicom, labels &[];
    centroid = data::centroid, labels &[];
    locate = data::locate, labels &[];
    crop = data::crop, labels &[];
    import_crops = data::import_crops, labels &[];
    slice = data::slice, labels &[];
    split = data::split, labels &[];
    report = reports::report, labels &[];
    text_encode = reports::text_encode, labels &[];
    train = training::train, labels &["fold"];
    calibrate = training::calibrate, labels &["fold"];
    import_experiment = training::import_experiment, labels &[];
    evaluate = evaluation::evaluate, labels &[];
    zero_shot = zero_shot::zero_shot, labels &[];
}

fn in_groups(account: &StageAccount<'_>, labels: &[&str], describe: fn(&StageAccount<'_>) -> Told) -> Told {
    let mut told = Vec::new();
    for (which, group) in account.alike(labels) {
        let which = if which.is_empty() { which } else { format!("With {which}: ") };
        told.extend(
            describe(&group)?.into_iter().map(|one| Sentence::new(one.topic, which.clone() + &one.text)),
        );
    }
    Ok(told)
}

/// A parameter as text; nothing that is not given.
fn param(account: &StageAccount<'_>, name: &str) -> String {
    account.param(name).unwrap_or_default()
}

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
