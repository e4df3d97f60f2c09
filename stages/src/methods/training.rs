//! Of the kinds that make models: training, calibration, and models that were trained elsewhere.

use pipe_plugin::stage::{InstanceAccount, Sentence, StageAccount, StageError, Topic};
use pipe_plugin::table::Table;
use serde_json::Value;

use super::data::patients;
use super::{between, counted, listed};

/// For kind `train`.
///
/// # Errors
/// Results that cannot be read.
pub fn train(account: &StageAccount<'_>) -> Result<Vec<Sentence>, StageError> {
    let models = model_files(account);
    let mut told = vec![
        Sentence::new(Topic::Model, model(account, &models)),
        Sentence::new(Topic::Initialisation, initialisation(account, &models)),
        Sentence::new(Topic::Training, optimisation(account)),
        Sentence::new(Topic::Training, augmentation(account)),
        Sentence::new(Topic::ClassImbalance, imbalance(account, &models)),
    ];
    told.extend(adapters(account).map(|text| Sentence::new(Topic::Training, text)));
    let files = "The weights of the folds' models are results of the run; `pipe get` gives them as safetensors, or as PyTorch reads them.";
    told.push(Sentence::new(Topic::Availability, files));
    told.extend(epochs(account)?.map(|text| Sentence::new(Topic::Selection, text)));
    told.extend(cohorts(account)?.map(|text| Sentence::new(Topic::Participants, text)));
    if account.is("shuffle_labels", true) {
        let text = "Labels were permuted: this is a control run, whose models must be no better than chance.";
        told.push(Sentence::new(Topic::Training, text));
    }
    Ok(told)
}

fn param(account: &StageAccount<'_>, name: &str) -> String {
    account.param(name).unwrap_or_else(|| "none".to_string())
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
        let number = |tower: &str, name: &str| {
            shape.get(tower).and_then(|tower| tower.get(name)).map(ToString::to_string)
        };
        if let (Some(layers), Some(width), Some(patch), Some(resolution)) = (
            number("vision", "layers"),
            number("vision", "width"),
            number("vision", "patch"),
            number("vision", "resolution"),
        ) {
            text.push_str(&format!(
                " The image tower is a vision transformer of {layers} blocks of width {width}, with patches of {patch} pixels in images of {resolution}."
            ));
        }
        if let (Some(layers), Some(width), Some(context)) =
            (number("text", "layers"), number("text", "width"), number("text", "context"))
        {
            text.push_str(&format!(
                " The text tower has {layers} blocks of width {width} and reads {context} tokens."
            ));
        }
    }
    text + &format!(" Both heads have embeddings of {} values.", param(account, "out_dim"))
}

fn initialisation(account: &StageAccount<'_>, models: &[Value]) -> String {
    let random = models.first().and_then(|model| model.pointer("/base_weights/random/seed"));
    let file =
        models.first().and_then(|model| model.pointer("/base_weights/file/digest")).and_then(Value::as_str);
    let towers = match (random, file) {
        (Some(seed), _) => format!("The towers began with random weights (seed {seed})."),
        (None, Some(digest)) => format!("The towers began with the weights of a file (BLAKE3 {digest})."),
        (None, None) => "The towers began with weights that were given.".to_string(),
    };
    format!(
        "{towers} The logits' temperature began at {}; heads were drawn at random.",
        param(account, "tau")
    )
}

fn optimisation(account: &StageAccount<'_>) -> String {
    let what = match account.param("tuning").as_deref() {
        Some("ft") => "all weights",
        Some("pt") => "the heads only, with frozen towers",
        _ => "the heads and low-rank adapters in frozen towers",
    };
    let batches = match account.param("ga").as_deref() {
        None | Some("1") => String::new(),
        Some(batches) => format!(", gradients summed over {batches} batches"),
    };
    let schedule = match account.param("lr_schedule").as_deref() {
        Some("cosine") => ", falling to 0 as a cosine",
        _ => "",
    };
    let warmup = match account.param("lr_warmup").as_deref() {
        None | Some("0") => String::new(),
        Some(epochs) => format!(" after a rise over {epochs} epochs"),
    };
    let clip = match account.param("gradient_clip").as_deref() {
        None | Some("0" | "0.0") => String::new(),
        Some(norm) => format!(" Gradients were clipped to a norm of {norm}."),
    };
    format!(
        "Trained were {what}, by AdamW with a learning rate of {}{schedule}{warmup}, a weight decay of {}, and batches of {} nodules{batches}, for at most {} \
         epochs.{clip} The loss is the sum of a contrastive loss (weight {}) and the mean of the cross-entropies of the image classifier (weight {}) and of \
         the text classifier (weight {}). Dropout of the text head was {}.",
        param(account, "lr"),
        param(account, "weight_decay"),
        param(account, "batch_size"),
        param(account, "epochs"),
        param(account, "clip_loss_weight"),
        param(account, "img_loss_weight"),
        param(account, "text_loss_weight"),
        param(account, "dropout"),
    )
}

