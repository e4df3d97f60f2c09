//! The semantic features of a nodule: what radiologists note of it, as columns of a sample table.
//!
//! One ordered table names every column, how the feature is called in a sentence, and the values it is
//! known to take. Semantic weights, reports and zero-shot prompts read it, so that they agree on the
//! spelling. It does not say which value means malignancy, and a table may hold other values.

/// Values of a feature that is there or not.
pub const PRESENCE: &[&str] = &["Absent", "Present"];

/// Kinds of margin.
const MARGINS: &[&str] = &["Smooth", "Lobulated", "Spiculated/Serrated"];

/// One semantic column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SemanticFeature {
    /// Name of the column.
    pub name: &'static str,
    /// What a sentence calls the feature.
    pub phrase: &'static str,
    /// Values the feature is known to take; a blank means that nothing was noted.
    pub values: &'static [&'static str],
}

impl SemanticFeature {
    /// Whether the feature is there or not, rather than of one of several sorts.
    pub fn is_presence(&self) -> bool {
        self.values == PRESENCE
    }
}

/// The 17 semantic columns, in the order of a sample table. Semantic weights count these (SPEC section
/// 5), and not the diameters or the level of suspicion.
pub const SEMANTIC_COLUMNS: [SemanticFeature; 17] = [
    feature(CONSPICUITY, "margin conspicuity", &["Poorly marginated", "Well marginated"]),
    feature(NODULE_MARGINS, "margins", MARGINS),
    feature(ADDITIONAL_MARGINS, "additional margins", MARGINS),
    feature(SHAPE, "shape", &["Round", "Ovoid", "Polygonal", "Complex/Irregular"]),
    feature(CONSISTENCY, "consistency", &["Pure ground glass", "Part-solid", "Solid"]),
    feature("nodule_reticulation", "reticulation", PRESENCE),
    feature("cyst-like_spaces", "cyst-like spaces", PRESENCE),
    feature("intra-nodular_bronchiectasis", "intranodular bronchiectasis", PRESENCE),
    feature("necrosis", "necrosis", PRESENCE),
    feature("cavitation", "cavitation", PRESENCE),
    feature("eccentric_calcification", "eccentric calcification", PRESENCE),
    feature("airway_cut-off", "airway cut-off", PRESENCE),
    feature("pleural_attachment", "pleural attachment", PRESENCE),
    feature("pleural_retraction", "pleural retraction", PRESENCE),
    feature("vascular_convergence", "vascular convergence", PRESENCE),
    feature("septal_stretching", "septal stretching", PRESENCE),
    feature("paracicatricial_emphysema", "paracicatricial emphysema", PRESENCE),
];

/// A word without what tables write in different ways: blanks around and between.
pub fn one_way(word: &str) -> String {
    word.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether two cells hold the same word: tables differ in capitals and blanks.
pub fn is_same_word(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split_whitespace(), b.split_whitespace());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a.to_lowercase() == b.to_lowercase() => {}
            _ => return false,
        }
    }
}

/// The known value that a cell of a column holds, as it is spelled here; the cell itself where it is none.
pub fn spelled<'a>(column: &str, cell: &'a str) -> &'a str {
    let feature = SEMANTIC_COLUMNS.iter().find(|feature| feature.name == column);
    let values = match feature {
        Some(feature) => feature.values,
        None if column == SUSPICION => &SUSPICION_LEVELS,
        None => return cell,
    };
    values.iter().find(|value| is_same_word(value, cell)).copied().unwrap_or(cell)
}

/// Column of the margin's conspicuity.
pub const CONSPICUITY: &str = "nodule_margin_conspicuity";
/// Column of the kind of margin.
pub const NODULE_MARGINS: &str = "nodule_margins";
/// Column of a second kind of margin.
pub const ADDITIONAL_MARGINS: &str = "additional_nodule_margins";
/// Column of the shape.
pub const SHAPE: &str = "nodule_shape";
/// Column of the consistency.
pub const CONSISTENCY: &str = "nodule_consistency";

/// Column of the longest diameter in the axial plane, in millimetres.
pub const LONGEST_DIAMETER: &str = "longest_axial_diameter_(mm)";
/// Column of the diameter across the longest one, in millimetres.
pub const SHORT_DIAMETER: &str = "short_diameter_(mm)";
/// Column of the mean diameter, in millimetres.
pub const MEAN_DIAMETER: &str = "mean_diameter";
/// Column of the longest diameter of a part-solid nodule's solid component, in millimetres.
pub const SOLID_DIAMETER: &str = "psn_longest_diameter_solid_component";

/// The columns of diameters, in the order of a sample table.
pub const DIAMETER_COLUMNS: [&str; 4] = [LONGEST_DIAMETER, SHORT_DIAMETER, MEAN_DIAMETER, SOLID_DIAMETER];

/// Column of the radiologist's level of suspicion.
pub const SUSPICION: &str = "level_of_suspicion_of_lung_cancer";

/// Levels of suspicion, rising.
pub const SUSPICION_LEVELS: [&str; 5] = ["Low", "Moderately Low", "Intermediate", "Moderately High", "High"];

const fn feature(
    name: &'static str,
    phrase: &'static str,
    values: &'static [&'static str],
) -> SemanticFeature {
    SemanticFeature { name, phrase, values }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_and_value_occurs_once() {
        let names: HashSet<&str> = SEMANTIC_COLUMNS.iter().map(|feature| feature.name).collect();
        assert_eq!(names.len(), SEMANTIC_COLUMNS.len());
        for feature in SEMANTIC_COLUMNS {
            let values: HashSet<&&str> = feature.values.iter().collect();
            assert_eq!(values.len(), feature.values.len(), "{}", feature.name);
        }
    }

    #[test]
    fn words_are_alike_but_for_capitals_and_blanks() {
        assert!(
            is_same_word(" pure  GROUND glass", "Pure ground glass") && !is_same_word("Solid", "Part-solid")
        );
        assert!(is_same_word("", " ") && !is_same_word("Solid", "Solid nodule"));
        for (column, cell, expected) in [
            (CONSISTENCY, "SOLID", "Solid"),
            (SUSPICION, "moderately  low", "Moderately Low"),
            ("necrosis", "present", "Present"),
            (SHAPE, "dumbbell", "dumbbell"),
            ("sex", "f", "f"),
        ] {
            assert_eq!(spelled(column, cell), expected);
        }
    }

    #[test]
    fn twelve_features_are_there_or_not() {
        assert_eq!(SEMANTIC_COLUMNS.iter().filter(|feature| feature.is_presence()).count(), 12);
    }
}
