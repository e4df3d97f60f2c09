//! What a user may choose about the phantoms, and the bounds within which they make sense.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PhantomError;

/// The shortest scan edge, in mm: below it a large nodule and its surroundings do not fit.
const SHORTEST_EDGE_MM: f64 = 64.0;

/// The most voxels along an axis.
const LONGEST_AXIS: usize = 1024;
/// The most voxels of a scan: 1 GiB of memory.
const MOST_VOXELS: usize = 1 << 29;

/// Parameters of synthetic chest CT patients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PhantomParameters {
    /// How many patients to make; each has one scan.
    pub patients: usize,
    /// Name of this set of patients, the first part of every pid: letters, digits and hyphens.
    /// Sets of different streams share no patient.
    pub stream: String,
    /// The most nodules in a patient, 1 to 3; most patients have one.
    pub max_nodules: usize,
    /// Voxels of a scan along x (to the patient's left), y (to the back) and z (to the head).
    pub shape: [usize; 3],
    /// Distance of neighbouring voxels along x, y and z, in mm.
    pub spacing: [f64; 3],
    /// Expected share of malignant nodules.
    pub prevalence: f64,
    /// How strongly the attributes decide malignancy: 1 is the documented risk, 0 none at all.
    pub signal: f64,
    /// Probability that a reader left a semantic feature blank.
    pub blank: f64,
    /// Standard deviation of the scanner's noise, in HU.
    pub noise_hu: f64,
}

impl Default for PhantomParameters {
    fn default() -> Self {
        Self {
            patients: 150,
            stream: "phantom".to_owned(),
            max_nodules: 3,
            shape: [112, 112, 56],
            spacing: [1.0, 1.0, 2.0],
            prevalence: 0.38,
            signal: 1.0,
            blank: 0.03,
            noise_hu: 12.0,
        }
    }
}

impl PhantomParameters {
    /// Checks every field against its bounds; the first that is out of them is the error.
    pub fn validate(&self) -> Result<(), PhantomError> {
        check(self.patients > 0, "patients", "must be at least 1")?;
        check(is_file_name_part(&self.stream), "stream", "must be 1 to 32 letters, digits and hyphens")?;
        check((1..=3).contains(&self.max_nodules), "max_nodules", "must be 1, 2 or 3")?;
        check(self.shape.iter().all(|n| *n <= LONGEST_AXIS), "shape", "must be at most 1024 on each axis")?;
        let small_enough = self.shape.iter().product::<usize>() <= MOST_VOXELS;
        check(small_enough, "shape", "must have at most 2^29 voxels")?;
        let spacing_fits = self.spacing.iter().all(|mm| (0.3..=5.0).contains(mm));
        check(spacing_fits, "spacing", "must be 0.3 to 5 mm on each axis")?;
        let long_enough = self.extent_mm().iter().all(|mm| *mm >= SHORTEST_EDGE_MM);
        check(long_enough, "shape", "must span at least 64 mm on each axis")?;
        let prevalence_fits = (0.01..=0.99).contains(&self.prevalence);
        check(prevalence_fits, "prevalence", "must be 0.01 to 0.99")?;
        check((0.0..=10.0).contains(&self.signal), "signal", "must be 0 to 10")?;
        check((0.0..=1.0).contains(&self.blank), "blank", "must be 0 to 1")?;
        check((0.0..=500.0).contains(&self.noise_hu), "noise_hu", "must be 0 to 500 HU")
    }

    /// Distance from the first voxel centre to the last along each axis, in mm.
    pub(super) fn extent_mm(&self) -> [f64; 3] {
        let mut extent = self.spacing;
        for (mm, voxels) in extent.iter_mut().zip(self.shape) {
            *mm *= voxels.saturating_sub(1) as f64;
        }
        extent
    }
}

fn check(holds: bool, field: &'static str, rule: &'static str) -> Result<(), PhantomError> {
    if holds { Ok(()) } else { Err(PhantomError::Parameter { field, rule }) }
}

/// File names are made of the stream; `_` separates pid and nodule there, so it is not allowed.
fn is_file_name_part(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_fill_in_what_is_left_out() {
        let parameters: PhantomParameters = serde_json::from_str(r#"{"patients": 7}"#).expect("parameters");
        assert_eq!(parameters, PhantomParameters { patients: 7, ..PhantomParameters::default() });
        parameters.validate().expect("valid defaults");
    }

    #[test]
    fn an_unknown_field_is_refused_and_every_field_is_in_the_schema() {
        assert!(serde_json::from_str::<PhantomParameters>(r#"{"patient": 7}"#).is_err());
        let schema = serde_json::to_value(schemars::schema_for!(PhantomParameters)).expect("JSON");
        for (name, property) in schema["properties"].as_object().expect("properties") {
            assert!(property["description"].is_string(), "{name} has no description");
        }
    }

    #[test]
    fn values_out_of_bounds_are_named() {
        let cases = [
            (r#"{"patients": 0}"#, "patients"),
            (r#"{"stream": ""}"#, "stream"),
            (r#"{"stream": "../a"}"#, "stream"),
            (r#"{"stream": "a_1"}"#, "stream"),
            (r#"{"max_nodules": 4}"#, "max_nodules"),
            (r#"{"shape": [0, 100, 100]}"#, "shape"),
            (r#"{"shape": [20, 100, 100]}"#, "shape"),
            (r#"{"shape": [100, 100, 18446744073709551615]}"#, "shape"),
            (r#"{"spacing": [0.0, 1.0, 1.0]}"#, "spacing"),
            (r#"{"prevalence": 1.0}"#, "prevalence"),
            (r#"{"signal": -1.0}"#, "signal"),
            (r#"{"blank": 1.5}"#, "blank"),
            (r#"{"noise_hu": -3.0}"#, "noise_hu"),
        ];
        for (text, expected) in cases {
            let parameters: PhantomParameters = serde_json::from_str(text).expect("parameters");
            match parameters.validate() {
                Err(PhantomError::Parameter { field, .. }) => assert_eq!(field, expected),
                other => panic!("{text}: {other:?}"),
            }
        }
        let not_a_number = PhantomParameters { prevalence: f64::NAN, ..PhantomParameters::default() };
        assert!(not_a_number.validate().is_err());
    }
}
