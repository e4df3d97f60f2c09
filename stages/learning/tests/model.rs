//! The model against the reference's (SPEC section 4): towers, embeddings, losses, logits, every
//! gradient and three AdamW steps, for all tunings and both weightings.
//!
//! The fixtures' gradients are those of the first step with class weights (`semantic`); embeddings and
//! parameters are those after that case's three steps.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Tensor};
use common::{Batch, batch, expected, fixture, initial, norm, relative, settings, towers, values};
use pipe_learning::clip::dropout::Dropout;
use pipe_learning::clip::frozen_weights::FrozenWeights;
use pipe_learning::clip::inputs::{Images, Texts};
use pipe_learning::clip::losses::{classification, contrastive};
use pipe_learning::clip::model::{Model, ModelSettings, Output, Tuning};
use pipe_learning::clip::optimiser::AdamW;
use pipe_learning::clip::text::Tokens;
use pipe_learning::clip::{Operations, Tensors};
use serde_json::Value;

const TUNINGS: [(&str, Tuning); 3] = [("ft", Tuning::Ft), ("pt", Tuning::Pt), ("lora", Tuning::Lora)];
/// The reference's numbers are asked of both.
const OPERATIONS: [Operations; 2] = [Operations::Fused, Operations::Plain];
const CLASS_WEIGHTS: [f64; 2] = [0.25, 0.75];
const LEARNING_RATE: f64 = 1e-4;

fn record() -> Value {
    serde_json::from_slice(&std::fs::read(fixture("expected.json")).expect("json")).expect("record")
}

fn model(operations: Operations, name: &str, tuning: Tuning) -> Model {
    let towers = towers();
    let (added, settings) = (initial(name), settings(tuning));
    Model::trainable_with(operations, &towers.architecture, &settings, &towers.tensors, &added, &Device::Cpu)
        .expect("model")
}

/// Every way of computing with every tuning.
fn ways() -> impl Iterator<Item = (Operations, &'static str, Tuning)> {
    OPERATIONS.into_iter().flat_map(|operations| TUNINGS.map(|(name, tuning)| (operations, name, tuning)))
}

fn forward(model: &Model, batch: &Batch) -> Output {
    let tokens = Tokens::new(&batch.tokens, &model.architecture().text, &Device::Cpu).expect("tokens");
    model.clamp_logit_scale().expect("clamp");
    model
        .forward(&Images::Pixels(batch.pixels.clone()), &Texts::Tokens(tokens), Dropout::off())
        .expect("forward")
}

/// The reference's embeddings: what the heads give, before they are scaled to length 1.
fn features(model: &Model, batch: &Batch) -> [(&'static str, Tensor); 2] {
    let tokens = Tokens::new(&batch.tokens, &model.architecture().text, &Device::Cpu).expect("tokens");
    let image =
        model.image_features(&Images::Pixels(batch.pixels.clone()), Dropout::off()).expect("image features");
    [
        ("image_embeds", image),
        ("text_embeds", model.text_features(&Texts::Tokens(tokens), Dropout::off()).expect("text")),
    ]
}

/// Contrastive and prediction loss.
fn losses(output: &Output, malignant: &[bool], weights: Option<[f64; 2]>) -> [Tensor; 2] {
    let image = classification(&output.image_logits, malignant, weights).expect("image loss");
    let text = classification(&output.text_logits, malignant, weights).expect("text loss");
    let prediction = ((image + text).expect("sum") * 0.5).expect("mean");
    [contrastive(&output.pair_logits).expect("contrastive loss"), prediction]
}

fn gradients(model: &Model, losses: &[Tensor; 2]) -> Tensors {
    let store = (&losses[0] + &losses[1]).expect("loss").backward().expect("backward");
    let of = |(name, variable): (&String, &candle_core::Var)| {
        Some((name.clone(), store.get(variable.as_tensor())?.clone()))
    };
    model.variables().iter().filter_map(of).collect()
}

fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().expect("number") as f32],
    }
}

/// Splits off what has a true gradient of zero: key biases and the bias under the softmax over slices.
/// Returns (values that count, values that must vanish).
fn split_vanishing(name: &str, values: &[f32]) -> (Vec<f32>, Vec<f32>) {
    if name.ends_with("in_proj_bias") {
        let third = values.len() / 3;
        let counting = [&values[..third], &values[2 * third..]].concat();
        (counting, values[third..2 * third].to_vec())
    } else if name == "image_projection.attention.2.bias" {
        (Vec::new(), values.to_vec())
    } else {
        (values.to_vec(), Vec::new())
    }
}

