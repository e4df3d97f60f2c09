//! NumPy's legacy random state, as far as scikit-learn's splitters use it.
//!
//! A split is reproduced only when every draw is: the Mersenne Twister's 32-bit words, the masked
//! rejection that makes a bounded integer of them, and the order of the swaps. `RandomState` is frozen
//! in NumPy, so this does not change with its versions. Everything else in the workflow draws from
//! [`pipe_numerics::random`].

use rand_mt::Mt;

/// The counterpart of `numpy.random.RandomState(seed)`.
#[derive(Clone, Debug)]
pub struct LegacyRandomState {
    words: Mt,
}

impl LegacyRandomState {
    /// The state that NumPy seeds with this number.
    pub fn new(seed: u32) -> Self {
        Self { words: Mt::new(seed) }
    }

    /// Uniform in [0, greatest], both included: `random_interval`. Draws nothing when `greatest` is 0.
    fn interval(&mut self, greatest: u64) -> u64 {
        if greatest == 0 {
            return 0;
        }
        let mask = u64::MAX >> greatest.leading_zeros();
        loop {
            let value = self.word(greatest) & mask;
            if value <= greatest {
                return value;
            }
        }
    }

    /// One 32-bit word, or two (the first one high) when the bound needs them.
    fn word(&mut self, greatest: u64) -> u64 {
        let first = u64::from(self.words.next_u32());
        if greatest <= u64::from(u32::MAX) { first } else { first << 32 | u64::from(self.words.next_u32()) }
    }

    /// `shuffle`: puts the values in random order, swapping from the end.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.interval(last as u64) as usize);
        }
    }

    /// `permutation(n)`: the numbers 0 to n − 1 in random order.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// `choice(values, size, replace=False)`: the first `size` values of a permutation of all.
    pub fn choice<T: Copy>(&mut self, values: &[T], size: usize) -> Vec<T> {
        let order = self.permutation(values.len());
        order.into_iter().take(size).filter_map(|index| values.get(index).copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected values: numpy 2.4, `r = numpy.random.RandomState(42); r.permutation(10)`,
    // then `r.choice([3, 5, 8, 13], 2, replace=False)`, then `r.permutation(5)`.
    #[test]
    fn draws_are_those_of_numpy() {
        let mut state = LegacyRandomState::new(42);
        assert_eq!(state.permutation(10), [8, 1, 5, 0, 7, 2, 9, 4, 3, 6]);
        assert_eq!(state.choice(&[3, 5, 8, 13], 2), [5, 3]);
        assert_eq!(state.permutation(5), [4, 1, 0, 3, 2]);
    }

    #[test]
    fn nothing_to_order_draws_nothing() {
        let mut state = LegacyRandomState::new(7);
        let untouched = state.clone().permutation(6);
        assert_eq!(state.permutation(0), Vec::<usize>::new());
        assert_eq!(state.permutation(1), [0]);
        assert_eq!(state.choice(&[9], 1), [9]);
        assert_eq!(state.permutation(6), untouched);
    }

    #[test]
    fn a_choice_beyond_the_values_is_all_of_them() {
        assert_eq!(LegacyRandomState::new(1).choice(&[4], 3), [4]);
    }
}
