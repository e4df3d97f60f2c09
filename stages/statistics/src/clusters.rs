//! Which cases belong together, such as the nodules of one patient.
//!
//! Cases of one cluster resemble one another and say less than as many independent ones, so intervals and tests take
//! the cluster as the unit that was sampled. The module does not know what makes a cluster.

use std::collections::HashMap;
use std::hash::Hash;

/// The cluster of each case, numbered from 0 in the order of their first cases.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Clusters {
    of_case: Vec<usize>,
    count: usize,
}

impl Clusters {
    /// Cases of one name are one cluster.
    pub fn new<T: Eq + Hash>(names: impl IntoIterator<Item = T>) -> Self {
        let mut numbers = HashMap::new();
        let number = |name| {
            let next = numbers.len();
            *numbers.entry(name).or_insert(next)
        };
        let of_case = names.into_iter().map(number).collect();
        Self { of_case, count: numbers.len() }
    }

    /// So many cases, each a cluster of its own.
    pub fn of_single_cases(cases: usize) -> Self {
        Self { of_case: (0..cases).collect(), count: cases }
    }

    /// Number of cases.
    pub fn cases(&self) -> usize {
        self.of_case.len()
    }

    /// Number of clusters.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The cluster of each case.
    pub fn of_cases(&self) -> &[usize] {
        &self.of_case
    }

    /// The positions of each cluster's cases.
    pub fn members(&self) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.count];
        for (case, &cluster) in self.of_case.iter().enumerate() {
            if let Some(members) = members.get_mut(cluster) {
                members.push(case);
            }
        }
        members
    }

    /// For each cluster how many of its cases are counted and the sum of their values; a case without a value is not.
    pub fn sums(&self, values: impl IntoIterator<Item = Option<f64>>) -> Vec<(usize, f64)> {
        let mut sums = vec![(0, 0.0); self.count];
        for (&cluster, value) in self.of_case.iter().zip(values) {
            if let (Some((count, sum)), Some(value)) = (sums.get_mut(cluster), value) {
                *count += 1;
                *sum += value;
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_of_one_name_belong_together_wherever_they_stand() {
        let clusters = Clusters::new(["b", "a", "b", "c"]);
        assert_eq!((clusters.cases(), clusters.count()), (4, 3));
        assert_eq!(clusters.members(), [vec![0, 2], vec![1], vec![3]]);
        let sums = clusters.sums([Some(1.0), None, Some(2.5), Some(4.0)]);
        assert_eq!(sums, [(2, 3.5), (0, 0.0), (1, 4.0)]);
        assert_eq!(Clusters::new(["x", "y"]), Clusters::of_single_cases(2));
    }
}
