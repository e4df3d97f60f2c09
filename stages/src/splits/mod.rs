//! Folds: which patients a model trains on and which it is validated on.
//!
//! Patients, not nodules, are split, so that no patient is on both sides. The split is scikit-learn's
//! `StratifiedShuffleSplit`, in membership and order (SPEC section 5): the same `random_state` gives the
//! folds of the published experiments. The module knows identifiers and labels, not tables or images;
//! [`tables`] reads and writes the files of a fold.

use std::collections::HashSet;
use std::fmt::Display;

use thiserror::Error;

use numpy::LegacyRandomState;

pub mod numpy;
pub mod tables;

/// Why patients cannot be split.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SplitError {
    /// Identifiers and labels do not belong to the same rows.
    #[error("{pids} patient identifiers but {labels} labels")]
    LengthMismatch {
        /// Number of identifiers.
        pids: usize,
        /// Number of labels.
        labels: usize,
    },
    /// There is nothing to split.
    #[error("no patients to split")]
    Empty,
    /// No fold was asked for.
    #[error("n_splits must be at least 1")]
    NoSplits,
    /// The training share is not strictly between 0 and 1.
    #[error("train_size must lie between 0 and 1, not {0}")]
    TrainSize(f64),
    /// A class is too small to be on both sides.
    #[error("class {class} has only {patients} patient: stratified folds need at least 2 of each class")]
    ClassTooSmall {
        /// The class, as its label reads.
        class: String,
        /// Number of its patients.
        patients: usize,
    },
    /// A side of the fold has fewer patients than there are classes.
    #[error(
        "{side} would have {patients} of {all} patients, fewer than the {classes} classes: change train_size"
    )]
    SideTooSmall {
        /// "train" or "validation".
        side: &'static str,
        /// Number of patients on that side.
        patients: usize,
        /// Number of all patients.
        all: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A patient is on both sides of a fold.
    #[error("patient {0} is in both the training and the validation part of a fold")]
    Overlap(String),
}

/// How to split: the parameters of scikit-learn's splitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StratifiedShuffle {
    /// Number of folds, drawn one after the other; they may share validation patients.
    pub n_splits: usize,
    /// Share of the patients to train on, strictly between 0 and 1, rounded down to whole patients.
    pub train_size: f64,
    /// Seed of NumPy's legacy generator.
    pub random_state: u32,
}

/// One fold: the positions, or the identifiers, of the patients on each side.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fold<T> {
    /// Patients to train on.
    pub train: Vec<T>,
    /// Patients to validate on.
    pub validation: Vec<T>,
}

impl Fold<String> {
    /// Checks that no patient is on both sides.
    ///
    /// # Errors
    /// The first validation patient who is also trained on.
    pub fn check_disjoint(&self) -> Result<(), SplitError> {
        let train: HashSet<&String> = self.train.iter().collect();
        match self.validation.iter().find(|pid| train.contains(pid)) {
            Some(pid) => Err(SplitError::Overlap(pid.clone())),
            None => Ok(()),
        }
    }
}

/// The patients of a table in order of first appearance, each with the label of their first row.
///
/// # Errors
/// Lengths that differ.
pub fn patients<'a, L: Clone>(pids: &'a [String], labels: &[L]) -> Result<Vec<(&'a str, L)>, SplitError> {
    if pids.len() != labels.len() {
        return Err(SplitError::LengthMismatch { pids: pids.len(), labels: labels.len() });
    }
    let mut seen = HashSet::new();
    let rows = pids.iter().map(String::as_str).zip(labels.iter().cloned());
    Ok(rows.filter(|(pid, _)| seen.insert(*pid)).collect())
}

impl StratifiedShuffle {
    /// Splits the patients of a table with one identifier and one label per row.
    ///
    /// # Errors
    /// See [`SplitError`].
    pub fn split_patients<L>(&self, pids: &[String], labels: &[L]) -> Result<Vec<Fold<String>>, SplitError>
    where
        L: Ord + Clone + Display,
    {
        let (pids, labels): (Vec<&str>, Vec<L>) = patients(pids, labels)?.into_iter().unzip();
        let named = |positions: Vec<usize>| {
            positions
                .into_iter()
                .filter_map(|position| pids.get(position))
                .map(|pid| (*pid).to_owned())
                .collect()
        };
        let folds = self.split(&labels)?;
        Ok(folds
            .into_iter()
            .map(|fold| Fold { train: named(fold.train), validation: named(fold.validation) })
            .collect())
    }

