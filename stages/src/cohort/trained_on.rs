//! What a model was trained on: how its input was made, which patients and which images it has seen. Input that was made
//! otherwise, and cases that the model knows, are refused.

use pipe_plugin::input::Files;
use pipe_plugin::stage::{Column, StageError};
use pipe_plugin::table::Table;

use super::Nodule;
use super::leaks::{ImageRecord, shared_images, shared_patients};
use super::model_file::{BaseWeights, ModelFile};
use super::planes::PlaneRecords;
use crate::splits::tables::read_pids;
use pipe_learning::preprocessing::{CLIP_MAX, CLIP_MIN, GRID, PAD_HU, Preprocessing, SAMPLING, SIZE_MM};

/// The file of a model that names its patients.
pub(crate) const PATIENTS: &str = "training_patients.csv";
/// The file of a model with what its images are known by.
pub(crate) const IMAGES: &str = "training_images.csv";

/// What makes a model's input another; how values are stored and which header told the place do not.
const COMPARED: [&str; 6] = [SIZE_MM, SAMPLING, PAD_HU, GRID, CLIP_MIN, CLIP_MAX];

const OTHERS: &str = "evaluate on patients that are in no fold";

/// Refuses planes that were made otherwise than what a model was trained on. What one of them does not say goes into the
/// notes, each once.
pub(crate) fn refuse_other_input(
    (model, input): (&str, &Preprocessing),
    (slices, planes): (&str, &Preprocessing),
    notes: &mut Vec<String>,
) -> Result<(), StageError> {
    if let Some(difference) = input.differences(planes).first() {
        let message = difference.between(&format!("what {model} was trained on"), slices);
        return Err(StageError::message(message).advise(
            "make both in one way: give crop and slice of the test set the same parameters, or `models`",
        ));
    }
    if input.is_empty() {
        note(notes, "The models do not say how their input was made: not compared with the slices.");
    } else if planes.is_empty() {
        note(
            notes,
            "The slices do not say how they were made: not compared with what the models were trained on.",
        );
    } else {
        let unsaid = |one: &Preprocessing, other: &Preprocessing| -> Vec<&str> {
            COMPARED.into_iter().filter(|name| one.get(name).is_some() && other.get(name).is_none()).collect()
        };
        for (whose, names) in [("slices", unsaid(input, planes)), ("models", unsaid(planes, input))] {
            if !names.is_empty() {
                note(notes, &format!("The {whose} do not say their {}: not compared.", names.join(" and ")));
            }
        }
    }
    Ok(())
}

fn note(notes: &mut Vec<String>, text: &str) {
    if !notes.iter().any(|known| known == text) {
        notes.push(text.to_string());
    }
}

/// Testing on patients that a model has seen would report how well it remembers. Models from elsewhere need not say
/// whom they have seen; then the results do.
pub(crate) fn refuse_known_cases(
    model: &Files,
    description: &ModelFile,
    (nodules, planes): (&[Nodule], &PlaneRecords),
    notes: &mut Vec<String>,
) -> Result<(), StageError> {
    let says_whom = model.get(PATIENTS).is_some() || description.base_weights != BaseWeights::Imported;
    if says_whom {
        refuse_known_patients(model, nodules)?;
    }
    let images = read_images(model)?;
    match (says_whom, &images) {
        (false, None) => {
            note(notes, "The models do not say whom they were trained on: not checked for these patients.");
        }
        (false, Some(_)) => {
            note(notes, "The models do not say whom they were trained on: compared by scans only.");
        }
        (true, None) => {
            note(notes, "The models do not say which scans they were trained on: compared by patients only.");
        }
        (true, Some(_)) => {}
    }
    let shared = shared_images(&images.unwrap_or_default(), &planes.images);
    let Some(nodule) = shared.first().and_then(|position| nodules.get(*position)) else { return Ok(()) };
    let message = format!(
        "{} test nodules are of scans that {} was trained or validated on, under other names: {} among them",
        shared.len(),
        model.shown,
        nodule.item
    );
    Err(StageError::message(message).advise(OTHERS))
}

fn refuse_known_patients(model: &Files, nodules: &[Nodule]) -> Result<(), StageError> {
    let bytes = model.read(PATIENTS)?;
    let seen = read_pids(&format!("{PATIENTS} of {}", model.shown), &bytes)?;
    if seen.is_empty() {
        return Err(StageError::message(format!("{PATIENTS} of {} names nobody", model.shown))
            .advise("get the file again from where it comes from"));
    }
    let tested = nodules.iter().map(|nodule| nodule.pid.as_str());
    let shared = shared_patients(seen.iter().map(String::as_str), tested);
    let Some(first) = shared.first() else { return Ok(()) };
    let message = format!(
        "{} test patients were trained or validated on by {}, {} among them",
        shared.len(),
        model.shown,
        first.shown("there")
    );
    let advice = match first.first == first.second {
        true => OTHERS.to_owned(),
        false => format!("{OTHERS}; people who are others need identifiers that are not alike"),
    };
    Err(StageError::message(message).advise(advice))
}

/// The bytes of a model's file of images.
pub(crate) fn images_csv(images: &[ImageRecord]) -> Vec<u8> {
    let mut images: Vec<&ImageRecord> = images.iter().collect();
    images.sort_unstable();
    images.dedup();
    let mut text = String::from("scan,planes\n");
    for ImageRecord { scan, planes } in images {
        text.extend([scan, ",", planes, "\n"]);
    }
    text.into_bytes()
}

/// What a model's images are known by; `None` where it does not say.
fn read_images(model: &Files) -> Result<Option<Vec<ImageRecord>>, StageError> {
    let Some(file) = model.get(IMAGES) else { return Ok(None) };
    let table =
        Table::parse(&file.shown, &file.read()?)?.project(&["scan", "planes"].map(Column::required))?;
    let cell = |row, column| table.get(row, column).unwrap_or_default().to_owned();
    let record = |row| ImageRecord { scan: cell(row, "scan"), planes: cell(row, "planes") };
    Ok(Some(table.rows().iter().map(record).collect()))
}

/// Refuses a fold whose validation patients or scans are among those that it trains on, whatever they are called.
pub(crate) fn refuse_shared_parts(
    fold: u32,
    [train, validation]: [(&[Nodule], &[ImageRecord]); 2],
) -> Result<(), StageError> {
    let [trained, validated] =
        [train.0, validation.0].map(|part| part.iter().map(|nodule| nodule.pid.as_str()));
    let shared = shared_patients(trained, validated);
    if let Some(first) = shared.first() {
        let message = format!(
            "fold {fold}: {} validation patients seem to be trained on, {} among them",
            shared.len(),
            first.shown("in training")
        );
        return Err(StageError::message(message).advise(
            "write a patient's identifier in one way; people who are others need ones that are not alike",
        ));
    }
    let shared = shared_images(train.1, validation.1);
    let Some(nodule) = shared.first().and_then(|position| validation.0.get(*position)) else { return Ok(()) };
    let message = format!(
        "fold {fold}: {} validation nodules are of scans that are trained on, under other patients: {} among them",
        shared.len(),
        nodule.item
    );
    Err(StageError::message(message).advise("give all nodules of a scan one patient, or take the copies out"))
}
