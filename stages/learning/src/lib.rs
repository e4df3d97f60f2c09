//! CLIP on nine slices of a nodule and a report: the planes that the model sees, the model, its training.
//!
//! Arrays and tensors in, arrays and tensors out. Nothing here knows of stages, folders or tables; parameters come as plain
//! structures with their schemas.

pub mod clip;
pub mod preprocessing;
pub mod slice;
pub mod training;
