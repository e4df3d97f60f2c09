//! The known name that somebody probably meant: of a column, or of a word in one.

/// Names that differ by no more than this in a hundred letters are near.
const PERCENT: usize = 23;

/// A name without what people write in different ways: capitals, blanks, signs.
fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether two names differ by capitals, blanks and signs at most.
pub fn is_same_but_for_signs(a: &str, b: &str) -> bool {
    folded(a) == folded(b)
}

/// Of known names, the one that is nearest to another, if one is near: written with other capitals or signs, with a
/// letter or two wrong, or one of them cut short.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = folded(name);
    let distance = |candidate: &'a str| {
        let other = folded(candidate);
        let distance = strsim::osa_distance(&name, &other);
        let shorter = name.chars().count().min(other.chars().count());
        let cut = shorter >= 4 && (name.starts_with(&other) || other.starts_with(&name));
        let near = distance == 0 || distance * 100 <= shorter * PERCENT || cut;
        near.then_some((distance, candidate))
    };
    known
        .into_iter()
        .filter_map(distance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_found() {
        let known = [
            "pid",
            "nodule_id",
            "coordX",
            "coordY",
            "malignant",
            "longest_axial_diameter_(mm)",
            "nodule_margins",
            "nodule_margin_conspicuity",
            "level_of_suspicion_of_lung_cancer",
            "mean_diameter",
        ];
        for (name, expected) in [
            ("Malignant", Some("malignant")),
            ("Malignancy", Some("malignant")),
            ("malignent", Some("malignant")),
            ("coordx", Some("coordX")),
            ("coord_y", Some("coordY")),
            ("nodule-id", Some("nodule_id")),
            ("PID", Some("pid")),
            ("nodule_margin", Some("nodule_margins")),
            ("longest_axial_diameter_mm", Some("longest_axial_diameter_(mm)")),
            ("longest axial diameter", Some("longest_axial_diameter_(mm)")),
            ("level_of_suspicion", Some("level_of_suspicion_of_lung_cancer")),
            ("mean_diameter_mm", Some("mean_diameter")),
            ("sex", None),
            ("age", None),
            ("id", None),
            ("study_year", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }
}
