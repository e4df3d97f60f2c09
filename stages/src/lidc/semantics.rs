//! A nodule's ratings as words of a sample table, by the rules of the published notebook.
//!
//! A word stands for a finding; below its bound, a margin has none and the cell is blank. The notebook's "Spiculated"
//! is a sample table's "Spiculated/Serrated".

use super::consensus::Nodule;
use crate::semantics::{ADDITIONAL_MARGINS, CONSISTENCY, CONSPICUITY, NODULE_MARGINS, PRESENCE, SHAPE};

/// The columns, in the order of [`words`].
pub const COLUMNS: [&str; 7] = [
    CONSPICUITY,
    NODULE_MARGINS,
    ADDITIONAL_MARGINS,
    SHAPE,
    CONSISTENCY,
    "cyst-like_spaces",
    "eccentric_calcification",
];

/// The code of air among the internal structures, and of eccentric calcification ("non-central").
const AIR: u8 = 4;
const NON_CENTRAL: u8 = 4;

/// The cells of [`COLUMNS`].
pub fn words(nodule: &Nodule) -> [&'static str; 7] {
    let [sphericity, lobulation, texture, margin, spiculation, _] = nodule.ratings;
    let [absent, present] = [PRESENCE.first(), PRESENCE.last()].map(|word| word.copied().unwrap_or_default());
    let presence = |is_there: bool| if is_there { present } else { absent };
    [
        if margin >= 3.0 { "Well marginated" } else { "Poorly marginated" },
        if lobulation >= 3.0 { "Lobulated" } else { "" },
        if spiculation >= 3.0 { "Spiculated/Serrated" } else { "" },
        if sphericity > 3.0 { "Round" } else { "Ovoid" },
        consistency(texture),
        presence(nodule.internal_structure.contains(&AIR)),
        presence(nodule.calcification.contains(&NON_CENTRAL)),
    ]
}

fn consistency(texture: f64) -> &'static str {
    if texture < 2.0 {
        "Pure ground glass"
    } else if texture > 4.0 {
        "Solid"
    } else {
        "Part-solid"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::SEMANTIC_COLUMNS;

    fn nodule(ratings: [f64; 6], internal_structure: &[u8], calcification: &[u8]) -> Nodule {
        Nodule {
            readers: 1,
            ratings,
            diameter: 5.0,
            centroid: [0.0; 3],
            internal_structure: internal_structure.to_vec(),
            calcification: calcification.to_vec(),
        }
    }

    #[test]
    fn bounds_are_those_of_the_notebook() {
        assert_eq!(
            words(&nodule([3.0, 3.0, 2.0, 3.0, 3.0, 1.0], &[1, 4], &[4, 6])),
            [
                "Well marginated",
                "Lobulated",
                "Spiculated/Serrated",
                "Ovoid",
                "Part-solid",
                "Present",
                "Present"
            ]
        );
        assert_eq!(
            words(&nodule([3.5, 2.5, 1.5, 2.5, 2.5, 1.0], &[1], &[6])),
            ["Poorly marginated", "", "", "Round", "Pure ground glass", "Absent", "Absent"]
        );
        assert_eq!([4.0, 4.5].map(consistency), ["Part-solid", "Solid"]);
    }

    #[test]
    fn every_word_is_known_to_its_column() {
        for ratings in [[1.0; 6], [5.0; 6], [3.0; 6]] {
            for (column, word) in COLUMNS.iter().zip(words(&nodule(ratings, &[4], &[1]))) {
                let feature = SEMANTIC_COLUMNS.iter().find(|feature| feature.name == *column);
                let known = feature.expect("a column").values.contains(&word);
                assert!(known || word.is_empty(), "{column}: {word}");
            }
        }
    }
}
