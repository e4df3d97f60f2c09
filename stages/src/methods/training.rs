//! Of the kinds that make models: training, calibration, and models that were trained elsewhere.

use pipe_plugin::stage::{InstanceAccount, Sentence, StageAccount, StageError, Topic};
use pipe_plugin::table::Table;
use serde_json::Value;

use super::data::patients;
use super::{Told, between, counted, param};

pub(super) fn train(account: &StageAccount<'_>) -> Told {
    let models = model_files(account);
    let mut told = vec![
        Sentence::new(Topic::Model, model(account, &models)),
        Sentence::new(Topic::Training, optimisation(account)),
        Sentence::new(Topic::Training, loss(account)),
        Sentence::new(Topic::Training, augmentation(account)),
        Sentence::new(Topic::Selection, stopping(account)?),
        Sentence::new(Topic::ClassImbalance, imbalance(account, &models)),
        Sentence::new(
            Topic::Availability,
            "The weights of the folds' models are results of the run, as safetensors or as PyTorch reads them (pipe get).",
        ),
    ];
    told.extend(initialisation(account, &models).map(|text| Sentence::new(Topic::Initialisation, text)));
    told.extend(adapters(account).map(|text| Sentence::new(Topic::Training, text)));
    told.extend(cohorts(account)?.map(|text| Sentence::new(Topic::Participants, text)));
    if account.is("weighted", "semantic") {
        let text = "For the weights by which nodules were drawn, semantic features that are blank took their most frequent value.";
        told.push(Sentence::new(Topic::MissingData, text));
    }
    if account.is_from_outside("splits") {
        told.push(Sentence::new(
            Topic::Partitions,
            "Training and validation parts were given as lists of patients.",
        ));
    }
    if account.is("shuffle_labels", true) {
        let text = "Labels were permuted: this is a control run, whose models must be no better than chance on average.";
        told.push(Sentence::new(Topic::Training, text));
    }
    Ok(told)
}

fn model_file(instance: &InstanceAccount<'_>, name: &str) -> Option<Vec<u8>> {
    (instance.results.read)("model", name)
}

fn model_files(account: &StageAccount<'_>) -> Vec<Value> {
    let read = |one: &InstanceAccount<'_>| serde_json::from_slice(&model_file(one, "model.json")?).ok();
    account.instances.iter().filter_map(read).collect()
}

fn model(account: &StageAccount<'_>, models: &[Value]) -> String {
    let mut text = "A CLIP model: the image tower encodes nine planes of a nodule, whose embeddings attention pooling makes one; the text tower encodes \
                    the report; a classifier on each decides between benign and malignant."
        .to_string();
    if let Some(shape) = models.first().and_then(|model| model.get("architecture")) {
        let number = |path: &str| shape.pointer(path).map(ToString::to_string);
        if let (Some(layers), Some(width), Some(patch), Some(resolution)) = (
            number("/vision/layers"),
            number("/vision/width"),
            number("/vision/patch"),
            number("/vision/resolution"),
        ) {
            text.push_str(&format!(
                " The image tower is a vision transformer with {layers} layers of width {width} and patches of {patch} pixels, for images of {resolution} × {resolution}."
            ));
        }
        if let (Some(layers), Some(width), Some(context)) =
            (number("/text/layers"), number("/text/width"), number("/text/context"))
        {
            text.push_str(&format!(
                " The text tower has {layers} layers of width {width} and reads {context} tokens."
            ));
        }
    }
    text + &format!(" Both heads have embeddings of {} values.", param(account, "out_dim"))
}

fn initialisation(account: &StageAccount<'_>, models: &[Value]) -> Option<String> {
    let model = models.first()?;
    let random = model.pointer("/base_weights/random/seed");
    let file = model.pointer("/base_weights/file/digest").and_then(Value::as_str);
    let towers = match (random, file) {
        (Some(seed), _) => format!("The towers began with random weights (seed {seed})"),
        (None, Some(digest)) => format!("The towers began with the weights of a file (BLAKE3 {digest})"),
        (None, None) => return None,
    };
    Some(format!(
        "{towers}, the heads at random; the temperature of the logits began at {}.",
        param(account, "tau")
    ))
}

