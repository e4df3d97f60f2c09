//! Numerical tools that know nothing of stages, files or images.

pub mod lanes;
pub mod product;
pub mod random;
