//! Synthetic chest CT patients: scans with lung nodules whose looks, recorded attributes and
//! malignancy belong together, so that the whole workflow can be tried where no patient data may go.
//!
//! Attributes come from a joint distribution ([`semantics`]), malignancy from a logistic model on
//! them ([`risk`]), and the image shows them: [`anatomy`], [`nodule`] and [`signs`] describe the
//! chest in LPS millimetres and [`render`] turns it into voxels. A patient depends on the
//! parameters, the seed and its own index only, so patients can be made in any order. Nothing here
//! writes files.

pub mod anatomy;
pub mod geometry;
pub mod nodule;
mod parameters;
mod placement;
pub mod render;
pub mod risk;
pub mod semantics;
pub mod signs;
mod table;
mod texture;

pub use parameters::PhantomParameters;
pub use table::{dataset_csv, image_path};

use anatomy::{Anatomy, TISSUE_HU};
use geometry::Point;
use nodule::NoduleBody;
use pipe_numerics::random::{Generator, RandomKey};
use placement::Place;
use render::{Grid, Object};
use risk::RiskModel;
use semantics::Attributes;
use signs::{Signs, Stroke};

/// What can go wrong when phantoms are made.
#[derive(Debug, thiserror::Error)]
pub enum PhantomError {
    /// A parameter is out of its bounds.
    #[error("phantom parameter `{field}` {rule}")]
    Parameter {
        /// The parameter.
        field: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A patient outside the set was asked for.
    #[error("no patient {index} in a set of {patients}")]
    NoSuchPatient {
        /// The index asked for.
        index: usize,
        /// The size of the set.
        patients: usize,
    },
    /// A scan is too small for a patient's first nodule.
    #[error("no room for a nodule of {longest_mm} mm in the scan of patient {pid}")]
    NoRoom {
        /// The patient.
        pid: String,
        /// The nodule's longest diameter, mm.
        longest_mm: f64,
    },
    /// The dataset table cannot be written.
    #[error("cannot write the dataset table")]
    Table {
        /// The cause.
        #[from]
        source: csv::Error,
    },
}

/// A CT volume in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// Voxels along x, y and z.
    pub shape: [usize; 3],
    /// Affine from voxel indices to RAS world millimetres.
    pub affine: [[f64; 4]; 4],
    /// Densities, HU, x fastest.
    pub voxels: Vec<i16>,
}

/// One nodule of a patient.
#[derive(Clone, Debug, PartialEq)]
pub struct Nodule {
    /// Number within the patient, from 0.
    pub nodule_id: usize,
    /// Centre, LPS mm.
    pub centre: Point,
    /// What it is like.
    pub attributes: Attributes,
    /// Which semantic columns the reader left blank, in table order.
    pub blank: [bool; 17],
    /// The reader's suspicion of cancer.
    pub suspicion: &'static str,
    /// The label.
    pub malignant: bool,
    /// The probability with which the label was drawn. Not part of the dataset.
    pub true_risk: f64,
}

/// One synthetic patient.
#[derive(Clone, Debug, PartialEq)]
pub struct Patient {
    /// Identifier: stream, hyphen, index in at least four digits.
    pub pid: String,
    /// The scan.
    pub scan: Scan,
    /// One to three nodules.
    pub nodules: Vec<Nodule>,
}

/// A set of phantoms, of which any patient can be made at any time.
#[derive(Clone, Debug)]
pub struct Phantom {
    parameters: PhantomParameters,
    seed: u64,
    risk_model: RiskModel,
}

/// A patient before rendering.
struct Plan {
    pid: String,
    key: RandomKey,
    grid: Grid,
    anatomy: Anatomy,
    places: Vec<Place>,
    nodules: Vec<Nodule>,
}

impl Phantom {
    /// Prepares a set; the parameters are checked.
    pub fn new(parameters: PhantomParameters, seed: u64) -> Result<Self, PhantomError> {
        parameters.validate()?;
        let risk_model = RiskModel::new(parameters.prevalence, parameters.signal);
        Ok(Self { parameters, seed, risk_model })
    }

    /// Number of patients in the set.
    pub fn patients(&self) -> usize {
        self.parameters.patients
    }

    /// The patient of an index below [`patients`](Self::patients). Memory: 2 bytes per voxel.
    pub fn patient(&self, index: usize) -> Result<Patient, PhantomError> {
        let plan = self.plan(index)?;
        let mut noise = plan.key.clone().text("purpose", "noise").generator();
        let noise_hu = self.parameters.noise_hu;
        let voxels = render::render(&plan.grid, &plan.anatomy, &plan.objects(), noise_hu, &mut noise);
        let scan = Scan { shape: plan.grid.shape, affine: plan.grid.affine(), voxels };
        Ok(Patient { pid: plan.pid, scan, nodules: plan.nodules })
    }

