//! The states of a model that training keeps, as later stages choose among them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A state of a model that training kept.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checkpoint {
    /// With the least sum of both losses.
    BestBoth,
    /// With the least prediction loss.
    BestPred,
    /// With the least contrastive loss.
    BestClip,
    /// After the last epoch.
    Last,
}

impl Checkpoint {
    /// Its name in parameters and in the table of predictions.
    pub fn name(self) -> &'static str {
        match self {
            Checkpoint::BestBoth => "best_both",
            Checkpoint::BestPred => "best_pred",
            Checkpoint::BestClip => "best_clip",
            Checkpoint::Last => "last",
        }
    }

    /// What the published training calls its file, without the ending.
    pub fn published(self) -> &'static str {
        match self {
            Checkpoint::Last => "ckpt",
            best => best.name(),
        }
    }
}
