//! Trained models in the forms that the published scripts read and write.

mod calibrator;
mod checkpoint;
mod experiment;

use pipe_engine::export::Export;

/// All forms.
pub static EXPORTS: &[Export] = &[
    Export {
        name: "pt",
        kind: "train",
        summary: "each checkpoint as NAME.pt: the whole model, under the reference's names, for torch.load",
        write: checkpoint::write,
    },
    Export {
        name: "experiment",
        kind: "train",
        summary: "an experiment folder as the published training leaves it: args.txt, fold_k/best_*.pt, and \
                  fold_k/cal_k.pkl of the calibrators that the pipeline has",
        write: experiment::write,
    },
];
