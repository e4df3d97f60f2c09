//! The shipped files that a project starts from.

use pipe_cli::Starter;

/// What `pipe init` writes.
pub(crate) const STARTERS: &[Starter] = &[
    ("pipelines/phantom.toml", include_str!("../pipelines/phantom.toml")),
    ("pipelines/nlst.toml", include_str!("../pipelines/nlst.toml")),
    ("pipelines/nlst-dicom.toml", include_str!("../pipelines/nlst-dicom.toml")),
    ("pipelines/infer.toml", include_str!("../pipelines/infer.toml")),
    ("pipelines/zero-shot.toml", include_str!("../pipelines/zero-shot.toml")),
    ("pipelines/prompts.toml", include_str!("../pipelines/prompts.toml")),
    ("pipelines/control.toml", include_str!("../pipelines/control.toml")),
    ("pipelines/sample.toml", include_str!("../pipelines/sample.toml")),
    ("dataset_csv/sample.csv", include_str!("../dataset_csv/sample.csv")),
    ("dataset_csv/README.md", include_str!("../dataset_csv/README.md")),
    (".gitignore", "/.pipe/\n/results/\n"),
];
