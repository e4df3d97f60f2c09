//! Kind `phantom`: synthetic patients with nodules whose malignancy the image shows.

use pipe_plugin::context::Context;
use pipe_plugin::stage::{About, OutputSpec, Stage, StageError, Whole};
use rayon::prelude::*;

use crate::phantom::risk::Ceiling;
use crate::phantom::{Nodule, Phantom as Patients, Scan};
use crate::phantom::{PhantomParameters, dataset_csv, image_path};
use pipe_imaging::affine::Affine;
use pipe_imaging::nifti_write::{Volume, nii_gz_bytes};

/// The kind.
pub struct Phantom;

impl Stage for Phantom {
    type Params = PhantomParameters;

    const ABOUT: About = About::new(
        "phantom",
        "makes synthetic CT scans of patients with nodules, and the table that describes them",
        crate::code_stamps::PHANTOM,
    )
    .outputs(&[
        OutputSpec::tree("dataset", "dataset.csv and scans/{pid}.nii.gz"),
        OutputSpec::file(
            "truth",
            "truth.json",
            "how well the labels can be predicted by one who knows the true risks",
        ),
    ])
    .random();

    fn check(&self, params: &PhantomParameters) -> Vec<String> {
        params.validate().err().map(|error| error.to_string()).into_iter().collect()
    }
}

impl Whole for Phantom {
    fn run(&self, params: &PhantomParameters, context: &mut Context<'_>) -> Result<(), StageError> {
        let set = Patients::new(params.clone(), context.seed())?;
        let total = set.patients() as u64;
        let done = std::sync::atomic::AtomicU64::new(0);
        let shared: &Context<'_> = context;
        let patients: Vec<(String, Vec<Nodule>)> = (0..set.patients())
            .into_par_iter()
            .map(|index| {
                shared.check_cancelled()?;
                let patient = set.patient(index)?;
                shared.write("dataset", &image_path(&patient.pid), &scan_bytes(&patient.scan)?)?;
                let done = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                shared.progress(done, total, "patients");
                Ok((patient.pid, patient.nodules))
            })
            .collect::<Result<_, StageError>>()?;
        let rows = patients.iter().map(|(pid, nodules)| (pid.as_str(), nodules.as_slice()));
        context.write("dataset", "dataset.csv", &dataset_csv(rows)?)?;
        let nodules = patients.iter().flat_map(|(_, nodules)| nodules);
        let risks: Vec<(f64, bool)> = nodules.map(|nodule| (nodule.true_risk, nodule.malignant)).collect();
        let mut truth = serde_json::to_vec_pretty(&Ceiling::measure(&risks))?;
        truth.push(b'\n');
        context.write("truth", "truth.json", &truth)
    }
}

fn scan_bytes(scan: &Scan) -> Result<Vec<u8>, StageError> {
    let [x, y, z, _] = scan.affine;
    Ok(nii_gz_bytes(&Volume {
        shape: scan.shape,
        affine: Affine::from_rows([x, y, z]),
        voxels: &scan.voxels,
    })?)
}
