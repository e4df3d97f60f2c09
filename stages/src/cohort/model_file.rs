//! `model.json`: what a stored model needs besides its tensors.

use std::path::Path;

use pipe_plugin::input::Files;
use pipe_plugin::stage::StageError;
use serde::{Deserialize, Serialize};

use pipe_learning::clip::architecture::Architecture;
use pipe_learning::clip::model::{ModelSettings, Tuning};
use pipe_learning::clip::weights::read_towers;
use pipe_learning::clip::{Tensors, initialise};
use pipe_learning::preprocessing::Preprocessing;
use pipe_learning::training::parameters::TrainParameters;
use pipe_numerics::random::RandomKey;

/// Where a model's towers come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum BaseWeights {
    /// Drawn with this seed.
    Random {
        /// The pipeline's seed.
        seed: u64,
    },
    /// A file with this BLAKE3 digest.
    File {
        /// 64 hexadecimal digits.
        digest: String,
    },
    /// None: every tensor is among the stored ones, which come from elsewhere.
    Imported,
}

/// The content of `model.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelFile {
    /// Dimensions of the towers.
    pub(crate) architecture: Architecture,
    /// Where the towers come from; for tuning `ft` they are among the stored tensors.
    pub(crate) base_weights: BaseWeights,
    /// What is trained, heads and adapters.
    pub(crate) settings: ModelSettings,
    /// What it was trained with.
    pub(crate) parameters: TrainParameters,
    /// How the input was made that it was trained on; empty where that is not known.
    #[serde(default, skip_serializing_if = "Preprocessing::is_empty")]
    pub(crate) input: Preprocessing,
    /// Weights of benign and malignant in class-weighted losses, where they are known.
    #[serde(default)]
    pub(crate) class_weights: Option<[f64; 2]>,
    /// What a reader of its predictions should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

impl ModelFile {
    /// Reads it from a model artifact.
    pub(crate) fn read(model: &Files) -> Result<Self, StageError> {
        let bytes = model.read("model.json")?;
        serde_json::from_slice(&bytes)
            .map_err(|error| StageError::message(format!("{}: model.json: {error}", model.shown)))
    }

    /// The canonical bytes.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, StageError> {
        // Through a value, whose keys are sorted.
        let mut bytes = serde_json::to_vec_pretty(&serde_json::to_value(self)?)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The towers that the stored tensors go over: none for `ft`, drawn again, or read from the weights
    /// file (path and digest), which must be the one that was trained on.
    pub(crate) fn towers(
        &self,
        weights: Option<(&Path, String)>,
        shown: &str,
    ) -> Result<Tensors, StageError> {
        if self.settings.tuning == Tuning::Ft {
            return Ok(Tensors::new());
        }
        match (&self.base_weights, weights) {
            (BaseWeights::Random { seed }, _) => random_towers(&self.architecture, *seed),
            (BaseWeights::File { digest }, Some((path, found))) if *digest == found => {
                Ok(read_towers(path)?.tensors)
            }
            (BaseWeights::File { digest }, Some((_, found))) => {
                let message = format!("{shown} was trained on weights {digest}, but {found} were given");
                Err(StageError::message(message).advise("give train and evaluate the same weights"))
            }
            // An imported model has all tensors, as one of `ft` has.
            (BaseWeights::Imported, _) => Ok(Tensors::new()),
            (BaseWeights::File { .. }, None) => {
                Err(StageError::message(format!("{shown} needs the weights that it was trained on"))
                    .advise("give the input `weights`, as to train"))
            }
        }
    }
}

/// Towers with random weights. All folds of a seed start from the same ones.
pub(crate) fn random_towers(architecture: &Architecture, seed: u64) -> Result<Tensors, StageError> {
    let key = RandomKey::new(seed, "train").text("purpose", "towers");
    Ok(initialise::towers(architecture, &key)?)
}