fn length(values: &[f32]) -> f64 {
    norm(values.iter().map(|&x| f64::from(x)))
}

#[test]
fn gradients_of_the_towers_hold_on_to_no_graph() {
    let (model, batch) = (model(Operations::Fused, "ft", Tuning::Ft), batch());
    let output = forward(&model, &batch);
    let [clip, prediction] = losses(&output, &batch.malignant, None);
    let found = (clip + prediction).expect("loss").backward().expect("backward");
    let towers = model.variables().iter().filter(|(name, _)| name.contains("resblocks"));
    let mut count = 0;
    for (name, variable) in towers {
        assert!(!found.get(variable.as_tensor()).expect("a gradient").track_op(), "{name}");
        count += 1;
    }
    assert_eq!(count, 2 * 2 * 12);
}

#[test]
fn bare_towers_equal_the_reference() {
    for operations in OPERATIONS {
        let (model, batch) = (model(operations, "pt", Tuning::Pt), batch());
        let images = batch.pixels.get(0).expect("first nodule");
        let image = model.image_tower(&images, Dropout::off()).expect("image tower");
        let tokens = Tokens::new(&batch.tokens, &model.architecture().text, &Device::Cpu).expect("tokens");
        let text = model.text_tower(&tokens, Dropout::off()).expect("text tower");
        let reference = expected("tower.");
        for (name, found) in [("image", image), ("text", text)] {
            let difference = relative(&values(&found), &values(&reference[name]));
            assert!(difference < 1e-5, "{operations:?} {name}: {difference:e}");
        }
    }
}

#[test]
fn trained_tensors_are_the_reference_ones() {
    let record = record();
    for (name, tuning) in TUNINGS {
        let names: BTreeSet<&str> =
            record["trainable"][name].as_array().expect("names").iter().filter_map(Value::as_str).collect();
        let model = model(Operations::Fused, name, tuning);
        let found: BTreeSet<&str> = model.variables().keys().map(String::as_str).collect();
        assert_eq!(found, names, "{name}");
    }
}

#[test]
fn first_gradients_equal_the_reference() {
    let (record, batch) = (record(), batch());
    for (operations, name, tuning) in ways() {
        let model = model(operations, name, tuning);
        let output = forward(&model, &batch);
        let reference = expected(&format!("{name}."));
        let gradients = gradients(&model, &losses(&output, &batch.malignant, Some(CLASS_WEIGHTS)));
        assert_eq!(
            gradients.keys().collect::<Vec<_>>(),
            model.variables().keys().collect::<Vec<_>>(),
            "{name}: every trained tensor has a gradient"
        );
        check_gradients(name, &model, &gradients, &reference, &record["grad_norm"][name]);
    }
}

fn check_gradients(case: &str, model: &Model, gradients: &Tensors, reference: &Tensors, norms: &Value) {
    let mut whole = 0;
    for (name, gradient) in gradients {
        let found = values(gradient);
        let norm = norms[name].as_f64().expect("norm");
        let (counting, vanishing) = split_vanishing(name, &found);
        let scale = length(&values(model.variables()[name].as_tensor())).max(1.0);
        for value in &vanishing {
            assert!(f64::from(value.abs()) < 1e-7 * scale, "{case} {name}: {value:e} is not zero");
        }
        if counting.is_empty() {
            continue;
        }
        // A norm is known for every tensor, whole gradients for all but the largest.
        assert!((length(&found) - norm).abs() < 1e-3 * norm, "{case} {name}: {} {norm}", length(&found));
        if let Some(expected) = reference.get(&format!("grad.{name}")) {
            let difference = relative(&counting, &split_vanishing(name, &values(expected)).0);
            assert!(difference < 1e-3, "{case} {name}: {difference:e}");
            whole += 1;
        }
    }
    assert!(whole + 6 >= gradients.len(), "{case}: only {whole} of {} compared", gradients.len());
}