fn adapters(account: &StageAccount<'_>) -> Option<String> {
    let towers = match account.param("encoder").as_deref() {
        Some("vision") => "the image tower",
        Some("text") => "the text tower",
        _ => "both towers",
    };
    let blocks = match account.param("position").as_deref() {
        None | Some("all") => "all blocks".to_string(),
        Some(position) => format!("the blocks `{position}`"),
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
    let mut text = format!(
        "In training the window of {} mm that each plane shows was shifted by up to {} mm.",
        param(account, "crop_size"),
        param(account, "jitter"),
    );
    if account.is("augmentation", true) {
        text.push_str(&format!(
            " Volumes were flipped along each axis with probability {}, turned by up to {}° about each axis and stretched, with noise of standard \
             deviation {} and a gamma of at most ±{} (logarithm).",
            param(account, "random_flip_prob"),
            param(account, "random_affine_degree"),
            param(account, "random_noise_std"),
            param(account, "random_gamma"),
        ));
    }
    if account.is("text_augmentation", true) {
        text.push_str(&format!(
            " Reports were reworded: up to {} phrases replaced by synonyms, and a share of {} of the words removed.",
            param(account, "reverse_max"),
            param(account, "random_crop_prob"),
        ));
    }
    text
}

fn imbalance(account: &StageAccount<'_>, models: &[Value]) -> String {
    let by = match account.param("weighted").as_deref() {
        Some("semantic") => "the rarity of its semantic features",
        _ => "the inverse size of its class",
    };
    let mut text = format!("Nodules were drawn with replacement, each in proportion to {by}.");
    let weights = |model: &Value| {
        let weights = model.get("class_weights")?.as_array()?;
        Some(
            weights
                .iter()
                .filter_map(Value::as_f64)
                .map(|weight| format!("{weight:.3}"))
                .collect::<Vec<_>>()
                .join(" and "),
        )
    };
    let weights: Vec<String> = models.iter().filter_map(weights).collect();
    if !weights.is_empty() {
        text.push_str(&format!(
            " Losses of validation were weighted by class, benign and malignant: {}.",
            listed(&weights)
        ));
    }
    text
}

/// How many epochs there were, and which state is taken.
fn epochs(account: &StageAccount<'_>) -> Result<Option<String>, StageError> {
    let mut trained = Vec::new();
    for instance in &account.instances {
        if let Some(bytes) = model_file(instance, "history.csv") {
            trained.push(Table::parse("history.csv", &bytes)?.rows().len());
        }
    }
    let trained = between(&trained)
        .map(|epochs| format!(" Folds were trained for {epochs} epochs."))
        .unwrap_or_default();
    Ok(Some(format!(
        "After each epoch the losses on the validation part were watched; training stopped when none had improved for {} epochs, and the states of the least \
         loss were kept.{trained}",
        param(account, "es_patience"),
    )))
}

/// How many patients and nodules folds were trained and validated on.
fn cohorts(account: &StageAccount<'_>) -> Result<Option<String>, StageError> {
    let (mut trained, mut validated, mut positive) = (Vec::new(), Vec::new(), Vec::new());
    for instance in &account.instances {
        if let Some(bytes) = model_file(instance, "training_patients.csv") {
            trained.push(patients(&bytes)?);
        }
        if let Some(bytes) = model_file(instance, "val_predictions.csv") {
            let table = Table::parse("val_predictions.csv", &bytes)?;
            let first = table.rows().first().and_then(|row| table.get(row, "checkpoint"));
            let rows = table.rows().iter().filter(|row| table.get(row, "checkpoint") == first);
            let labels: Result<Vec<bool>, _> = rows.map(|row| table.label(row, "malignant")).collect();
            let labels = labels?;
            validated.push(labels.len());
            positive.push(labels.iter().filter(|label| **label).count());
        }
    }
    let folds = counted(account.instances.len(), "fold");
    let (Some(trained), Some(validated), Some(positive)) =
        (between(&trained), between(&validated), between(&positive))
    else {
        return Ok(None);
    };
    Ok(Some(format!(
        "{folds}: trained on {trained} patients each, validated on {validated} nodules, of which {positive} are malignant."
    )))
}

/// For kind `calibrate`.
///
/// # Errors
/// None.
pub fn calibrate(account: &StageAccount<'_>) -> Result<Vec<Sentence>, StageError> {
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
            "Probabilities of each fold's model were calibrated by beta calibration (free parameters: {}), fitted to the predictions of checkpoint `{}` on that \
             fold's validation part{cases}.",
            param(account, "kind"),
            param(account, "checkpoint"),
        ),
    )])
}

/// For kind `import-experiment`.
///
/// # Errors
/// None.
pub fn import_experiment(account: &StageAccount<'_>) -> Result<Vec<Sentence>, StageError> {
    let reading = match account.is("compat", "reference") {
        true => " The published script's slip with the first fold's adapters was repeated.",
        false => "",
    };
    let text =
        format!("Models were trained by another program, and taken over with their calibrators.{reading}");
    Ok(vec![Sentence::new(Topic::Model, text)])
}
