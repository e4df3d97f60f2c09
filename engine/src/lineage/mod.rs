//! Lineage: what a result follows from, as values.
//!
//! A [`Preimage`] says what went into a fingerprint; it is the same for all who get that result. [`Given`] says where
//! one run took an instance's inputs from. [`Change`] is the difference of two preimages. Fingerprints, stored forms
//! and English are renderings of these values.

mod change;
mod former;
mod given;
mod items;
mod preimage;

pub(crate) use self::change::differences;
pub use self::change::{Change, Part};
pub use self::given::{Given, Source};
pub(crate) use self::given::{given_to, outputs_given_to};
pub(crate) use self::items::listed_items;
pub use self::items::{ItemChange, ItemChanges, ListedItem};
pub use self::preimage::{Content, ItemSummary, Preimage, Used};