    /// The identifier and the nodules of a patient, without the work of rendering its scan.
    pub fn nodules(&self, index: usize) -> Result<(String, Vec<Nodule>), PhantomError> {
        self.plan(index).map(|plan| (plan.pid, plan.nodules))
    }

    fn plan(&self, index: usize) -> Result<Plan, PhantomError> {
        let patients = self.parameters.patients;
        if index >= patients {
            return Err(PhantomError::NoSuchPatient { index, patients });
        }
        let stream = &self.parameters.stream;
        let key = RandomKey::new(self.seed, "phantom").text("stream", stream).number("patient", index as u64);
        let anatomy = Anatomy::draw(&key);
        let mut plan = Plan {
            pid: format!("{stream}-{index:04}"),
            grid: self.grid(&anatomy, &key),
            key,
            anatomy,
            places: Vec::new(),
            nodules: Vec::new(),
        };
        self.add_nodules(&mut plan)?;
        Ok(plan)
    }

    /// Positions the scan. Its origin is a multiple of 1/8 mm, which the 32-bit numbers of a NIfTI
    /// header hold exactly.
    fn grid(&self, anatomy: &Anatomy, key: &RandomKey) -> Grid {
        let extent = self.parameters.extent_mm();
        let mut generator = key.clone().text("purpose", "position").generator();
        let centre = anatomy.scan_centre(extent, &mut generator);
        let origin = [0, 1, 2].map(|axis: usize| ((centre[axis] - extent[axis] / 2.0) * 8.0).round() / 8.0);
        Grid { shape: self.parameters.shape, spacing: self.parameters.spacing, origin }
    }

    fn add_nodules(&self, plan: &mut Plan) -> Result<(), PhantomError> {
        let mut generator = plan.key.clone().text("purpose", "nodules").generator();
        let scan = plan.grid.bounds();
        for _ in 0..draw_count(self.parameters.max_nodules, &mut generator) {
            let attributes = Attributes::draw(&mut generator);
            let place = placement::place(&plan.anatomy, &scan, &attributes, &plan.places, &mut generator);
            match place {
                Some(place) => {
                    let nodule = self.label(plan.nodules.len(), place.centre, attributes, &mut generator);
                    plan.places.push(place);
                    plan.nodules.push(nodule);
                }
                None if plan.nodules.is_empty() => {
                    let longest_mm = attributes.longest_mm;
                    return Err(PhantomError::NoRoom { pid: plan.pid.clone(), longest_mm });
                }
                // A full lung keeps the nodules it has.
                None => break,
            }
        }
        Ok(())
    }

    fn label(
        &self,
        nodule_id: usize,
        centre: Point,
        attributes: Attributes,
        generator: &mut Generator,
    ) -> Nodule {
        let true_risk = self.risk_model.risk(&attributes);
        let malignant = generator.chance(true_risk);
        let suspicion = risk::draw_suspicion(true_risk, generator);
        let blank = std::array::from_fn(|_| generator.chance(self.parameters.blank));
        Nodule { nodule_id, centre, attributes, blank, suspicion, malignant, true_risk }
    }
}

impl Plan {
    /// Everything to be painted into the lungs, in painting order.
    fn objects(&self) -> Vec<Object> {
        let vessels = self.anatomy.vessels(&self.key, &self.grid.bounds());
        let mut objects: Vec<Object> =
            vessels.into_iter().map(|tube| Object::Stroke(Stroke::tissue(tube, TISSUE_HU))).collect();
        for (place, nodule) in self.places.iter().zip(&self.nodules) {
            let number = nodule.nodule_id as u64;
            let mut generator =
                self.key.clone().text("purpose", "shape").number("nodule", number).generator();
            let body = NoduleBody::shape(place.centre, &nodule.attributes, &mut generator);
            let signs = Signs::draw(&nodule.attributes, &body, place.pleura, &mut generator);
            objects.extend(signs.around.into_iter().map(Object::Stroke));
            objects.push(Object::Nodule(body));
            objects.extend(signs.inside.into_iter().map(Object::Stroke));
        }
        objects
    }
}

/// How many nodules a patient has: each further one half as likely as the one before.
fn draw_count(most: usize, generator: &mut Generator) -> usize {
    let mut count = 1;
    while count < most && generator.chance(1.0 / 3.0) {
        count += 1;
    }
    count
}
