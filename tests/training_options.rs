//! Options of training, as a user sets them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::Workspace;

/// The files of train's result.
fn trained(workspace: &Workspace, to: &str, settings: &[&str]) -> [String; 2] {
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    workspace.pipe_ok(&[&["run", "p.toml"][..], &settings].concat());
    workspace.pipe_ok(&[&["get", "p.toml", "train", "--to", to][..], &settings].concat());
    ["history.csv", "val_predictions.csv"].map(|name| workspace.read(&format!("{to}/{name}")))
}

#[test]
fn augmented_images_change_training_and_need_the_volumes_of_the_slices() {
    let workspace = Workspace::with_training(2);
    let plain = trained(&workspace, "plain", &[]);
    let volumes = "train.inputs.volumes=@crop";
    assert_eq!(
        trained(&workspace, "unused", &[volumes]),
        plain,
        "volumes that nobody asks for change nothing"
    );
    let augmented = trained(&workspace, "augmented", &["train.augmentation=true", volumes]);
    assert_ne!(augmented[0], plain[0]);
    let stronger = ["train.augmentation=true", volumes, "train.random_noise_std=0.3"];
    assert_ne!(trained(&workspace, "stronger", &stronger)[0], augmented[0]);

    let check = ["check", "p.toml", "--set", "train.augmentation=true"];
    let refused = workspace.pipe(&check);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("image augmentation needs the input `volumes`"), "{}", refused.stderr);

    let other = [
        "run",
        "p.toml",
        "--set",
        volumes,
        "--set",
        "train.augmentation=true",
        "--set",
        "train.clip_max=400",
    ];
    let refused = workspace.pipe(&other);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("`clip_max` is 400 in train and 500 in @slice.slices"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_frozen_tower_is_used_once_and_gives_the_same_when_resumed() {
    let workspace = Workspace::with_training(3);
    let still = ["train.tuning=pt", "train.jitter=0"];
    let [history, predictions] = trained(&workspace, "first", &still);
    let settings: Vec<&str> = still.iter().flat_map(|setting| ["--set", setting]).collect();
    workspace.pipe_ok(&[&["run", "p.toml", "--force", "train"][..], &settings].concat());
    workspace.pipe_ok(&[&["get", "p.toml", "train", "--to", "again"][..], &settings].concat());
    assert_eq!(workspace.read("again/history.csv"), history);
    assert_eq!(workspace.read("again/val_predictions.csv"), predictions);
}
