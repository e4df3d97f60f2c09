use super::*;

#[test]
fn the_defaults_are_sound_and_survive_being_written() {
    let parameters = TrainParameters::default();
    assert_eq!(parameters.validate(), []);
    let text = serde_json::to_string(&parameters).expect("text");
    assert_eq!(serde_json::from_str::<TrainParameters>(&text).expect("parameters"), parameters);
    assert_eq!(serde_json::from_str::<TrainParameters>("{}").expect("parameters"), parameters);
}

#[test]
fn unknown_and_misspelt_parameters_are_refused() {
    for text in [r#"{"learning_rate": 1}"#, r#"{"tuning": "full"}"#, r#"{"architecture": {"depth": 2}}"#] {
        assert!(serde_json::from_str::<TrainParameters>(text).is_err(), "{text}");
    }
    let text = r#"{"tuning": "pt", "position": "half-up", "params": ["q", "o"], "weighted": "semantic"}"#;
    let parameters: TrainParameters = serde_json::from_str(text).expect("parameters");
    assert_eq!(parameters.model_settings().lora.projections, [Projection::Q, Projection::O]);
}

#[test]
fn every_problem_is_named() {
    let table = [
        (r#"{"r": 0}"#, "`r` is 0, not between 1 and 4096"),
        (r#"{"out_dim": 255}"#, "`out_dim` is 255, but the attention's hidden layer is half of it"),
        (r#"{"lr": 0}"#, "`lr` is 0, not a finite number above 0"),
        (r#"{"dropout": 1.5}"#, "`dropout` is 1.5, not between 0 and 1"),
        (r#"{"weight_decay": -1}"#, "`weight_decay` is -1, not a finite number of at least 0"),
        (r#"{"epochs": 3, "es_warmup": 3}"#, "`es_warmup` is 3, not less than `epochs` 3: no checkpoint"),
        (r#"{"params": ["q", "v", "q"]}"#, "`params` names a projection twice"),
        (r#"{"params": []}"#, "`params` is empty, which leaves tuning `lora` without adapters"),
        (
            r#"{"clip_min": -1000.0, "clip_max": -1000.0}"#,
            "`clip_max` is -1000, not a finite number above `clip_min` -1000",
        ),
        (r#"{"random_gamma": 11.0}"#, "`random_gamma` is 11, not between 0 and 10"),
        (
            r#"{"clip_loss_weight": 0, "img_loss_weight": 0, "text_loss_weight": 0}"#,
            "`clip_loss_weight` is 0 like the other loss weights: nothing to train",
        ),
        (
            r#"{"architecture": {"vision": {"width": 65}}}"#,
            "`architecture` is impossible: vision.width is 65, not a multiple of 64",
        ),
    ];
    for (text, expected) in table {
        let parameters: TrainParameters = serde_json::from_str(text).expect("parameters");
        let problems: Vec<String> = parameters.validate().iter().map(ToString::to_string).collect();
        assert_eq!(problems, [expected], "{text}");
    }
    let several: TrainParameters = serde_json::from_str(r#"{"r": 0, "ga": 0}"#).expect("parameters");
    assert_eq!(several.validate().len(), 2);
}

#[test]
fn a_number_that_is_none_is_refused() {
    let parameters = TrainParameters { tau: f64::NAN, lr: f64::INFINITY, ..TrainParameters::default() };
    let names: Vec<_> = parameters.validate().iter().map(|problem| problem.name).collect();
    assert_eq!(names, ["lr", "tau"]);
}

#[test]
fn what_does_not_count_is_settled_and_what_counts_is_kept() {
    let odd = TrainParameters { r: 8, random_gamma: 0.5, reverse_max: 7, ..TrainParameters::default() };
    let settled = |tuning, augmentation, text_augmentation| {
        let mut parameters = TrainParameters { tuning, augmentation, text_augmentation, ..odd.clone() };
        parameters.settle();
        (parameters.r, parameters.random_gamma, parameters.reverse_max, parameters.text_augmentation)
    };
    assert_eq!(settled(Tuning::Lora, true, None), (8, 0.5, 7, Some(true)));
    assert_eq!(settled(Tuning::Ft, false, None), (2, 0.2, 7, Some(true)));
    assert_eq!(settled(Tuning::Pt, false, None), (2, 0.2, 2, Some(false)));
}

#[test]
fn texts_are_augmented_unless_only_heads_are_trained() {
    let with = |tuning, text_augmentation| {
        let parameters = TrainParameters { tuning, text_augmentation, ..TrainParameters::default() };
        parameters.text_augmentation().is_some()
    };
    assert!(with(Tuning::Ft, None) && with(Tuning::Lora, None) && !with(Tuning::Pt, None));
    assert!(with(Tuning::Pt, Some(true)) && !with(Tuning::Ft, Some(false)));
}
