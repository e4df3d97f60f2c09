//! PyTorch's files as data: state dicts, trees of modules, single tensors; and joblib's files of scikit-learn's models.
//!
//! Nothing in a file is ever executed, and every size that it claims is checked against the file before
//! memory is taken. The crate knows nothing of models or scans.

// Numbers here come from files that others have written.
#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]

pub mod archive;
pub mod joblib;
pub mod numpy;
pub mod pickle;
pub mod pickle_write;
pub mod tensor;
pub mod write;

/// Tensors by name, in the order of their names.
pub type Tensors = std::collections::BTreeMap<String, candle_core::Tensor>;
