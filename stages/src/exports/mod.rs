//! Trained models in the forms that the published scripts read and write.

mod calibrator;
mod checkpoint;
mod experiment;
mod picture;
mod volumes;

use pipe_plugin::export::Export;

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
        summary: "an experiment folder as the published training leaves it: args.txt, fold_k/best_*.pt and ckpt.pt (the \
                  last state), and fold_k/cal_k.pkl of the calibrators that the pipeline has",
        write: experiment::write,
    },
    Export {
        name: "pt",
        kind: "crop",
        summary: "each volume as {pid}_{nodule_id}.pt: a tensor f32 (P, P, P), as the published pipeline saves it",
        write: volumes::tensors,
    },
    Export {
        name: "nii",
        kind: "crop",
        summary: "each volume as {pid}_{nodule_id}.nii.gz, which lies where the nodule is",
        write: volumes::nifti,
    },
    Export {
        name: "png",
        kind: "crop",
        summary: "a picture of each volume's nine planes, from -1000 HU (black) to 500 HU (white)",
        write: volumes::pictures_of_volumes,
    },
    Export {
        name: "png",
        kind: "slice",
        summary: "a picture of each nodule's nine planes, as models see them",
        write: volumes::pictures_of_slices,
    },
];
