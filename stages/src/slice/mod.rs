//! Nine planes through a nodule's centre, and the images that the network sees of them
//! (SPEC section 2).
//!
//! [`planes`] turns a crop into nine planes once; [`window`] cuts and enlarges them for every
//! training batch. Both take arrays of numbers and know neither nodules nor files.

mod cube;
mod diagonals;
pub mod planes;
mod spline;
pub mod window;