    /// Splits the positions 0 to n − 1 of n labels.
    ///
    /// # Errors
    /// See [`SplitError`].
    pub fn split<L: Ord + Display>(&self, labels: &[L]) -> Result<Vec<Fold<usize>>, SplitError> {
        let classes = positions_by_class(labels);
        let (train, validation) = self.sizes(labels.len(), &classes)?;
        let classes: Vec<Vec<usize>> = classes.into_iter().map(|(_, positions)| positions).collect();
        let mut random = LegacyRandomState::new(self.random_state);
        Ok((0..self.n_splits).map(|_| draw_fold(&classes, train, validation, &mut random)).collect())
    }

    /// Numbers of patients to train on and to validate on, checked against the classes.
    fn sizes<L: Display>(
        &self,
        all: usize,
        classes: &[(L, Vec<usize>)],
    ) -> Result<(usize, usize), SplitError> {
        if self.n_splits == 0 {
            return Err(SplitError::NoSplits);
        }
        let is_share = self.train_size > 0.0 && self.train_size < 1.0;
        if !is_share {
            return Err(SplitError::TrainSize(self.train_size));
        }
        if all == 0 {
            return Err(SplitError::Empty);
        }
        if let Some((class, positions)) = classes.iter().find(|(_, positions)| positions.len() < 2) {
            return Err(SplitError::ClassTooSmall { class: class.to_string(), patients: positions.len() });
        }
        let train = (self.train_size * all as f64).floor() as usize;
        let sides = [("train", train), ("validation", all - train)];
        for (side, patients) in sides {
            if patients < classes.len() {
                return Err(SplitError::SideTooSmall { side, patients, all, classes: classes.len() });
            }
        }
        Ok((train, all - train))
    }
}

/// The classes in rising order, each with its positions in rising order.
fn positions_by_class<L: Ord>(labels: &[L]) -> Vec<(&L, Vec<usize>)> {
    let mut classes = std::collections::BTreeMap::new();
    for (position, label) in labels.iter().enumerate() {
        classes.entry(label).or_insert_with(Vec::new).push(position);
    }
    classes.into_iter().collect()
}

/// One fold, in scikit-learn's order of draws: class sizes for both sides, a permutation of each class,
/// then one of each side.
fn draw_fold(
    classes: &[Vec<usize>],
    train: usize,
    validation: usize,
    random: &mut LegacyRandomState,
) -> Fold<usize> {
    let counts: Vec<usize> = classes.iter().map(Vec::len).collect();
    let train_counts = approximate_mode(&counts, train, random);
    let rest: Vec<usize> =
        counts.iter().zip(&train_counts).map(|(all, taken)| all.saturating_sub(*taken)).collect();
    let validation_counts = approximate_mode(&rest, validation, random);
    let mut fold = Fold { train: Vec::with_capacity(train), validation: Vec::with_capacity(validation) };
    for ((positions, &for_train), &for_validation) in
        classes.iter().zip(&train_counts).zip(&validation_counts)
    {
        let drawn = random.choice(positions, positions.len());
        fold.train.extend(drawn.iter().take(for_train));
        fold.validation.extend(drawn.iter().skip(for_train).take(for_validation));
    }
    random.shuffle(&mut fold.train);
    random.shuffle(&mut fold.validation);
    fold
}

