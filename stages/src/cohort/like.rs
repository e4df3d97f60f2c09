//! Input that is made as a model's was: parameters that a model gives to `crop` and `slice`.

use pipe_plugin::input::Files;
use pipe_plugin::stage::{Filling, InputForm, InputSpec, StageError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::model_set::{DESCRIPTION, models};
use pipe_learning::preprocessing::Preprocessing;

/// The input of models whose own input is to be repeated.
pub(crate) const LIKE: InputSpec = InputSpec::new(
    "models",
    InputForm::Tree,
    "models that say how their input was made, as from train or import-experiment: it is made so again",
)
.optional()
.many()
.fills();

/// Gives parameters the values that models were trained with. What is written in the manifest must agree; what a model
/// does not say stays as it is.
///
/// # Errors
/// Models that were trained on different input, or a parameter that is written and differs: both values are named.
pub(crate) fn fill<P: Serialize + DeserializeOwned>(
    params: &mut P,
    filling: &Filling<'_>,
) -> Result<(), StageError> {
    let mut parameters = serde_json::to_value(&*params)?;
    let mut known: Option<(String, Preprocessing)> = None;
    for model in models(filling.inputs)? {
        let record = input_of(&model.files)?;
        if let Some((first, other)) = &known {
            refuse_differences(first, other, &model.files, &record)?;
        } else {
            known = Some((model.files.shown.clone(), record));
        }
    }
    let Some((shown, record)) = known else { return Ok(()) };
    fill_values(&mut parameters, &record, &shown, filling.is_written)?;
    *params = serde_json::from_value(parameters)?;
    Ok(())
}

/// How the input of a model was made, of which nothing else is read: how models are built must not matter to crops.
fn input_of(model: &Files) -> Result<Preprocessing, StageError> {
    let refuse =
        |error: serde_json::Error| StageError::message(format!("{}: {DESCRIPTION}: {error}", model.shown));
    let mut description: Value = serde_json::from_slice(&model.read(DESCRIPTION)?).map_err(refuse)?;
    let input = description.get_mut("input").map(Value::take);
    Ok(input.map(serde_json::from_value).transpose().map_err(refuse)?.unwrap_or_default())
}

/// Puts a record's values in the place of parameters that are not written.
pub(crate) fn fill_values(
    parameters: &mut Value,
    record: &Preprocessing,
    shown: &str,
    is_written: &dyn Fn(&str) -> bool,
) -> Result<(), StageError> {
    let Some(fields) = parameters.as_object_mut() else { return Ok(()) };
    let written = Preprocessing::of_parameters(
        &Value::Object(fields.clone()),
        &fields.keys().map(String::as_str).filter(|name| is_written(name)).collect::<Vec<_>>(),
    );
    if let Some(difference) = written.differences(record).first() {
        let message = difference.between("the manifest", &format!("what {shown} was trained on"));
        return Err(StageError::message(message)
            .advise("leave the parameter out: the models give it; or use models that were trained so"));
    }
    for (name, value) in fields.iter_mut().filter(|(name, _)| !is_written(name)) {
        if let Some(known) = record.get(name) {
            *value = known.clone();
        }
    }
    Ok(())
}

fn refuse_differences(
    first: &str,
    one: &Preprocessing,
    model: &Files,
    other: &Preprocessing,
) -> Result<(), StageError> {
    match one.differences(other).first() {
        None => Ok(()),
        Some(difference) => {
            let message = format!(
                "the models were trained on different input: {}",
                difference.between(first, &model.shown)
            );
            Err(StageError::message(message).advise("use models of one training, or predict with each apart"))
        }
    }
}
