//! The training loop on a toy problem: that it learns, repeats, resumes, and refuses what it must.

mod common;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Device;
use common::toy::{PlainPixels, Toy, architecture, fold, model, parameters, run, towers, train};
use pipe_learning::clip::lora::Encoder;
use pipe_learning::clip::model::Tuning;
use pipe_learning::clip::weights::{parse_safetensors, to_safetensors};
use pipe_learning::training::batches::{Examples, MakePixels, SourceError};
use pipe_learning::training::early_stopping::Best;
use pipe_learning::training::error::TrainError;
use pipe_learning::training::parameters::TrainParameters;
use pipe_learning::training::prediction::Predictor;
use pipe_learning::training::run::{Checkpoint, FoldData, Outcome, Progress, Trainer};
use pipe_learning::training::state::TrainingState;
use pipe_numerics::random::Generator;

fn bytes(checkpoint: &Checkpoint) -> Vec<u8> {
    to_safetensors(&checkpoint.tensors).expect("bytes")
}

/// Everything of an outcome that is stored.
fn fingerprint(outcome: &Outcome) -> (Vec<u8>, Vec<u64>, String) {
    let mut all = bytes(&outcome.last);
    let mut predictions: Vec<u64> = outcome.last.validation.iter().map(|x| x.to_bits()).collect();
    for checkpoint in outcome.best.values() {
        all.extend(bytes(checkpoint));
        predictions.extend(checkpoint.validation.iter().map(|x| x.to_bits()));
    }
    (all, predictions, serde_json::to_string(&outcome.history).expect("history"))
}

