//! The dataset table of a set of phantoms, in the columns of the reference's dataset tables.

use super::{Nodule, PhantomError};
use crate::semantics::{DIAMETER_COLUMNS, SEMANTIC_COLUMNS, SUSPICION};

/// The columns before the semantic ones.
const LEADING_COLUMNS: [&str; 7] =
    ["pid", "nodule_id", "image_path", "coordX", "coordY", "coordZ", "malignant"];

/// Path of a patient's scan, relative to the folder of the table.
pub fn image_path(pid: &str) -> String {
    format!("scans/{pid}.nii.gz")
}

/// The bytes of `dataset.csv`: a header, then a row per nodule, patients and nodules in the order
/// given. Coordinates are LPS mm, `malignant` is 0 or 1, blank cells are empty.
pub fn dataset_csv<'a>(
    patients: impl IntoIterator<Item = (&'a str, &'a [Nodule])>,
) -> Result<Vec<u8>, PhantomError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let semantic = SEMANTIC_COLUMNS.map(|feature| feature.name);
    let columns = LEADING_COLUMNS.iter().chain(&DIAMETER_COLUMNS).chain(&semantic).chain([&SUSPICION]);
    writer.write_record(columns)?;
    for (pid, nodules) in patients {
        for nodule in nodules {
            writer.write_record(cells(pid, nodule))?;
        }
    }
    writer.into_inner().map_err(|error| PhantomError::Table { source: error.into_error().into() })
}

fn cells(pid: &str, nodule: &Nodule) -> Vec<String> {
    let mut cells = vec![pid.to_owned(), nodule.nodule_id.to_string(), image_path(pid)];
    cells.extend(nodule.centre.map(|coordinate| coordinate.to_string()));
    cells.push(u8::from(nodule.malignant).to_string());
    cells.extend(nodule.attributes.sizes_mm().map(|size| format!("{size:.1}")));
    let labels = nodule.attributes.labels().into_iter().zip(nodule.blank);
    cells.extend(labels.map(|(label, blank)| if blank { String::new() } else { label.to_owned() }));
    cells.push(nodule.suspicion.to_owned());
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phantom::semantics::Attributes;
    use pipe_numerics::random::RandomKey;

    const HEADER: &str = "pid,nodule_id,image_path,coordX,coordY,coordZ,malignant,longest_axial_diameter_(mm),\
        short_diameter_(mm),mean_diameter,psn_longest_diameter_solid_component,nodule_margin_conspicuity,\
        nodule_margins,additional_nodule_margins,nodule_shape,nodule_consistency,nodule_reticulation,\
        cyst-like_spaces,intra-nodular_bronchiectasis,necrosis,cavitation,eccentric_calcification,airway_cut-off,\
        pleural_attachment,pleural_retraction,vascular_convergence,septal_stretching,paracicatricial_emphysema,\
        level_of_suspicion_of_lung_cancer";

    #[test]
    fn rows_have_the_reference_columns_and_blanks_stay_empty() {
        let mut attributes = Attributes::draw(&mut RandomKey::new(1, "test").generator());
        (attributes.longest_mm, attributes.short_mm, attributes.solid_mm) = (12.0, 9.5, 0.0);
        let mut blank = [false; 17];
        blank[3] = true;
        let nodule = Nodule {
            nodule_id: 1,
            centre: [-12.5, 3.07, 100.0],
            attributes,
            blank,
            suspicion: "High",
            malignant: true,
            true_risk: 0.5,
        };
        let bytes =
            dataset_csv([("a-0001", [nodule].as_slice()), ("a-0002", [].as_slice())]).expect("a table");
        let text = String::from_utf8(bytes).expect("text");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], HEADER);
        assert!(lines[1].starts_with("a-0001,1,scans/a-0001.nii.gz,-12.5,3.07,100,1,12.0,9.5,10.8,0.0,"));
        let cells: Vec<_> = lines[1].split(',').collect();
        assert_eq!((cells.len(), cells[14], cells[28]), (29, "", "High"));
        assert!(cells.iter().enumerate().all(|(index, cell)| index == 14 || !cell.is_empty()));
    }
}
