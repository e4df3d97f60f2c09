//! One fold of a cohort: which nodules it trains and validates on, and their planes and texts in memory.

use std::borrow::Cow;
use std::collections::BTreeSet;

use pipe_plugin::context::Context;
use pipe_plugin::input::Files;
use pipe_plugin::stage::StageError;

use super::pixels::Pixels;
use super::planes::PlaneSet;
use super::texts::{EncodedTexts, read_impression};
use super::volumes::{VolumeSet, volumes_are_missing};
use super::{Nodule, read_nodules};
use crate::splits::tables::read_pids;
use crate::text::Tokenizer;
use pipe_learning::training::batches::{Examples, SourceError};
use pipe_learning::training::control::shuffled_labels;
use pipe_learning::training::parameters::TrainParameters;
use pipe_learning::training::text_augmentation::TextAugmentation;
use pipe_numerics::random::{Generator, RandomKey};

/// The nodules of a fold's two parts, in the order of the table.
pub(crate) struct Fold {
    /// Those that are trained on.
    pub(crate) train: Vec<Nodule>,
    /// Those that early stopping looks at.
    pub(crate) validation: Vec<Nodule>,
}

impl Fold {
    /// Divides the table of `dataset` by the patients that `splits` names for a fold.
    pub(crate) fn read(number: u32, context: &Context<'_>) -> Result<Self, StageError> {
        let table = context.table("dataset")?;
        let nodules = read_nodules(table, false)?;
        let splits = context.files("splits")?;
        let train = read_part(splits, number, "train")?;
        let validation = read_part(splits, number, "val")?;
        if let Some(pid) = train.intersection(&validation).next() {
            let message = format!("{}: patient {pid} is in both parts of fold {number}", splits.shown);
            return Err(StageError::message(message).advise("divide the folds by patient"));
        }
        let known: BTreeSet<&str> = nodules.iter().map(|nodule| nodule.pid.as_str()).collect();
        if let Some(pid) = train.union(&validation).find(|pid| !known.contains(pid.as_str())) {
            let message =
                format!("{}: patient {pid} of fold {number} is not in {}", splits.shown, table.source);
            return Err(StageError::message(message).advise("make the folds from the same dataset"));
        }
        let of = |part: &BTreeSet<String>| -> Vec<Nodule> {
            nodules.iter().filter(|nodule| part.contains(&nodule.pid)).cloned().collect()
        };
        let fold = Self { train: of(&train), validation: of(&validation) };
        let (all, used) = (nodules.len(), fold.train.len() + fold.validation.len());
        if used < all {
            let left_out = all - used;
            context.warn(&format!(
                "{left_out} of {all} nodules are left out: their patients are in no part of fold {number}"
            ));
        }
        Ok(fold)
    }

    /// Everyone that a model of this fold has seen, sorted.
    pub(crate) fn patients(&self) -> BTreeSet<&str> {
        self.train.iter().chain(&self.validation).map(|nodule| nodule.pid.as_str()).collect()
    }
}

fn read_part(splits: &Files, fold: u32, part: &str) -> Result<BTreeSet<String>, StageError> {
    let name = format!("fold_{fold}/{part}_pid.csv");
    let bytes = splits.read(&name)?;
    let shown = splits.get(&name).map_or(name, |file| file.shown);
    Ok(read_pids(&shown, &bytes)?.into_iter().collect())
}

/// Nodules with their planes and texts in memory, as training wants them.
pub(crate) struct FoldRows {
    labels: Vec<bool>,
    planes: PlaneSet,
    /// Volumes that are changed in training.
    volumes: Option<VolumeSet>,
    tokens: Vec<Vec<u32>>,
    words: Option<Words>,
}

/// Texts that are changed in training.
struct Words {
    impressions: Vec<String>,
    augmentation: TextAugmentation,
    tokenizer: Tokenizer,
}

impl FoldRows {
    /// Reads the planes and texts of nodules. Only training rows keep volumes and words.
    pub(crate) fn read(
        params: &TrainParameters,
        nodules: &[Nodule],
        context: &Context<'_>,
        training: bool,
    ) -> Result<Self, StageError> {
        let items: Vec<&str> = nodules.iter().map(|nodule| nodule.item.as_str()).collect();
        let encoded = EncodedTexts::read(context.files("text")?)?;
        let tokens =
            items.iter().map(|item| encoded.get(item).map(<[u32]>::to_vec)).collect::<Result<_, _>>()?;
        let words = match params.text_augmentation().filter(|_| training) {
            Some(augmentation) => Some(read_words(&items, augmentation, context)?),
            None => None,
        };
        let reach = Pixels::reach(params.crop_size, params.jitter);
        let planes = PlaneSet::read(context.files("slices")?, &items, reach)?;
        let volumes = match params.image_augmentation().filter(|_| training) {
            Some(augmentation) => {
                let files = context.files("volumes").map_err(|_| volumes_are_missing())?;
                Some(VolumeSet::read(files, &items, &planes, &augmentation)?)
            }
            None => None,
        };
        Ok(Self { labels: labels(nodules), planes, volumes, tokens, words })
    }

    /// Takes the truth out of these rows and of the nodules that they were read from, for a control run.
    pub(crate) fn shuffle_labels(&mut self, nodules: &mut [Nodule], key: &RandomKey) {
        self.labels = shuffled_labels(&self.labels, key);
        for (nodule, label) in nodules.iter_mut().zip(&self.labels) {
            nodule.malignant = Some(*label);
        }
    }

    /// Edge of the planes in voxels.
    pub(crate) fn edge(&self) -> usize {
        self.planes.edge
    }
}

/// The diagnoses of nodules that all have one.
pub(crate) fn labels(nodules: &[Nodule]) -> Vec<bool> {
    nodules.iter().map(|nodule| nodule.malignant == Some(true)).collect()
}

/// What training says without the reports that text augmentation needs.
pub(crate) fn reports_are_missing() -> StageError {
    StageError::message("text augmentation needs the input `reports`")
        .advise("give train `reports = \"@report\"`, or set `text_augmentation = false`")
}

fn read_words(
    items: &[&str],
    augmentation: TextAugmentation,
    context: &Context<'_>,
) -> Result<Words, StageError> {
    let reports = context.files("reports").map_err(|_| reports_are_missing())?;
    let impressions = items.iter().map(|item| read_impression(reports, item)).collect::<Result<_, _>>()?;
    Ok(Words { impressions, augmentation, tokenizer: Tokenizer::new()? })
}

impl Examples for FoldRows {
    fn count(&self) -> usize {
        self.planes.len()
    }

    fn malignant(&self, row: usize) -> bool {
        self.labels.get(row).copied().unwrap_or(false)
    }

    fn planes(&self, row: usize, augment: Option<&mut Generator>) -> Result<Cow<'_, [f32]>, SourceError> {
        if let (Some(volumes), Some(generator)) = (&self.volumes, augment) {
            return Ok(Cow::Owned(volumes.planes(row, generator)?));
        }
        let planes = self.planes.get(row).ok_or("no such row")?;
        Ok(Cow::Borrowed(planes))
    }

    fn tokens(&self, row: usize, augment: Option<&mut Generator>) -> Result<Vec<u32>, SourceError> {
        if let (Some(words), Some(generator)) = (&self.words, augment) {
            let text = words.impressions.get(row).ok_or("no such row")?;
            let ids = words.tokenizer.encode(&words.augmentation.apply(text, generator));
            return Ok(ids.iter().map(|id| u32::try_from(*id)).collect::<Result<_, _>>()?);
        }
        Ok(self.tokens.get(row).ok_or("no such row")?.clone())
    }
}
