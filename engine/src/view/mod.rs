//! What people and programs are shown, as values: text, JSON and pages are made of these and of nothing else.
//!
//! Each has a version, which changes when something that a program may read is taken away or means something else; what
//! is added later changes nothing.

mod audit;
mod plan;
mod run;

pub use self::audit::{AuditView, InWords};
pub use self::plan::{PlanView, PlannedInstance, PlannedState, ReasonView};
pub use self::run::{RunInList, RunView, RunsView};

/// The version of the views.
pub const VERSION: u32 = 1;
