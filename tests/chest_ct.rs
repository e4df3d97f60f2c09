//! Real chest CT with tumour masks, in NRRD (`scripts/chest-ct.sh` fetches them): centres and volumes, crops and planes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::PathBuf;

use support::{Workspace, has_part};

/// Of each mask: the centre in LPS millimetres and the volume in mm³, as SimpleITK finds them.
const KNOWN: [(&str, [f64; 4]); 2] = [
    ("lung1", [-21.858_572, -120.535_814, -611.496_416, 1_361.197_815]),
    ("lung2", [52.608_755, -95.868_491, -256.495_293, 48_434.108_762]),
];

#[test]
fn tumours_of_real_patients_lie_where_they_lie() {
    let folder = std::env::var_os("CHEST_CT").map(PathBuf::from).filter(|folder| folder.is_dir());
    if !has_part("chest-ct", folder.is_some(), "tumours_of_real_patients_lie_where_they_lie") {
        return;
    }
    let folder = folder.unwrap().canonicalize().unwrap();
    let workspace = Workspace::new();
    let row = |(name, _): &(&str, _)| {
        let path = |what: &str| folder.join(format!("{name}_{what}.nrrd")).display().to_string();
        format!("{name},{},{}\n", path("label"), path("image"))
    };
    let rows: String = KNOWN.iter().map(row).collect();
    workspace.write("masks.csv", format!("pid,mask_path,image_path\n{rows}"));
    workspace.write(
        "p.toml",
        "[stage.centroid]\ninputs = { masks = \"masks.csv\" }\npublish = \"centres\"\n\
         [stage.crop]\ninputs = { dataset = \"@centroid\" }\npublish = \"crops\"\n\
         [stage.slice]\ninputs = { volumes = \"@crop\" }\n",
    );
    workspace.pipe_ok(&["check", "p.toml"]);
    workspace.pipe_ok(&["run", "p.toml"]);
    let table = workspace.read("centres/dataset.csv");
    let header: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    for ((name, known), line) in KNOWN.iter().zip(table.lines().skip(1)) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells[0], *name);
        for (column, known) in ["coordX", "coordY", "coordZ", "volume_mm3"].iter().zip(known) {
            let place = header.iter().position(|name| name == column).unwrap();
            let found: f64 = cells[place].parse().unwrap();
            assert!((found - known).abs() < 2e-6, "{name} {column}: {found} and {known}");
        }
        // The middle of each cube is tumour, which is soft tissue: neither lung nor bone.
        let crop = std::fs::read(workspace.path(&format!("crops/{name}_1.safetensors"))).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&crop).unwrap();
        let volume = tensors.tensor("volume").unwrap();
        let [size, rows, columns] = volume.shape() else { panic!("{:?}", volume.shape()) };
        let middle = 4 * (size / 2 * rows * columns + rows / 2 * columns + columns / 2);
        let value = f32::from_le_bytes(volume.data()[middle..middle + 4].try_into().unwrap());
        assert!((-100.0..200.0).contains(&value), "{name}: {value} HU");
    }
}
