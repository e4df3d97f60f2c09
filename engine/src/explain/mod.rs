//! Why instances have the results that they have, and what bytes follow from, out of records, preimages and listings.
//!
//! Nothing is computed and no input is read. What is not known here: how values become text on a screen.

mod cause;
mod diff;
mod expected;
mod maker;

pub use self::cause::{Cause, Fate, Why, why};
pub use self::diff::{Difference, InstanceDiff, RunDiff, ScalarDiff, diff};
pub use self::expected::expected;
pub use self::maker::{Ingredient, IngredientSource, Product, Traced, makers};
