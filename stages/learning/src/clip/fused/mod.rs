//! Operations of the towers as one pass over memory each, with backward passes of their own.
//!
//! What candle builds from a dozen elementwise operations, single-threaded and each with a fresh tensor, is here a
//! loop over rows, side by side on all cores, compiled for each width of vector instructions and chosen when it runs.
//! Work is cut at places that do not depend on the number of threads, and sums have a fixed order, so results do not
//! either. Only the processor has these; on other devices the towers use candle's differentiable operations.

pub(crate) mod add;
pub(crate) mod attention;
pub(crate) mod layer_norm;
pub(crate) mod quick_gelu;
pub(crate) mod storage;

mod product;