fn optimisation(account: &StageAccount<'_>) -> String {
    let what = match account.param("tuning").as_deref() {
        Some("ft") => "All weights were trained",
        Some("pt") => "Heads, classifiers and temperature were trained, with frozen towers",
        _ => "Heads, classifiers, temperature and low-rank adapters in frozen towers were trained",
    };
    let batches = match account.param("ga").as_deref() {
        None | Some("1") => String::new(),
        Some(batches) => format!(", gradients summed over {batches} batches"),
    };
    let schedule = match account.is("lr_schedule", "cosine") {
        true => ", falling to 0 as a cosine",
        false => "",
    };
    let warmup = match account.param("lr_warmup").as_deref() {
        None | Some("0") => String::new(),
        Some(epochs) => format!(", after a rise over {epochs} epochs"),
    };
    let clip = match account.param("gradient_clip").as_deref() {
        None | Some("0") => String::new(),
        Some(norm) => format!(" Gradients were clipped to a norm of {norm}."),
    };
    format!(
        "{what} by AdamW with a learning rate of {}{schedule}{warmup}, a weight decay of {} and batches of {} nodules{batches}.{clip}",
        param(account, "lr"),
        param(account, "weight_decay"),
        param(account, "batch_size"),
    )
}

fn loss(account: &StageAccount<'_>) -> String {
    let weighted = if account.is("weighted", "semantic") { ", weighted by class" } else { "" };
    let classifiers = format!(
        "the mean of the cross-entropies of the image classifier (weight {}) and of the text classifier (weight {}){weighted}",
        param(account, "img_loss_weight"),
        param(account, "text_loss_weight"),
    );
    let dropout = format!("Dropout of the text head was {}.", param(account, "dropout"));
    match account.param("clip_loss_weight").as_deref() {
        Some("0") => format!("The loss is {classifiers}. {dropout}"),
        weight => format!(
            "The loss is the sum of the contrastive loss of images and reports (weight {}, label smoothing 0.1) and {classifiers}. {dropout}",
            weight.unwrap_or_default(),
        ),
    }
}

fn adapters(account: &StageAccount<'_>) -> Option<String> {
    let towers = match account.param("encoder").as_deref() {
        Some("vision") => "the image tower",
        Some("text") => "the text tower",
        _ => "both towers",
    };
    let blocks = match account.param("position").as_deref() {
        None | Some("all") => "all layers".to_string(),
        Some(position) => format!("the layers “{position}”"),
    };
    account.is("tuning", "lora").then(|| {
        format!(
            "Adapters of rank {} (alpha {}, dropout {}) are at the projections {} of attention in {blocks} of {towers}.",
            param(account, "r"),
            param(account, "alpha"),
            param(account, "dropout_rate"),
            param(account, "params"),
        )
    })
}

fn augmentation(account: &StageAccount<'_>) -> String {
    let shift = match account.param("jitter").as_deref() {
        None | Some("0") => String::new(),
        Some(jitter) => format!(", in training shifted by up to {jitter} mm"),
    };
    let mut text = format!("Each plane shows a window of {} mm{shift}.", param(account, "crop_size"));
    if account.is("augmentation", true) {
        text.push_str(&format!(
            " In training volumes were flipped along each axis with probability {}, turned by up to {}° about each axis and stretched by up to a tenth, with noise of mean {} \
             and standard deviation {} and a gamma whose logarithm is at most {} from 0.",
            param(account, "random_flip_prob"),
            param(account, "random_affine_degree"),
            param(account, "random_noise_mean"),
            param(account, "random_noise_std"),
            param(account, "random_gamma"),
        ));
    }
    if account.is("text_augmentation", true) {
        text.push_str(&format!(
            " In training half of the texts, drawn anew each time, were reworded, in two steps that each happen four times out of five: up to {} phrases replaced by synonyms, \
             and a run of words removed that is {} of the text.",
            param(account, "reverse_max"),
            param(account, "random_crop_prob"),
        ));
    }
    text
}

fn imbalance(account: &StageAccount<'_>, models: &[Value]) -> String {
    let by = match account.is("weighted", "semantic") {
        true => "the rarity of their semantic features",
        false => "the inverse size of their class",
    };
    let mut text = format!("Nodules were drawn with replacement, in proportion to {by}.");
    let weights = |model: &Value| {
        let weights = model.get("class_weights")?.as_array()?.iter().filter_map(Value::as_f64);
        Some(weights.map(|weight| format!("{weight:.3}")).collect::<Vec<_>>().join(" / "))
    };
    let mut distinct: Vec<String> = models.iter().filter_map(weights).collect();
    distinct.dedup();
    if !distinct.is_empty() {
        text.push_str(&format!(
            " Losses on validation parts were weighted by class, benign / malignant: {}.",
            distinct.join(", ")
        ));
    }
    text
}

