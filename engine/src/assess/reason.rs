//! Why an instance is to be computed.

use std::fmt;

use serde::Serialize;

use crate::bind::Filled;
use crate::lineage::{Change, ItemChanges};
use crate::manifest::{InputBinding, Instance, Origin};
use crate::record::InstanceStatus;

/// A reason for computing an instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Reason {
    /// It was asked for.
    Forced,
    /// It has not run yet.
    New,
    /// Something that decides its result has changed.
    Changed {
        /// What.
        change: Change,
        /// The stage, of whose parameters people speak by `stage.parameter`.
        stage: String,
        /// Where the present value is written; none where nobody wrote it.
        origin: Option<String>,
    },
    /// It failed.
    Failed {
        /// The run in which it did.
        run: String,
    },
    /// The last run did not come to it.
    NotReached,
    /// Its result is no longer in the cache.
    ResultLost,
    /// An input is no longer in the cache.
    InputLost,
    /// Its result was known on another class of device only.
    OtherClass {
        /// The class of the run before.
        before: String,
        /// The class of this run.
        after: String,
    },
    /// It is made of something else than before, and what that was is no longer kept.
    NotKept,
    /// What it takes from other stages is to be computed, and may give other bytes.
    InputsMayChange,
}

impl Reason {
    /// A change of an instance's preimage, with where the present value comes from: written, or filled in.
    pub(super) fn changed(change: Change, (instance, filled): (&Instance, &Filled)) -> Self {
        let origin = match &change {
            Change::Parameter { name, .. } => Some(origin_of_parameter(name, instance, filled)),
            Change::Input { input, after: Some(_), .. } => origin_of_input(input, instance),
            Change::Seed { .. } => Some(instance.seed_origin.to_string()),
            Change::Device { .. } => Some("command line".to_string()),
            _ => None,
        };
        Self::Changed { change, stage: instance.stage.clone(), origin }
    }

    pub(super) fn items(changes: ItemChanges) -> Self {
        Self::Changed { change: Change::Items(changes), stage: String::new(), origin: None }
    }

    /// Why an instance whose preimage has not changed is computed.
    pub(crate) fn of_status(status: InstanceStatus, run: String) -> Self {
        match status {
            InstanceStatus::Failed => Self::Failed { run },
            InstanceStatus::Skipped => Self::NotReached,
            InstanceStatus::Executed | InstanceStatus::Cached => Self::ResultLost,
        }
    }
}

fn origin_of_parameter(name: &str, instance: &Instance, filled: &Filled) -> String {
    let param = name.split('.').next().unwrap_or(name);
    match instance.origin(param) {
        Origin::Default => filled.get(param).cloned().unwrap_or_else(|| Origin::Default.to_string()),
        origin => origin.to_string(),
    }
}

/// Where what is given to an input of that name is written.
fn origin_of_input(name: &str, instance: &Instance) -> Option<String> {
    let name = name.split('[').next().unwrap_or(name);
    instance.inputs.iter().find(|binding| binding.spec.name == name).map(InputBinding::described)
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forced => f.write_str("--force"),
            Self::New => f.write_str("it has not run yet"),
            Self::Failed { run } => write!(f, "it failed in run {run}"),
            Self::NotReached => f.write_str("it was not reached in the last run"),
            Self::ResultLost => f.write_str("its result is no longer in the cache"),
            Self::InputLost => f.write_str("an input is missing from the cache and is computed again"),
            Self::OtherClass { before, after } => write!(f, "device class {before} → {after}"),
            Self::NotKept => {
                f.write_str("it is made of something else, and what it was made of is no longer kept")
            }
            Self::InputsMayChange => f.write_str("what it takes from other stages may change"),
            Self::Changed { change, stage, origin } => {
                if matches!(change, Change::Parameter { .. }) {
                    write!(f, "{stage}.")?;
                }
                change.fmt(f)?;
                origin.as_ref().map_or(Ok(()), |origin| write!(f, " ({origin})"))
            }
        }
    }
}
