//! Labels for a control run: the true ones, permuted.
//!
//! What a control model is right about must be chance or leakage. One model tells little: labels that teach
//! nothing leave it nearly where it began, and AUROC, which looks at ranks only, shows the direction that its
//! random weights happen to order the nodules in. Where that direction goes with size, 0.3 and 0.7 are both
//! chance. The mean over many control models is what must be near 0.5.

use pipe_numerics::random::RandomKey;

/// The same labels on other rows, all orders being equally likely.
pub fn shuffled_labels(labels: &[bool], key: &RandomKey) -> Vec<bool> {
    let mut shuffled = labels.to_vec();
    key.clone().text("purpose", "shuffled labels").generator().shuffle(&mut shuffled);
    shuffled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_their_number_and_lose_their_rows() {
        let labels: Vec<bool> = (0..4000).map(|row| row % 4 == 0).collect();
        let shuffled = shuffled_labels(&labels, &RandomKey::new(1, "train"));
        let count = |labels: &[bool]| labels.iter().filter(|&&label| label).count();
        assert_eq!(count(&shuffled), 1000);
        let both = labels.iter().zip(&shuffled).filter(|(a, b)| **a && **b).count();
        assert!((190..310).contains(&both), "{both} where 250 are expected");
        assert_ne!(shuffled, shuffled_labels(&labels, &RandomKey::new(2, "train")));
    }
}
