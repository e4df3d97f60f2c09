//! The shipped files that a project starts from.

use pipe_cli::Starter;

/// What `pipe init` writes.
pub(crate) const STARTERS: &[Starter] = &[
    ("pipelines/phantom.toml", include_str!("../pipelines/phantom.toml")),
    ("pipelines/nlst.toml", include_str!("../pipelines/nlst.toml")),
    ("pipelines/nlst-dicom.toml", include_str!("../pipelines/nlst-dicom.toml")),
    ("pipelines/infer.toml", include_str!("../pipelines/infer.toml")),
    ("pipelines/lidc.toml", include_str!("../pipelines/lidc.toml")),
    ("pipelines/lidc-train.toml", include_str!("../pipelines/lidc-train.toml")),
    ("pipelines/luna16.toml", include_str!("../pipelines/luna16.toml")),
    ("pipelines/zero-shot.toml", include_str!("../pipelines/zero-shot.toml")),
    ("pipelines/prompts.toml", include_str!("../pipelines/prompts.toml")),
    ("pipelines/control.toml", include_str!("../pipelines/control.toml")),
    ("pipelines/sample.toml", include_str!("../pipelines/sample.toml")),
    ("dataset_csv/sample.csv", include_str!("../dataset_csv/sample.csv")),
    ("dataset_csv/README.md", include_str!("../dataset_csv/README.md")),
    ("splits/README.md", include_str!("../splits/README.md")),
    ("splits/sample/fold_0/train_pid.csv", include_str!("../splits/sample/fold_0/train_pid.csv")),
    ("splits/sample/fold_0/val_pid.csv", include_str!("../splits/sample/fold_0/val_pid.csv")),
    ("splits/sample/fold_1/train_pid.csv", include_str!("../splits/sample/fold_1/train_pid.csv")),
    ("splits/sample/fold_1/val_pid.csv", include_str!("../splits/sample/fold_1/val_pid.csv")),
    ("splits/sample/fold_2/train_pid.csv", include_str!("../splits/sample/fold_2/train_pid.csv")),
    ("splits/sample/fold_2/val_pid.csv", include_str!("../splits/sample/fold_2/val_pid.csv")),
    ("splits/sample/fold_3/train_pid.csv", include_str!("../splits/sample/fold_3/train_pid.csv")),
    ("splits/sample/fold_3/val_pid.csv", include_str!("../splits/sample/fold_3/val_pid.csv")),
    ("splits/sample/fold_4/train_pid.csv", include_str!("../splits/sample/fold_4/train_pid.csv")),
    ("splits/sample/fold_4/val_pid.csv", include_str!("../splits/sample/fold_4/val_pid.csv")),
    ("examples/programs/detect.toml", include_str!("../examples/programs/detect.toml")),
    ("examples/programs/detect.py", include_str!("../examples/programs/detect.py")),
    ("examples/programs/plot.toml", include_str!("../examples/programs/plot.toml")),
    ("examples/programs/plot.sh", include_str!("../examples/programs/plot.sh")),
    (".gitignore", "/.pipe/\n/results/\n"),
];
