//! Numerical tools that know nothing of stages, files or images.

pub mod random;