/// How many of `draws` go to each class: its share rounded down, then one more where the remainder is
/// greatest, equal remainders in random order (scikit-learn's `_approximate_mode`).
fn approximate_mode(counts: &[usize], draws: usize, random: &mut LegacyRandomState) -> Vec<usize> {
    let all = counts.iter().sum::<usize>() as f64;
    let shares: Vec<f64> = counts.iter().map(|&count| count as f64 / all * draws as f64).collect();
    let mut taken: Vec<usize> = shares.iter().map(|share| share.floor() as usize).collect();
    let mut missing = draws.saturating_sub(taken.iter().sum());
    let mut remainders: Vec<f64> = shares.iter().map(|share| share - share.floor()).collect();
    let by_class = remainders.clone();
    remainders.sort_unstable_by(|a, b| b.total_cmp(a));
    remainders.dedup();
    for remainder in remainders {
        if missing == 0 {
            break;
        }
        let equal: Vec<usize> =
            (0..by_class.len()).filter(|&class| by_class.get(class) == Some(&remainder)).collect();
        for class in random.choice(&equal, missing) {
            if let Some(count) = taken.get_mut(class) {
                *count += 1;
                missing -= 1;
            }
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HALF: StratifiedShuffle = StratifiedShuffle { n_splits: 2, train_size: 0.5, random_state: 1 };

    fn texts(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn patients_keep_their_first_place_and_label() {
        let pids = texts(&["b", "a", "b", "c", "a"]);
        assert_eq!(patients(&pids, &[1, 0, 0, 1, 1]), Ok(vec![("b", 1), ("a", 0), ("c", 1)]));
        assert_eq!(patients(&pids, &[1]), Err(SplitError::LengthMismatch { pids: 5, labels: 1 }));
    }

    #[test]
    fn rows_of_one_patient_stay_together() {
        let pids = texts(&["a", "a", "b", "c", "d", "a"]);
        for fold in HALF.split_patients(&pids, &[0, 1, 0, 1, 1, 1]).expect("folds") {
            assert_eq!(fold.check_disjoint(), Ok(()));
            let mut all = [fold.train, fold.validation].concat();
            all.sort();
            assert_eq!(all, ["a", "b", "c", "d"]);
        }
    }

    #[test]
    fn what_cannot_be_split_is_named() {
        let labels = [0, 0, 0, 1, 1, 2, 2];
        let error = |change: StratifiedShuffle, labels: &[i32]| change.split(labels).err();
        assert_eq!(error(HALF, &[]), Some(SplitError::Empty));
        assert_eq!(error(StratifiedShuffle { n_splits: 0, ..HALF }, &labels), Some(SplitError::NoSplits));
        for train_size in [0.0, 1.0, -0.5] {
            let change = StratifiedShuffle { train_size, ..HALF };
            assert_eq!(error(change, &labels), Some(SplitError::TrainSize(train_size)));
        }
        let too_small = SplitError::ClassTooSmall { class: "1".to_owned(), patients: 1 };
        assert_eq!(error(HALF, &[0, 0, 0, 1]), Some(too_small));
        for (train_size, side, patients) in [(0.3, "train", 2), (0.9, "validation", 1)] {
            let side_too_small = SplitError::SideTooSmall { side, patients, all: 7, classes: 3 };
            assert_eq!(error(StratifiedShuffle { train_size, ..HALF }, &labels), Some(side_too_small));
        }
    }

    #[test]
    fn an_overlap_names_the_patient() {
        let fold = Fold { train: texts(&["a", "b"]), validation: texts(&["c", "b"]) };
        assert_eq!(fold.check_disjoint(), Err(SplitError::Overlap("b".to_owned())));
    }

    proptest! {
        #[test]
        fn folds_are_partitions_with_nearly_equal_class_shares(
            labels in prop::collection::vec(0..3u8, 12..80),
            train_size in 0.3..0.7f64,
            random_state in any::<u32>(),
        ) {
            let count = |class: u8| labels.iter().filter(|&&label| label == class).count();
            let all: Vec<usize> = (0..3).map(count).collect();
            prop_assume!(all.iter().all(|&count| count != 1));
            let splitter = StratifiedShuffle { n_splits: 1, train_size, random_state };
            let fold = splitter.split(&labels).expect("folds").remove(0);
            let mut together = [fold.train.clone(), fold.validation].concat();
            together.sort_unstable();
            prop_assert_eq!(together, (0..labels.len()).collect::<Vec<_>>());
            for class in 0..3u8 {
                let trained = fold.train.iter().filter(|&&position| labels[position] == class).count();
                let share = all[usize::from(class)] as f64 * fold.train.len() as f64 / labels.len() as f64;
                prop_assert!((trained as f64 - share).abs() < 1.0 + 1e-9);
            }
        }
    }
}
