//! What a command of a program's own may use: the arguments that commands share, what belongs to a pipeline, and how
//! to tell people something.

pub use crate::arguments::{CacheArguments, DeviceArgument, parse_device};
pub use crate::commands::run::{memory_bytes, processors, surroundings};
pub use crate::error::exit;
pub use crate::render::{line, out};
pub use crate::session::{devices, pipeline_at, secrets, store};
