//! Nine planes through a nodule's centre, and the images that the network sees of them
//! (SPEC section 2).
//!
//! [`planes`] turns a crop into nine planes once; [`window`] cuts and enlarges them for every
//! training batch; [`augmentation`] makes other planes of the crop for each of them. All take arrays of numbers
//! and know neither nodules nor files.

pub mod augmentation;
mod cube;
mod diagonals;
pub mod planes;
mod spline;
pub mod window;
