//! Experiment folders as the published training leaves them (SPEC section 4): `args.txt`, and for each fold its
//! checkpoints and its calibrator.
//!
//! [`arguments`] reads what the script was called with, [`model`] turns a checkpoint's tensors into those of a model
//! here, and [`calibrator`] reads a pickled calibrator. All of it is data from elsewhere: nothing is executed.

pub(crate) mod arguments;
pub(crate) mod calibrator;
pub(crate) mod model;
