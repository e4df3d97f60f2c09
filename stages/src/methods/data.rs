//! Of the kinds that make data: patients, scans, volumes, planes and folds.

use std::collections::BTreeSet;

use pipe_plugin::stage::{Sentence, StageAccount, StageError, Topic};
use pipe_plugin::table::Table;

use super::{Told, between, counted, param, percent};

/// One sentence about the data's preparation.
fn prepared(text: impl Into<String>) -> Sentence {
    Sentence::new(Topic::DataPreparation, text)
}

/// `N nodules`, where that is known.
fn nodules(account: &StageAccount<'_>) -> String {
    account.items().map_or_else(|| "nodules".to_string(), |items| counted(items, "nodule"))
}

pub(super) fn phantom(account: &StageAccount<'_>) -> Told {
    Ok(vec![
        prepared(format!(
            "Patients were simulated: {} with one CT scan each, of {} voxels of {} mm (x, y, z) and noise of {} HU. These are no data of \
             patients.",
            param(account, "patients"),
            param(account, "shape").replace(", ", " × "),
            param(account, "spacing").replace(", ", " × "),
            param(account, "noise_hu"),
        )),
        Sentence::new(
            Topic::Outcome,
            format!(
                "Malignancy was simulated from the nodules' attributes, with an expected share of {} malignant ones.",
                param(account, "prevalence")
            ),
        ),
    ])
}

pub(super) fn lidc(account: &StageAccount<'_>) -> Told {
    let nodule = match account.param("group").as_deref() {
        Some("patient") => {
            "annotations of one cluster number over all scans of a patient are one nodule, as in the published notebook, which mixes scans of patients with two"
        }
        _ => "annotations of one scan that touch are one nodule",
    };
    let mut text = format!(
        "Nodules are those of LIDC-IDRI's annotations: {nodule}. Ratings and sizes are medians over its readers, other features the most frequent answer."
    );
    if let Some(fewest) = account.param("min_readers").filter(|fewest| fewest != "1") {
        text.push_str(&format!(" Nodules that fewer than {fewest} readers outlined were left out."));
    }
    if let Some(names) = account.param("leave_out").filter(|names| !names.is_empty()) {
        let count = names.split(", ").count();
        text.push_str(&format!(" {count} series or patients were left out with all their nodules."));
    }
    if account.is("labelled_only", true) {
        text.push_str(" Nodules without a label were left out.");
    }
    let mut told = vec![prepared(text)];
    if account.is("malignant_from_rating", true) {
        told.push(Sentence::new(
            Topic::Outcome,
            "The label is the readers' median suspicion of malignancy: malignant above 3, benign below it, none at 3. It is their opinion and no diagnosis.",
        ));
    }
    Ok(told)
}

pub(super) fn luna16(account: &StageAccount<'_>) -> Told {
    let without = match account.param("without_scan").as_deref() {
        Some("refuse") => "All of them have a scan.",
        _ => "Nodules whose scan was not there were left out.",
    };
    Ok(vec![prepared(format!(
        "Nodules, their centres and their scans are those of a table of LUNA16, where a scan goes by its series; patients are not told apart. {without}"
    ))])
}

pub(super) fn dicom(account: &StageAccount<'_>) -> Told {
    let series = account.items().map(|items| format!("{items} ")).unwrap_or_default();
    Ok(vec![prepared(format!(
        "{series}DICOM series were made volumes in HU. Slices had to lie within {} mm of where an evenly spaced series has them, or within {} of their \
         distance, if that is more.",
        param(account, "tolerance_mm"),
        param(account, "tolerance_share"),
    ))])
}