#[test]
fn three_steps_and_validation_equal_the_reference() {
    let (record, batch) = (record(), batch());
    for (operations, name, tuning) in ways() {
        for weighting in ["diagnosis", "semantic"] {
            let case = format!("{name}.{weighting}");
            let model = model(operations, name, tuning);
            let start = model.snapshot().expect("start");
            let steps = record["cases"][&case].as_array().expect("steps");
            let mut optimiser = AdamW::new(LEARNING_RATE, 0.1);
            let weights = (weighting == "semantic").then_some(CLASS_WEIGHTS);
            for step in &steps[..3] {
                let output = forward(&model, &batch);
                let losses = losses(&output, &batch.malignant, weights);
                check_step(&case, step, &output, &losses);
                let gradients = gradients(&model, &losses);
                optimiser.step(model.variables(), &gradients).expect("step");
            }
            let output = forward(&model, &batch);
            check_step(&case, &steps[3], &output, &losses(&output, &batch.malignant, Some(CLASS_WEIGHTS)));
            if weighting == "semantic" {
                check_embeddings(name, &model, &batch);
                check_parameters(name, &model, &start, &record["param_norm_after_3"][name]);
            }
        }
    }
}

fn check_embeddings(case: &str, model: &Model, batch: &Batch) {
    let reference = expected(&format!("{case}."));
    for (name, found) in features(model, batch) {
        let difference = relative(&values(&found), &values(&reference[name]));
        assert!(difference < 1e-5, "{case} {name}: {difference:e}");
    }
}

fn check_step(case: &str, step: &Value, output: &Output, losses: &[Tensor; 2]) {
    let found = BTreeMap::from([
        ("loss_clip", &losses[0]),
        ("loss_pred", &losses[1]),
        ("logits_img", &output.image_logits),
        ("logits_text", &output.text_logits),
    ]);
    for (name, tensor) in found {
        if step[name].is_null() {
            continue;
        }
        let difference = relative(&values(tensor), &numbers(&step[name]));
        assert!(difference < 1e-5, "{case} {name}: {difference:e}");
    }
}

fn check_parameters(case: &str, model: &Model, start: &Tensors, norms: &Value) {
    let reference = expected(&format!("{case}.after3."));
    for (name, tensor) in model.snapshot().expect("snapshot") {
        let found = values(&tensor);
        let (counting, vanishing) = split_vanishing(&name, &found);
        let (_, vanishing_start) = split_vanishing(&name, &values(&start[&name]));
        for (value, start) in vanishing.iter().zip(vanishing_start) {
            let moved = f64::from((value - start).abs());
            assert!(moved < 3.0 * LEARNING_RATE * 3.0, "{case} {name}: moved by {moved:e}");
        }
        if counting.is_empty() {
            continue;
        }
        let norm = norms[&name].as_f64().expect("norm");
        assert!((length(&found) - norm).abs() < 1e-4 * norm, "{case} {name}: {} {norm}", length(&found));
        if let Some(expected) = reference.get(&name) {
            let difference = relative(&counting, &split_vanishing(&name, &values(expected)).0);
            assert!(difference < 1e-4, "{case} {name}: {difference:e}");
        }
    }
}

#[test]
fn weights_that_are_published_in_sixteen_bits_lose_nothing_in_them() {
    let (towers, added, batch) = (towers(), initial("lora"), batch());
    let run = |frozen_weights: FrozenWeights| -> (Vec<f32>, Vec<Vec<f32>>) {
        let settings = ModelSettings { frozen_weights, ..settings(Tuning::Lora) };
        let model = Model::trainable(&towers.architecture, &settings, &towers.tensors, &added, &Device::Cpu)
            .expect("model");
        let output = forward(&model, &batch);
        let gradients = gradients(&model, &losses(&output, &batch.malignant, None));
        assert_eq!(gradients.len(), model.variables().len());
        (values(&output.image_logits), gradients.values().map(values).collect())
    };
    let (whole, half) = (run(FrozenWeights::F32), run(FrozenWeights::F16));
    assert!(whole == half, "other numbers with the same weights");
    let (coarse, _) = run(FrozenWeights::Bf16);
    assert_ne!(coarse, whole.0, "bf16 has fewer digits than the weights");
    for (coarse, exact) in coarse.iter().zip(&whole.0) {
        assert!((coarse - exact).abs() < 0.05 * (1.0 + exact.abs()), "{coarse} {exact}");
    }
}
