//! Of the kinds that make data: patients, scans, volumes, planes, reports and folds.

use std::collections::BTreeSet;

use pipe_plugin::stage::{Sentence, StageAccount, StageError, Topic};
use pipe_plugin::table::Table;

use super::{between, counted, percent};

type Told = Result<Vec<Sentence>, StageError>;

/// One sentence about the data's preparation.
fn prepared(text: String) -> Told {
    Ok(vec![Sentence::new(Topic::DataPreparation, text)])
}

/// `N nodules`, where that is known.
fn nodules(account: &StageAccount<'_>) -> String {
    account.items().map_or_else(|| "each nodule".to_string(), |items| counted(items, "nodule"))
}

fn param(account: &StageAccount<'_>, name: &str) -> String {
    account.param(name).unwrap_or_else(|| "what the kind takes by itself".to_string())
}

/// For kind `phantom`.
///
/// # Errors
/// None.
pub fn phantom(account: &StageAccount<'_>) -> Told {
    prepared(format!(
        "Patients were simulated: {} with one CT scan each, of {} voxels of {} mm (x, y, z), noise of {} HU, and an expected share of \
         malignant nodules of {}. These are no data of patients.",
        param(account, "patients"),
        param(account, "shape").replace(", ", " × "),
        param(account, "spacing").replace(", ", " × "),
        param(account, "noise_hu"),
        param(account, "prevalence"),
    ))
}

/// For kind `lidc`.
///
/// # Errors
/// None.
pub fn lidc(account: &StageAccount<'_>) -> Told {
    let mut told = vec![Sentence::new(
        Topic::DataPreparation,
        format!(
            "Nodules are those of LIDC-IDRI's annotations; one nodule is one `{}`.",
            param(account, "group")
        ),
    )];
    if account.is("malignant_from_rating", true) {
        told.push(Sentence::new(
            Topic::DataPreparation,
            "The label is the readers' median suspicion of malignancy, above 3 malignant and below 3 benign, which is an opinion and no \
             diagnosis; nodules of a median of 3 have no label.",
        ));
    }
    Ok(told)
}

/// For kind `dicom`.
///
/// # Errors
/// None.
pub fn dicom(account: &StageAccount<'_>) -> Told {
    let series =
        account.items().map_or_else(|| "DICOM series".to_string(), |items| format!("{items} DICOM series"));
    prepared(format!(
        "{series} were made volumes in HU, if slices lay within {} mm, or a share of {} of their distance, of where an evenly spaced series \
         has them.",
        param(account, "tolerance_mm"),
        param(account, "tolerance_share"),
    ))
}

/// For kind `centroid`.
///
/// # Errors
/// None.
pub fn centroid(account: &StageAccount<'_>) -> Told {
    let masks =
        account.items().map_or_else(|| "label masks".to_string(), |items| counted(items, "label mask"));
    prepared(format!(
        "Nodules and their centres were taken from {masks}: each {} (connectivity {}) of at least {} voxels, at its centre of mass.",
        param(account, "each"),
        param(account, "connectivity"),
        param(account, "min_voxels"),
    ))
}

/// For kind `locate`.
///
/// # Errors
/// None.
pub fn locate(account: &StageAccount<'_>) -> Told {
    prepared(format!(
        "The positions of {} were given as voxel indices (counted as `{}`) and were converted to millimetres by the scans' headers.",
        nodules(account),
        param(account, "counting"),
    ))
}

/// For kind `crop`.
///
/// # Errors
/// None.
pub fn crop(account: &StageAccount<'_>) -> Told {
    let items = account.items().map(|items| format!(" ({items} in all)")).unwrap_or_default();
    let sampling = match account.param("sampling").as_deref() {
        Some("exact") => "with its middle voxel on the nodule's centre",
        _ => "read where the published pipeline reads it, within a voxel of the nodule's centre",
    };
    let mut told = vec![Sentence::new(
        Topic::DataPreparation,
        format!(
            "Around each nodule{items} a cube of {} mm was cut from the CT scan and resampled to 1 mm along each axis, {sampling}; what lies \
             outside the scan is {} HU.",
            param(account, "size_mm"),
            param(account, "pad_hu"),
        ),
    )];
    told.extend(account.items().map(|items| {
        Sentence::new(
            Topic::Participants,
            format!("{} were cut from scans, and none was left out.", counted(items, "nodule")),
        )
    }));
    Ok(told)
}

/// For kind `import-crops`.
///
/// # Errors
/// None.
pub fn import_crops(account: &StageAccount<'_>) -> Told {
    prepared(format!("Cubes around {} were cut by another program, and taken over.", nodules(account)))
}

/// For kind `slice`.
///
/// # Errors
/// None.
pub fn slice(account: &StageAccount<'_>) -> Told {
    let text = format!(
        "Nine planes through the middle of each volume are what the image tower sees: three straight and six diagonal ones, with intensities from \
         {} to {} HU mapped to 0 to 1 and clipped there.",
        param(account, "clip_min"),
        param(account, "clip_max"),
    );
    Ok(vec![Sentence::new(Topic::Predictors, text)])
}

/// For kind `report`.
///
/// # Errors
/// None.
pub fn report(account: &StageAccount<'_>) -> Told {
    let text = match account.param("provider").as_deref() {
        _ if account.has_input("dir") => format!("The reports of {} were given as texts.", nodules(account)),
        Some("template") => {
            format!("A report of {} was worded from its semantic features by templates.", each(account))
        }
        Some(provider) => format!(
            "A report of {} was worded from its semantic features by the language model {} ({provider}).",
            each(account),
            account.param("model").unwrap_or_else(|| "of the service".to_string()),
        ),
        None => return Ok(Vec::new()),
    };
    Ok(vec![Sentence::new(Topic::Predictors, text), Sentence::new(Topic::MissingData, missing(account))])
}

fn each(account: &StageAccount<'_>) -> String {
    account
        .items()
        .map_or_else(|| "each nodule".to_string(), |items| format!("each of {}", counted(items, "nodule")))
}

fn missing(account: &StageAccount<'_>) -> &'static str {
    match account.has_input("dir") {
        true => "Each nodule has a report; a run without one is refused.",
        false => {
            "Semantic features that a reader left blank are not mentioned in the report; nothing was imputed."
        }
    }
}

/// For kind `text-encode`.
///
/// # Errors
/// None.
pub fn text_encode(_: &StageAccount<'_>) -> Told {
    let text =
        "Of each report the impression was encoded by CLIP's tokenizer, the whole report where it has none.";
    Ok(vec![Sentence::new(Topic::Predictors, text)])
}

/// For kind `split`.
///
/// # Errors
/// Parts that cannot be read.
pub fn split(account: &StageAccount<'_>) -> Told {
    let share = account.param("train_size").and_then(|share| share.parse().ok()).map(percent);
    let (folds, seed) = (param(account, "n_splits"), param(account, "random_state"));
    let mut text = format!(
        "Patients were divided {folds} times, each time independently and at random (random state {seed}), into a training part of {} and a \
         validation part; all nodules of a patient are in the same part.",
        share.unwrap_or_else(|| "a part".to_string()),
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
