//! Sampled values: the i-th value of a name follows from the seed, the name and i alone.
//!
//! Each name has its own sequence of base 2, whose order and digits are scrambled by a hash (Owen's scrambling by the hash of Laine and
//! Karras, as in B. Burley, "Practical hash-based Owen scrambling", JCGT 2020). The first 2ᵏ values of a name fall into as many equal
//! parts of its range, one in each; names are independent of each other. So more samples, or one more name, change none of the others.

use pipe_cache::Hasher;

/// What a value is drawn from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Distribution {
    /// Between two numbers, evenly.
    Uniform(f64, f64),
    /// Between two positive numbers, evenly in their logarithms.
    Log(f64, f64),
    /// Whole numbers from the first to the last, each alike.
    Integer(i64, i64),
    /// One of so many values, each alike.
    Choice(usize),
}

/// A value that was drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Drawn {
    /// A number, rounded to six significant digits.
    Number(f64),
    /// A whole number.
    Integer(i64),
    /// A position among the values.
    Position(usize),
}

impl Distribution {
    /// The value number `index` of a name.
    pub(super) fn draw(&self, seed: u64, name: &str, index: u32) -> Drawn {
        let place = place(seed, name, index);
        match self {
            Self::Uniform(low, high) => Drawn::Number(rounded(low + place * (high - low))),
            Self::Log(low, high) => Drawn::Number(rounded((low.ln() + place * (high.ln() - low.ln())).exp())),
            Self::Integer(first, last) => {
                let count = last.abs_diff(*first).saturating_add(1);
                let step = (place * count as f64) as u64;
                Drawn::Integer(first.saturating_add_unsigned(step.min(count - 1)))
            }
            Self::Choice(count) => {
                Drawn::Position(((place * *count as f64) as usize).min(count.saturating_sub(1)))
            }
        }
    }
}

/// A number from 0 up to 1.
fn place(seed: u64, name: &str, index: u32) -> f64 {
    let mut hasher = Hasher::new("pipe sweep sample, version 1");
    hasher.field(seed.to_le_bytes());
    hasher.field(name);
    let digest = hasher.finish().to_string();
    let word = |from: usize| u32::from_str_radix(&digest[from..from + 8], 16).unwrap_or_default();
    // The order is scrambled, then the digits of the radical inverse.
    let shuffled = scrambled(index, word(0));
    f64::from(scrambled(shuffled.reverse_bits(), word(8))) / 4_294_967_296.0
}

/// Owen's scrambling of a number's binary digits, the highest first.
fn scrambled(number: u32, seed: u32) -> u32 {
    let mut x = number.reverse_bits();
    x = x.wrapping_add(seed);
    x ^= x.wrapping_mul(0x6c50_b47c);
    x ^= x.wrapping_mul(0xb82f_1e52);
    x ^= x.wrapping_mul(0xc7af_e638);
    x ^= x.wrapping_mul(0x8d22_f6e6);
    x.reverse_bits()
}

/// A number with six significant digits, so that it can be written down and given again.
fn rounded(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_values_fall_into_equal_parts_of_the_range() {
        for (name, seed) in [("train.lr", 1), ("train.dropout", 1), ("train.lr", 2)] {
            for count in [2_u32, 8, 64] {
                let mut parts: Vec<usize> =
                    (0..count).map(|index| (place(seed, name, index) * f64::from(count)) as usize).collect();
                parts.sort_unstable();
                assert_eq!(parts, (0..count as usize).collect::<Vec<_>>(), "{name} {count}");
            }
        }
    }

    #[test]
    fn names_are_independent() {
        // All four quarters of the plane of two names are met.
        let mut met = [0; 4];
        for index in 0..256 {
            let quarter = |name| usize::from(place(7, name, index) >= 0.5);
            met[2 * quarter("a") + quarter("b")] += 1;
        }
        assert!(met.iter().all(|count| (32..=96).contains(count)), "{met:?}");
    }

    #[test]
    fn values_are_in_their_range_and_always_the_same() {
        for index in 0..1000 {
            match Distribution::Log(1e-5, 1e-3).draw(1, "a", index) {
                Drawn::Number(number) => assert!((1e-5..=1e-3).contains(&number)),
                other => panic!("{other:?}"),
            }
            match Distribution::Integer(-2, 3).draw(1, "a", index) {
                Drawn::Integer(number) => assert!((-2..=3).contains(&number)),
                other => panic!("{other:?}"),
            }
        }
        let drawn: Vec<Drawn> =
            (0..3).map(|index| Distribution::Uniform(0.0, 1.0).draw(42, "train.lr", index)).collect();
        assert_eq!(drawn, PINNED.map(Drawn::Number));
        assert_eq!(Distribution::Choice(1).draw(42, "a", 5), Drawn::Position(0));
    }

    /// Another value here would make every sampled sweep another one.
    const PINNED: [f64; 3] = [0.058067, 0.657837, 0.895064];
}
