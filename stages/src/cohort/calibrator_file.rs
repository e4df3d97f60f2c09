//! `calibrator.json`: a fitted calibrator and the checkpoint whose predictions it was fitted to.
//!
//! A calibrator that belongs to another state of the model would shift probabilities without anybody
//! noticing, so the file says which state it is for. Files from elsewhere need not.

use pipe_plugin::stage::StageError;
use serde_json::Value;

use crate::checkpoint::Checkpoint;
use pipe_learning::preprocessing::Preprocessing;
use pipe_statistics::calibration::BetaCalibrator;

const CHECKPOINT: &str = "checkpoint";
const INPUT: &str = "input";
const FITTED_TO: &str = "fitted_to";

/// What the file holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CalibratorFile {
    /// The calibrator.
    pub(crate) calibrator: BetaCalibrator,
    /// The checkpoint that it was fitted to, if the file says so.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// How the input was made whose predictions it was fitted to, as far as the file says.
    pub(crate) input: Preprocessing,
    /// Digest of the validation predictions that it was fitted to, if the file says so.
    pub(crate) fitted_to: Option<String>,
}

impl CalibratorFile {
    /// The file's bytes with sorted keys, so that equal calibrators are equal bytes.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, StageError> {
        let mut value = serde_json::to_value(self.calibrator)?;
        if let Some(fields) = value.as_object_mut() {
            fields
                .extend(self.checkpoint.map(|checkpoint| (CHECKPOINT.to_string(), checkpoint.name().into())));
            fields.extend(self.fitted_to.clone().map(|digest| (FITTED_TO.to_string(), digest.into())));
            if !self.input.is_empty() {
                fields.insert(INPUT.to_string(), serde_json::to_value(&self.input)?);
            }
        }
        let mut bytes = serde_json::to_vec_pretty(&value)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the file; `shown` names it in messages.
    pub(crate) fn parse(bytes: &[u8], shown: &str) -> Result<Self, StageError> {
        let refuse = |error: serde_json::Error| StageError::message(format!("{shown}: {error}"));
        let mut value: Value = serde_json::from_slice(bytes).map_err(refuse)?;
        let checkpoint = value.as_object_mut().and_then(|fields| fields.remove(CHECKPOINT));
        let checkpoint = checkpoint.map(serde_json::from_value).transpose().map_err(refuse)?;
        let input = value.as_object_mut().and_then(|fields| fields.remove(INPUT));
        let input = input.map(serde_json::from_value).transpose().map_err(refuse)?.unwrap_or_default();
        let fitted_to = value.as_object_mut().and_then(|fields| fields.remove(FITTED_TO));
        let fitted_to = fitted_to.map(serde_json::from_value).transpose().map_err(refuse)?;
        Ok(Self { calibrator: serde_json::from_value(value).map_err(refuse)?, checkpoint, input, fitted_to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_statistics::calibration::CalibrationKind;

    fn file(checkpoint: Option<Checkpoint>) -> CalibratorFile {
        CalibratorFile {
            calibrator: BetaCalibrator::from_line(CalibrationKind::Abm, 1.5, 0.5, -0.25),
            checkpoint,
            input: Preprocessing::default().with("clip_min", -300.0),
            fitted_to: Some("abc".to_owned()),
        }
    }

    #[test]
    fn the_file_reads_back_and_its_keys_are_sorted() {
        for file in [file(Some(Checkpoint::BestPred)), file(None)] {
            let bytes = file.to_bytes().expect("json");
            assert_eq!(CalibratorFile::parse(&bytes, "calibrator.json").expect("calibrator"), file);
        }
        let text = String::from_utf8(file(Some(Checkpoint::Last)).to_bytes().expect("json")).expect("text");
        let keys: Vec<&str> = text.lines().filter_map(|line| line.trim().split('"').nth(1)).collect();
        assert_eq!(
            keys,
            [
                "a",
                "b",
                "checkpoint",
                "converged",
                "fitted_to",
                "input",
                "clip_min",
                "intercept",
                "kind",
                "m",
                "n",
                "positives"
            ]
        );
    }

    #[test]
    fn what_is_no_calibrator_is_refused_with_its_name() {
        for text in ["", "[]", "{\"a\": 1}", "{\"checkpoint\": \"newest\"}"] {
            let error = CalibratorFile::parse(text.as_bytes(), "fold_1.json").expect_err(text).to_string();
            assert!(error.starts_with("fold_1.json: "), "{error}");
        }
    }
}