fn go(_: &Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn every_tuning_learns_a_separable_problem() {
    for (tuning, lr) in [(Tuning::Ft, 5e-4), (Tuning::Pt, 5e-3), (Tuning::Lora, 5e-3)] {
        let parameters = TrainParameters { tuning, epochs: 16, lr, ..parameters() };
        let outcome = run(&parameters, [24, 12], 1).expect("outcome");
        let (first, last) = (outcome.history[0].validation, outcome.history[15].validation);
        assert!(
            last.prediction < 0.8 * first.prediction,
            "{tuning:?}: {} {}",
            first.prediction,
            last.prediction
        );
        assert_eq!((last.image_auroc, last.text_auroc), (1.0, 1.0), "{tuning:?}");
        assert_eq!(outcome.last.validation.len(), 12);
    }
}

#[test]
fn equal_seeds_give_equal_bytes_and_different_seeds_do_not() {
    let parameters = parameters();
    let first = fingerprint(&run(&parameters, [10, 5], 1).expect("outcome"));
    assert!(first == fingerprint(&run(&parameters, [10, 5], 1).expect("outcome")));
    assert!(first.0 != fingerprint(&run(&parameters, [10, 5], 2).expect("outcome")).0);
    let other_fold = TrainParameters { fold: 1, ..parameters };
    assert!(first.0 != fingerprint(&run(&other_fold, [10, 5], 1).expect("outcome")).0);
}

#[test]
fn a_resumed_run_gives_the_bytes_of_an_uninterrupted_one() {
    // Seven batches an epoch and a step every two: gradients are pending at the end of each epoch.
    let parameters = TrainParameters { ga: 2, batch_size: 2, epochs: 4, ..parameters() };
    let (training, validation) = (Toy::new("training", 13), Toy::new("validation", 5));
    let weights = [1.0; 13];
    let data = fold(&training, &weights, &validation);
    let whole = train(&parameters, data, model(&parameters, 3), 3, &mut go).expect("whole");

    let mut trainer = Trainer::new(&parameters, data, model(&parameters, 3), 3).expect("trainer");
    trainer.epoch(&mut go).expect("epoch");
    trainer.epoch(&mut go).expect("epoch");
    let state = trainer.state().expect("state");
    assert!(state.tensors.keys().any(|name| name.starts_with("pending/")));
    // Through bytes, as a file would hold it.
    let bytes = state.to_bytes().expect("bytes");
    let state = TrainingState::from_bytes(&bytes).expect("state");
    for cut in [0, 7, 8, 100, bytes.len() - 1] {
        assert!(TrainingState::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
    }

    let mut resumed = Trainer::new(&parameters, data, model(&parameters, 99), 3).expect("trainer");
    resumed.restore(state).expect("restored");
    assert_eq!(resumed.epochs_done(), 2);
    while !resumed.finished() {
        resumed.epoch(&mut go).expect("epoch");
    }
    assert!(fingerprint(&resumed.outcome().expect("outcome")) == fingerprint(&whole));
}

#[test]
fn a_state_of_another_model_is_refused() {
    let lora = parameters();
    let ft = TrainParameters { tuning: Tuning::Ft, ..parameters() };
    let (training, validation) = (Toy::new("training", 4), Toy::new("validation", 4));
    let data = fold(&training, &[1.0; 4], &validation);
    let mut trainer = Trainer::new(&lora, data, model(&lora, 3), 3).expect("trainer");
    trainer.epoch(&mut go).expect("epoch");
    let mut other = Trainer::new(&ft, data, model(&ft, 3), 3).expect("trainer");
    assert!(other.restore(trainer.state().expect("state")).is_err());
}

#[test]
fn pending_gradients_carry_into_the_next_epoch() {
    // One batch an epoch: with ga = 2 no step is ever taken, because batches are counted per epoch.
    let parameters = TrainParameters { ga: 2, batch_size: 8, epochs: 2, ..parameters() };
    let start = model(&parameters, 4).snapshot().expect("start");
    let outcome = run(&parameters, [8, 4], 4).expect("outcome");
    assert_eq!(bytes(&outcome.last), to_safetensors(&start).expect("bytes"));

    let (training, validation) = (Toy::new("training", 8), Toy::new("validation", 4));
    let data = fold(&training, &[1.0; 8], &validation);
    let mut trainer = Trainer::new(&parameters, data, model(&parameters, 4), 4).expect("trainer");
    let mut lengths = Vec::new();
    for _ in 0..2 {
        trainer.epoch(&mut go).expect("epoch");
        let state = trainer.state().expect("state");
        lengths.push(common::norm(
            common::values(&state.tensors["pending/classifier_image.bias"]).iter().map(|&x| f64::from(x)),
        ));
    }
    assert!(lengths[0] > 0.0 && lengths[0] != lengths[1], "{lengths:?}");
}

#[test]
fn short_batches_and_batches_of_one_are_trained_on() {
    let parameters = TrainParameters { epochs: 1, ..parameters() };
    let mut batches = Vec::new();
    let (training, validation) = (Toy::new("training", 9), Toy::new("validation", 1));
    let data = fold(&training, &[1.0; 9], &validation);
    let outcome = train(&parameters, data, model(&parameters, 1), 1, &mut |progress| {
        if let Progress::Batch { batch, batches: count, .. } = progress {
            batches.push((*batch, *count));
        }
        ControlFlow::Continue(())
    });
    let outcome = outcome.expect("outcome");
    assert_eq!(batches, [(0, 3), (1, 3), (2, 3)]);
    let row = outcome.history[0];
    // The only validation batch has one row: no contrastive loss, and no area.
    assert_eq!(row.validation.clip, 0.0);
    assert!(row.validation.image_auroc.is_nan());
    assert!(row.train.clip > 0.0);
}

#[test]
fn a_weight_of_zero_leaves_its_checkpoint_out() {
    let parameters = TrainParameters { clip_loss_weight: 0.0, epochs: 2, ..parameters() };
    let outcome = run(&parameters, [8, 4], 1).expect("outcome");
    assert_eq!(outcome.best.keys().copied().collect::<Vec<_>>(), [Best::BestBoth, Best::BestPred]);
    let [both, prediction] = [Best::BestBoth, Best::BestPred].map(|best| &outcome.best[&best]);
    assert_eq!((both.epoch, bytes(both)), (prediction.epoch, bytes(prediction)));
}

#[test]
fn warm_up_and_patience_end_training() {
    let parameters = TrainParameters { es_warmup: 2, es_patience: 1, lr: 10.0, epochs: 40, ..parameters() };
    let outcome = run(&parameters, [8, 4], 1).expect("outcome");
    assert!(outcome.stopped_early);
    assert!(outcome.history.len() < 40);
    assert!(outcome.best.values().all(|checkpoint| checkpoint.epoch >= 2));
}

#[test]
fn a_prediction_with_stored_tensors_equals_the_checkpoint() {
    let parameters = parameters();
    let outcome = run(&parameters, [8, 5], 2).expect("outcome");
    let best = &outcome.best[&Best::BestBoth];
    let stored = parse_safetensors(&bytes(best)).expect("tensors");
    let settings = parameters.model_settings();
    let predictor = Predictor::new(&architecture(), &settings, &towers(), &stored, &Device::Cpu);
    let predictor = predictor.expect("predictor");
    let validation = Toy::new("validation", 5);
    let planes: Vec<_> = (0..5).map(|row| validation.planes(row, None).expect("planes")).collect();
    let planes: Vec<&[f32]> = planes.iter().map(AsRef::as_ref).collect();
    let found = predictor.predict(&planes, &PlainPixels).expect("probabilities");
    for (a, b) in found.iter().zip(&best.validation) {
        assert!((a - b).abs() < 1e-6, "{found:?} against {:?}", best.validation);
    }

    let mut incomplete = stored.clone();
    incomplete.remove("classifier_text.bias");
    let error = Predictor::new(&architecture(), &settings, &towers(), &incomplete, &Device::Cpu);
    assert_eq!(error.expect_err("incomplete").to_string(), "tensor `classifier_text.bias` is missing");
}

/// Nodules that count how often they are asked for.
struct Counted {
    toy: Toy,
    planes: AtomicUsize,
    tokens: AtomicUsize,
}

impl Counted {
    fn new(name: &str, count: usize) -> Self {
        Self { toy: Toy::new(name, count), planes: AtomicUsize::new(0), tokens: AtomicUsize::new(0) }
    }

    fn counts(&self) -> [usize; 2] {
        [self.planes.load(Ordering::Relaxed), self.tokens.load(Ordering::Relaxed)]
    }
}

impl Examples for Counted {
    fn count(&self) -> usize {
        self.toy.count()
    }

    fn malignant(&self, row: usize) -> bool {
        self.toy.malignant(row)
    }

    fn planes(&self, row: usize, _augment: Option<&mut Generator>) -> Result<Cow<'_, [f32]>, SourceError> {
        self.planes.fetch_add(1, Ordering::Relaxed);
        self.toy.planes(row, None)
    }

    fn tokens(&self, row: usize, augment: Option<&mut Generator>) -> Result<Vec<u32>, SourceError> {
        self.tokens.fetch_add(1, Ordering::Relaxed);
        self.toy.tokens(row, augment)
    }
}

/// Outcome of two epochs, and how often planes and tokens of 8 training and 4 validation nodules were asked for.
fn counted(parameters: &TrainParameters) -> (Outcome, [[usize; 2]; 2]) {
    let (training, validation) = (Counted::new("training", 8), Counted::new("validation", 4));
    let weights = [1.0; 8];
    let data = FoldData {
        train: &training,
        sample_weights: &weights,
        class_weights: [0.5, 0.5],
        validation: &validation,
        pixels: &StillPixels,
    };
    let outcome = train(parameters, data, model(parameters, 1), 1, &mut go).expect("outcome");
    (outcome, [training.counts(), validation.counts()])
}

/// Planes as images that nothing shifts.
struct StillPixels;

impl MakePixels for StillPixels {
    fn write(
        &self,
        planes: &[f32],
        _shift: Option<&mut Generator>,
        pixels: &mut [f32],
    ) -> Result<(), SourceError> {
        PlainPixels.write(planes, None, pixels)
    }
}

#[test]
fn a_tower_that_does_not_change_sees_what_does_not_change_once() {
    let still = TrainParameters { epochs: 2, jitter: 0, text_augmentation: Some(false), ..parameters() };
    let (vision, text) = (Encoder::Vision, Encoder::Text);
    let table = [
        (TrainParameters { tuning: Tuning::Pt, ..still.clone() }, [[8, 8], [4, 4]]),
        (TrainParameters { tuning: Tuning::Pt, jitter: 1, ..still.clone() }, [[16, 8], [4, 4]]),
        (
            TrainParameters { tuning: Tuning::Pt, text_augmentation: Some(true), ..still.clone() },
            [[8, 16], [4, 4]],
        ),
        (TrainParameters { encoder: vision, ..still.clone() }, [[16, 8], [8, 4]]),
        (TrainParameters { encoder: text, ..still.clone() }, [[8, 16], [4, 8]]),
        (still.clone(), [[16, 16], [8, 8]]),
        (TrainParameters { tuning: Tuning::Ft, ..still }, [[16, 16], [8, 8]]),
    ];
    for (parameters, expected) in table {
        assert_eq!(counted(&parameters).1, expected, "{:?} {:?}", parameters.tuning, parameters.encoder);
    }
}

#[test]
fn known_embeddings_change_nothing_but_rounding() {
    let jitter = |jitter| TrainParameters {
        tuning: Tuning::Pt,
        text_augmentation: Some(false),
        lr: 5e-3,
        jitter,
        ..parameters()
    };
    let [(once, _), (always, _)] = [0, 1].map(|shift| counted(&jitter(shift)));
    for (a, b) in once.history.iter().zip(&always.history) {
        assert!((a.train.loss - b.train.loss).abs() < 1e-5, "{a:?} {b:?}");
        assert!((a.validation.loss - b.validation.loss).abs() < 1e-5, "{a:?} {b:?}");
    }
    assert!(once.history[2].validation.prediction < once.history[0].validation.prediction);
}

#[test]
fn embedding_can_be_cancelled() {
    let parameters = TrainParameters { tuning: Tuning::Pt, ..parameters() };
    let (training, validation) = (Toy::new("training", 8), Toy::new("validation", 4));
    let data = fold(&training, &[1.0; 8], &validation);
    let error = train(&parameters, data, model(&parameters, 1), 1, &mut |progress| match progress {
        Progress::Embedded { rows: 4, of: 4 } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(error.expect_err("cancelled"), TrainError::Cancelled { epoch: 0 }));
}

#[test]
fn a_loss_that_is_not_finite_is_an_error_that_says_where() {
    let parameters = TrainParameters { batch_size: 2, ..parameters() };
    let (training, mut validation) = (Toy::new("training", 4), Toy::new("validation", 5));
    validation.poison = Some(f32::NAN);
    let data = fold(&training, &[1.0; 4], &validation);
    let error = train(&parameters, data, model(&parameters, 1), 1, &mut go).expect_err("not finite");
    assert!(
        matches!(error, TrainError::NotFinite { epoch: 0, phase: "validation", batch: 2, .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("epoch 0, validation batch 2") && text.contains("image NaN"), "{text}");
}

#[test]
fn cancelling_stops_at_once() {
    let parameters = parameters();
    let (training, validation) = (Toy::new("training", 8), Toy::new("validation", 4));
    let data = fold(&training, &[1.0; 8], &validation);
    let mut seen = 0;
    let error = train(&parameters, data, model(&parameters, 1), 1, &mut |_| {
        seen += 1;
        if seen == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    // Two batches and the epoch's row, then the next epoch's first batch.
    assert!(matches!(error.expect_err("cancelled"), TrainError::Cancelled { epoch: 1 }));
}

#[test]
fn data_that_does_not_fit_is_refused() {
    let parameters = parameters();
    let (training, validation) = (Toy::new("training", 4), Toy::new("validation", 0));
    let none = fold(&training, &[1.0; 4], &validation);
    let training_only = Toy::new("validation", 2);
    let weights = fold(&training, &[1.0; 3], &training_only);
    let mut classes = fold(&training, &[1.0; 4], &training_only);
    classes.class_weights = [1.0, 0.0];
    let negative = fold(&training, &[1.0, -1.0, 1.0, 1.0], &training_only);
    for (data, message) in [
        (none, "4 training and 0 validation rows"),
        (weights, "4 training rows but 3 sample weights"),
        (classes, "the class weights [1.0, 0.0]"),
        (negative, "the sample weights of the training rows"),
    ] {
        let error = Trainer::new(&parameters, data, model(&parameters, 1), 1).err().expect("refused");
        assert!(error.to_string().contains(message), "{error}");
    }
}
