//! What the columns of tables mean: for people who write tables, in `pipe stages KIND` and in `dataset_csv/README.md`.
//!
//! Kinds read columns by name and know nothing of this text, which has no part in any result.

use pipe_plugin::stage::Described;

use crate::semantics::{
    LONGEST_DIAMETER, MEAN_DIAMETER, SEMANTIC_COLUMNS, SHORT_DIAMETER, SOLID_DIAMETER, SUSPICION,
    SUSPICION_LEVELS,
};

/// The columns of a dataset table that are no semantic features, in the order of the sample.
const PLAIN: [(&str, &str); 11] = [
    ("pid", "patient; folds are divided by patient"),
    ("nodule_id", "number within the patient; `pid` and `nodule_id` together name a nodule"),
    (
        "image_path",
        "the CT scan, against the manifest's root: NIfTI (`.nii`, `.nii.gz`, or `.hdr` with its `.img`), NRRD (`.nrrd`, `.nhdr`) or MetaImage \
         (`.mha`, `.mhd`)",
    ),
    (
        "coordX",
        "the nodule's centre in LPS millimetres, towards the patient's left (of RAS, change the sign)",
    ),
    ("coordY", "the same, towards the patient's back (of RAS, change the sign)"),
    ("coordZ", "the same, towards the patient's head"),
    ("malignant", "0 or 1; may be absent from a table that is only predicted on"),
    (LONGEST_DIAMETER, "longest diameter in an axial plane, in millimetres"),
    (SHORT_DIAMETER, "diameter across the longest, in millimetres"),
    (MEAN_DIAMETER, "mean diameter, in millimetres"),
    (SOLID_DIAMETER, "longest diameter of a part-solid nodule's solid component, in millimetres"),
];

/// Columns of other tables.
const OTHERS: [(&str, &str); 11] = [
    ("mask_path", "the label mask, against the manifest's root, in the same formats"),
    ("series_instance_uid", "the DICOM series, as its files name it"),
    ("Series UID", "the same, in the metadata.csv of a download from TCIA"),
    ("File Location", "the series' folder in that table, against the folder that it lies in"),
    ("seriesuid", "the same as series_instance_uid, in the tables of LUNA16"),
    ("diameter_mm", "a nodule's diameter in the tables of LUNA16, in millimetres"),
    ("class", "1 for a candidate of LUNA16 that is a nodule, else 0; it goes on as it is"),
    ("x", "voxel index within a row"),
    ("y", "voxel index of the row"),
    ("z", "voxel index of the slice"),
    ("study_year", "the year of the study, where a patient has several scans"),
];

/// All columns of a dataset table, in the order of the sample.
pub fn of_dataset() -> Vec<Described> {
    let plain = PLAIN.iter().map(|(name, meaning)| Described { name, meaning, values: &[] });
    let features = SEMANTIC_COLUMNS.iter().map(|feature| Described {
        name: feature.name,
        meaning: feature.phrase,
        values: feature.values,
    });
    let suspicion = Described {
        name: SUSPICION,
        meaning: "the radiologist's suspicion of cancer",
        values: &SUSPICION_LEVELS,
    };
    plain.chain(features).chain([suspicion]).collect()
}

/// What a column means, if it is one that the kinds know.
pub fn described(name: &str) -> Option<Described> {
    let others = OTHERS.iter().map(|(name, meaning)| Described { name, meaning, values: &[] });
    of_dataset().into_iter().chain(others).find(|column| column.name == name)
}

/// The columns of a dataset table as a table in Markdown.
pub fn markdown() -> String {
    let line = |column: Described| {
        let values: Vec<String> = column.values.iter().map(|value| format!("`{value}`")).collect();
        let meaning = match values.is_empty() {
            true => column.meaning.to_owned(),
            false => format!("{}: {}", column.meaning, values.join(", ")),
        };
        format!("| `{}` | {meaning} |\n", column.name)
    };
    let lines: String = of_dataset().into_iter().map(line).collect();
    format!("| column | meaning, and known values |\n|---|---|\n{lines}")
}

#[cfg(test)]
mod tests {
    use pipe_plugin::table::Table;

    use super::*;
    use crate::semantics::is_same_word;

    fn shipped(name: &str) -> Vec<u8> {
        let path = format!("{}/../dataset_csv/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(&path).expect(&path)
    }

    #[test]
    fn the_readme_lists_the_columns_as_they_are_read() {
        let readme = String::from_utf8(shipped("README.md")).expect("text");
        assert!(
            readme.contains(&markdown()),
            "dataset_csv/README.md should have this table:\n{}",
            markdown()
        );
    }

    #[test]
    fn the_sample_has_every_column_with_known_values() {
        let table = Table::parse("sample.csv", &shipped("sample.csv")).expect("a table");
        let names: Vec<&str> = of_dataset().iter().map(|column| column.name).collect();
        assert_eq!(table.columns(), names);
        for column in of_dataset().into_iter().filter(|column| !column.values.is_empty()) {
            for cell in table.rows().iter().filter_map(|row| table.get(row, column.name)) {
                assert!(
                    column.values.iter().any(|value| is_same_word(value, cell)),
                    "{}: {cell}",
                    column.name
                );
            }
        }
    }
}