pub(super) fn centroid(account: &StageAccount<'_>) -> Told {
    let masks =
        account.items().map_or_else(|| "label masks".to_string(), |items| counted(items, "label mask"));
    let each = match account.param("each").as_deref() {
        Some("label") => "all voxels of a label value are a nodule".to_string(),
        _ => format!(
            "each connected piece of a label value (neighbourhood of {}) is a nodule",
            param(account, "connectivity")
        ),
    };
    let labels = match account.param("labels").filter(|labels| !labels.is_empty()) {
        Some(labels) => format!(" Labels that count: {labels}."),
        None => String::new(),
    };
    Ok(vec![prepared(format!(
        "Nodules and their centres of mass were taken from {masks}: {each}, and pieces of fewer than {} voxels were left out.{labels}",
        param(account, "min_voxels"),
    ))])
}

pub(super) fn locate(account: &StageAccount<'_>) -> Told {
    Ok(vec![prepared(format!(
        "The positions of {} were given as voxel indices (counting “{}”) and converted to millimetres by the scans' headers.",
        nodules(account),
        param(account, "counting"),
    ))])
}

pub(super) fn crop(account: &StageAccount<'_>) -> Told {
    let sampling = match account.param("sampling").as_deref() {
        Some("exact") => "with its middle voxel on the nodule's centre",
        _ => {
            "read where the published pipeline reads it, which is up to 1 mm beside the nodule's centre on each axis, and more towards the ends of scans \
             with thick slices"
        }
    };
    let rounded = if account.is("store", "i16") { " Values were rounded to whole HU." } else { "" };
    let mut told = vec![prepared(format!(
        "Around each nodule a cube of {} mm was cut from the CT scan and resampled to 1 mm along each axis, {sampling}; what lies outside the scan is {} \
         HU.{rounded}",
        param(account, "size_mm"),
        param(account, "pad_hu"),
    ))];
    let count = account.items().map(|items| format!("{} were cut from scans.", counted(items, "nodule")));
    told.extend(count.map(|text| Sentence::new(Topic::Participants, text)));
    Ok(told)
}

pub(super) fn import_crops(account: &StageAccount<'_>) -> Told {
    Ok(vec![prepared(format!(
        "Cubes around {} were cut by another program, and taken over.",
        nodules(account)
    ))])
}

pub(super) fn slice(account: &StageAccount<'_>) -> Told {
    let text = format!(
        "The image tower sees nine planes through the middle of each volume: three straight and six diagonal ones, with intensities from {} to {} HU mapped to 0 to 1, \
         clipped there, resized to the tower's resolution and normalised as CLIP's images.",
        param(account, "clip_min"),
        param(account, "clip_max"),
    );
    Ok(vec![Sentence::new(Topic::Predictors, text)])
}

pub(super) fn split(account: &StageAccount<'_>) -> Told {
    let share =
        account.param("train_size").and_then(|share| share.parse().ok()).map(percent).unwrap_or_default();
    let mut text = format!(
        "Patients were divided {} times, each time independently and at random, stratified by diagnosis (random state {}), into a training part of {share} and a \
         validation part; all nodules of a patient are in the same part.",
        param(account, "n_splits"),
        param(account, "random_state"),
    );
    let mut sizes: [Vec<usize>; 2] = Default::default();
    for instance in &account.instances {
        for fold in 0.. {
            let read = |part: &str| (instance.results.read)("splits", &format!("fold_{fold}/{part}_pid.csv"));
            let (Some(training), Some(validation)) = (read("train"), read("val")) else { break };
            sizes[0].push(patients(&training)?);
            sizes[1].push(patients(&validation)?);
        }
    }
    if let (Some(training), Some(validation)) = (between(&sizes[0]), between(&sizes[1])) {
        text.push_str(&format!(" Training parts have {training} patients, validation parts {validation}."));
    }
    Ok(vec![Sentence::new(Topic::Partitions, text)])
}

/// How many patients a table of them has.
pub(super) fn patients(bytes: &[u8]) -> Result<usize, StageError> {
    let table = Table::parse("patients", bytes)?;
    let pids: Result<BTreeSet<&str>, _> = table.rows().iter().map(|row| table.text(row, "pid")).collect();
    Ok(pids?.len())
}
