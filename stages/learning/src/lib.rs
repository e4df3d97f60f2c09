//! CLIP on nine slices of a nodule and a report: the planes that the model sees, the model, its training.
//!
//! Arrays and tensors in, arrays and tensors out; weights are read from files. Nothing here knows how a stage is run, of folders or
//! of tables; parameters come as plain structures with their schemas, and name stages' parameters where files say so.

pub mod clip;
pub mod preprocessing;
pub mod slice;
pub mod training;