/// When training stops, and which states are kept.
fn stopping(account: &StageAccount<'_>) -> Result<String, StageError> {
    let most: Option<usize> = account.param("epochs").and_then(|epochs| epochs.parse().ok());
    let (mut trained, mut early) = (Vec::new(), 0);
    for bytes in account.instances.iter().filter_map(|one| model_file(one, "history.csv")) {
        let epochs = Table::parse("history.csv", &bytes)?.rows().len();
        early += usize::from(most.is_some_and(|most| epochs < most));
        trained.push(epochs);
    }
    let warmup = match account.param("es_warmup").as_deref() {
        None | Some("0") => String::new(),
        Some(epochs) => format!(", the first {epochs} epochs aside"),
    };
    let ended = match between(&trained) {
        Some(epochs) => format!(
            " {early} of {} ended before the last epoch; folds were trained for {epochs} of at most {} epochs.",
            counted(trained.len(), "fold"),
            param(account, "epochs"),
        ),
        None => format!(" There were at most {} epochs.", param(account, "epochs")),
    };
    Ok(format!(
        "After each epoch the losses on the validation part were watched: of prediction, contrastive, and both. Training was to end once each that has a weight had at some time not \
         improved {} times in a row{warmup}. The state of the least value of each was kept.{ended}",
        param(account, "es_patience"),
    ))
}

/// How many patients and nodules folds were trained and validated on.
fn cohorts(account: &StageAccount<'_>) -> Result<Option<String>, StageError> {
    let (mut seen, mut validated, mut positive) = (Vec::new(), Vec::new(), Vec::new());
    for instance in &account.instances {
        if let Some(bytes) = model_file(instance, "training_patients.csv") {
            seen.push(patients(&bytes)?);
        }
        if let Some(bytes) = model_file(instance, "val_predictions.csv") {
            let table = Table::parse("val_predictions.csv", &bytes)?;
            let first = table.rows().first().and_then(|row| table.get(row, "checkpoint"));
            let rows = table.rows().iter().filter(|row| table.get(row, "checkpoint") == first);
            let labels: Vec<bool> =
                rows.map(|row| table.label(row, "malignant")).collect::<Result<_, _>>()?;
            validated.push(labels.len());
            positive.push(labels.iter().filter(|label| **label).count());
        }
    }
    let told = (between(&seen), between(&validated), between(&positive));
    let (Some(seen), Some(validated), Some(positive)) = told else { return Ok(None) };
    let folds = counted(account.instances.len(), "fold");
    Ok(Some(format!(
        "{folds}, each of {seen} patients in its training and validation parts together; validation parts have {validated} nodules, of which {positive} are malignant."
    )))
}

pub(super) fn calibrate(account: &StageAccount<'_>) -> Told {
    let number = |one: &InstanceAccount<'_>, name: &str| {
        let calibrator: Value = serde_json::from_slice(&(one.results.read)("calibrator", "")?).ok()?;
        usize::try_from(calibrator.get(name)?.as_u64()?).ok()
    };
    let numbers =
        |name: &str| account.instances.iter().filter_map(|one| number(one, name)).collect::<Vec<_>>();
    let cases = match (between(&numbers("n")), between(&numbers("positives"))) {
        (Some(cases), Some(positives)) => format!(" ({cases} cases, {positives} malignant)"),
        _ => String::new(),
    };
    Ok(vec![Sentence::new(
        Topic::Calibration,
        format!(
            "For each fold's model a beta calibration (free parameters “{}”) was fitted to the predictions of its state “{}” on that fold's validation part{cases}.",
            param(account, "kind"),
            param(account, "checkpoint"),
        ),
    )])
}

pub(super) fn import_experiment(account: &StageAccount<'_>) -> Told {
    let (mut models, mut calibrators) = (0, 0);
    for instance in &account.instances {
        let has = |fold: usize, file: &str| {
            (instance.results.read)("models", &format!("fold_{fold}/{file}")).is_some()
        };
        for fold in (0..).take_while(|fold| has(*fold, "model.json")) {
            models += 1;
            calibrators += usize::from(has(fold, "calibrator.json"));
        }
    }
    let models = if models == 0 { "Models".to_string() } else { counted(models, "model") };
    let mut told = vec![
        Sentence::new(Topic::Model, format!("{models} that another program had trained were taken over.")),
        Sentence::new(
            Topic::Availability,
            "The weights of the models that were taken over are results of the run.",
        ),
    ];
    if calibrators > 0 {
        let text = format!("{} came with the models.", counted(calibrators, "calibrator"));
        told.push(Sentence::new(Topic::Calibration, text));
    }
    if account.is("compat", "reference") {
        let text = "Checkpoints were read as the published script reads them, which adds the first fold's adapters, where there are any, a second time.";
        told.push(Sentence::new(Topic::Model, text));
    }
    Ok(told)
}
