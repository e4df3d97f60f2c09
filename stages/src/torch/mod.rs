//! PyTorch's files as data: state dicts, trees of modules, single tensors; and joblib's files of scikit-learn's models.
//!
//! Nothing in a file is ever executed, and every size that it claims is checked against the file before
//! memory is taken. The module knows nothing of models or scans.

pub(crate) mod archive;
pub(crate) mod joblib;
pub(crate) mod numpy;
pub(crate) mod pickle;
pub(crate) mod pickle_write;
pub(crate) mod tensor;
pub(crate) mod write;
