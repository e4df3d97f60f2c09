//! Early stopping by three watched losses (SPEC section 4).
//!
//! A pure state machine: losses in, what to save out. It does not know what a checkpoint is.

use serde::{Deserialize, Serialize};

/// A checkpoint that early stopping decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Best {
    /// By the sum of contrastive and prediction loss.
    BestBoth,
    /// By the contrastive loss.
    BestClip,
    /// By the prediction loss.
    BestPred,
}

impl Best {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 3] = [Self::BestBoth, Self::BestClip, Self::BestPred];

    /// The checkpoint's name, as in `best_both.safetensors`.
    pub fn name(self) -> &'static str {
        match self {
            Self::BestBoth => "best_both",
            Self::BestClip => "best_clip",
            Self::BestPred => "best_pred",
        }
    }
}

/// Watches one loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// Bits of the best value so far: exact in any text format.
    best: Option<u64>,
    waited: u32,
    stopped: bool,
    /// False for a loss of weight 0, which saves nothing.
    active: bool,
}

impl Watch {
    fn new(active: bool) -> Self {
        Self { best: None, waited: 0, stopped: !active, active }
    }

    /// The best value so far.
    pub fn best(&self) -> Option<f64> {
        self.best.map(f64::from_bits)
    }

    /// Number of epochs without improvement, and whether patience has ever run out.
    pub fn state(&self) -> (u32, bool) {
        (self.waited, self.stopped)
    }

    /// Sees the next value; true if it is to be saved. A strictly larger value counts, any other saves.
    fn see(&mut self, loss: f64, patience: u32) -> bool {
        if !self.active {
            return false;
        }
        if self.best().is_some_and(|best| loss > best) {
            self.waited = self.waited.saturating_add(1);
            self.stopped |= self.waited >= patience;
            return false;
        }
        self.best = Some(loss.to_bits());
        self.waited = 0;
        true
    }
}

/// Three watches: on the sum, on the contrastive and on the prediction loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    warmup: u32,
    patience: u32,
    both: Watch,
    clip: Watch,
    prediction: Watch,
}

impl EarlyStopping {
    /// `clip` and `prediction` say whether these losses have a weight above 0. One without is not
    /// watched: its flag is set from the start. With one missing, the sum follows the other.
    pub fn new(warmup: u32, patience: u32, clip: bool, prediction: bool) -> Self {
        Self {
            warmup,
            patience,
            both: Watch::new(true),
            clip: Watch::new(clip),
            prediction: Watch::new(prediction),
        }
    }

    /// Sees the validation losses of an epoch (from 0) and says what is to be saved. Epochs before the
    /// warm-up's end are ignored. Flags stay set once set; a later improvement is still saved.
    pub fn see(&mut self, epoch: u32, clip: f64, prediction: f64) -> Vec<Best> {
        if epoch < self.warmup {
            return Vec::new();
        }
        let part = |watch: &Watch, loss: f64| if watch.active { loss } else { 0.0 };
        let both = part(&self.clip, clip) + part(&self.prediction, prediction);
        let seen = [
            (Best::BestBoth, self.both.see(both, self.patience)),
            (Best::BestClip, self.clip.see(clip, self.patience)),
            (Best::BestPred, self.prediction.see(prediction, self.patience)),
        ];
        seen.into_iter().filter_map(|(best, save)| save.then_some(best)).collect()
    }

    /// Whether training stops: all three flags are set.
    pub fn stopped(&self) -> bool {
        [&self.both, &self.clip, &self.prediction].iter().all(|watch| watch.stopped)
    }

    /// One of the watches.
    pub fn watch(&self, best: Best) -> &Watch {
        match best {
            Best::BestBoth => &self.both,
            Best::BestClip => &self.clip,
            Best::BestPred => &self.prediction,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Epochs at which each checkpoint was saved, and the epoch after which training stopped.
    fn play(mut stopping: EarlyStopping, losses: &[(f64, f64)]) -> ([Vec<u32>; 3], Option<u32>) {
        let mut saved = [Vec::new(), Vec::new(), Vec::new()];
        for (epoch, &(clip, prediction)) in (0..).zip(losses) {
            for best in stopping.see(epoch, clip, prediction) {
                saved[best as usize].push(epoch);
            }
            if stopping.stopped() {
                return (saved, Some(epoch));
            }
        }
        (saved, None)
    }

    #[test]
    fn runs_stop_and_save_where_they_should() {
        let falling = [(3.0, 3.0), (2.0, 2.0), (1.0, 1.0)];
        let (saved, stop) = play(EarlyStopping::new(0, 1, true, true), &falling);
        assert_eq!((saved, stop), ([vec![0, 1, 2], vec![0, 1, 2], vec![0, 1, 2]], None));

        // Equal values save and reset; patience 2 needs two rises in a row.
        let plateau = [(1.0, 1.0), (1.0, 1.0), (2.0, 2.0), (1.0, 1.0), (2.0, 2.0), (2.0, 2.0)];
        let (saved, stop) = play(EarlyStopping::new(0, 2, true, true), &plateau);
        assert_eq!((saved, stop), ([vec![0, 1, 3], vec![0, 1, 3], vec![0, 1, 3]], Some(5)));

        // Nothing happens before the warm-up's end, not even the first save.
        let (saved, stop) = play(EarlyStopping::new(2, 1, true, true), &[(1.0, 1.0), (2.0, 2.0), (5.0, 5.0)]);
        assert_eq!((saved, stop), ([vec![2], vec![2], vec![2]], None));
    }

    #[test]
    fn a_flag_stays_set_while_others_wait_and_improvements_are_still_saved() {
        // The contrastive loss runs out of patience at epoch 1 and improves at 2; the others stop later.
        let losses = [(1.0, 9.0), (2.0, 8.0), (0.5, 7.0), (0.6, 7.5), (0.7, 7.6)];
        let mut stopping = EarlyStopping::new(0, 1, true, true);
        let saved: Vec<_> = (0..)
            .zip(losses)
            .map(|(epoch, (clip, prediction))| stopping.see(epoch, clip, prediction))
            .collect();
        // The sum stays at 10: an equal value is saved.
        assert_eq!(saved[1], [Best::BestBoth, Best::BestPred]);
        assert!(stopping.watch(Best::BestClip).state().1);
        assert_eq!(saved[2], Best::ALL);
        assert!(stopping.stopped());
    }

    #[test]
    fn a_loss_without_weight_is_not_watched() {
        let losses = [(9.0, 3.0), (1.0, 2.0), (0.0, 2.5)];
        let (saved, stop) = play(EarlyStopping::new(0, 1, false, true), &losses);
        assert_eq!((saved, stop), ([vec![0, 1], vec![], vec![0, 1]], Some(2)));
        let losses = [(3.0, 0.0), (2.0, 9.0), (2.5, 0.0)];
        let (saved, stop) = play(EarlyStopping::new(0, 1, true, false), &losses);
        assert_eq!((saved, stop), ([vec![0, 1], vec![0, 1], vec![]], Some(2)));
    }

    #[test]
    fn a_state_survives_being_written() {
        let mut stopping = EarlyStopping::new(0, 3, true, true);
        stopping.see(0, 0.1 + 0.2, 1.0 / 3.0);
        let text = serde_json::to_string(&stopping).expect("text");
        assert_eq!(serde_json::from_str::<EarlyStopping>(&text).expect("state"), stopping);
        assert_eq!(stopping.watch(Best::BestPred).best(), Some(1.0 / 3.0));
    }
}
