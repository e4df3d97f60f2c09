//! Which of a NIfTI header's two orientations counts, and refusing to guess when they differ.
//!
//! A header can hold an sform (an affine) and a qform (a rotation and a spacing). ITK 5.4 prefers one
//! of them silently even where they contradict each other; here a contradiction is an error unless
//! the caller chooses.

use super::affine::Affine;

/// Two forms agree when translations differ by at most this many millimetres and each voxel step by
/// at most this share of its length (of 1 mm, for shorter steps).
const AGREEMENT: f64 = 1e-3;
/// The largest |cosine| between voxel axes that still counts as rectangular.
const RECTANGULAR: f64 = 1e-3;
/// How far b² + c² + d² may exceed 1 through rounding before it is no quaternion.
const QUATERNION_ROUNDING: f64 = 1e-3;

/// The choice between a header's two orientations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orientation {
    /// ITK's choice, provided that the two forms agree and the sform is a rotation with a spacing.
    #[default]
    Auto,
    /// The sform, whatever the qform says and even if sheared.
    Sform,
    /// The qform, whatever the sform says.
    Qform,
    /// As [`Orientation::Auto`], and where a header has neither form, ITK's placement: voxel axes along L, P and S, the
    /// first voxel at the origin.
    Itk,
}

/// One of the orientations and the header byte where it lies, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `srow_x`, `srow_y`, `srow_z`.
    Sform(usize),
    /// Quaternion, offsets and `pixdim`.
    Qform(usize),
    /// Neither is coded: `pixdim` alone.
    Spacing(usize),
}

impl std::fmt::Display for Form {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sform(byte) => write!(formatter, "sform (srow_x, byte {byte})"),
            Self::Qform(byte) => write!(formatter, "qform (quatern_b, byte {byte})"),
            Self::Spacing(byte) => write!(formatter, "voxel spacing (pixdim[1], byte {byte})"),
        }
    }
}

/// Header bytes of the orientation fields, for messages: they differ between NIfTI-1 and NIfTI-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// `sform_code` and `qform_code`.
    pub codes: [usize; 2],
    /// `srow_x`.
    pub sform: usize,
    /// `quatern_b`.
    pub quaternion: usize,
    /// `pixdim[1..=3]`.
    pub spacing: [usize; 3],
}

/// Why a header gives no usable orientation.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OrientationError {
    /// Neither form has a code.
    #[error(
        "sform_code (byte {}) and qform_code (byte {}) are 0: the header does not say how the scan lies in the \
         patient, and programs differ in what they make of it",
        codes[0], codes[1]
    )]
    Unknown {
        /// The bytes of `sform_code` and `qform_code` in the header.
        codes: [usize; 2],
    },
    /// A header of another format leaves open what its axes mean in the patient.
    #[error("{why}: the header does not say how the scan lies in the patient")]
    NotStated {
        /// What is missing.
        why: &'static str,
    },
    /// The form that was asked for has code 0.
    #[error("the {form} was asked for, but its code is 0")]
    Missing {
        /// The form asked for.
        form: Form,
    },
    /// The map has a NaN or an infinity.
    #[error("the {form} is not finite")]
    NotFinite {
        /// The form at fault.
        form: Form,
    },
    /// The map has no inverse.
    #[error("the {form} is singular: its voxels have no volume")]
    Singular {
        /// The form at fault.
        form: Form,
    },
    /// A spacing that is zero or negative.
    #[error("pixdim[{axis}] (byte {offset}) is {found}, expected a positive spacing")]
    Spacing {
        /// Axis, 1 to 3.
        axis: usize,
        /// The field's byte in the header.
        offset: usize,
        /// The spacing found.
        found: f64,
    },
    /// The quaternion is longer than 1.
    #[error("quatern_b, c, d (byte {offset}) have the squared length {found}, expected at most 1")]
    Quaternion {
        /// The first field's byte in the header.
        offset: usize,
        /// b² + c² + d².
        found: f64,
    },
    /// The sform has oblique voxel axes.
    #[error(
        "the {form} is sheared (cosine {cosine:.4} between voxel axes); choose orientation = \"sform\" or \"qform\""
    )]
    Sheared {
        /// The sform.
        form: Form,
        /// The largest |cosine| between two axes.
        cosine: f64,
    },
    /// The two forms contradict each other.
    #[error(
        "the {sform} and the {qform} differ by {difference:.4}; choose orientation = \"sform\" or \"qform\""
    )]
    Disagree {
        /// One of them.
        sform: Form,
        /// The other.
        qform: Form,
        /// The largest difference of an entry: mm, or a share of the voxel's edge.
        difference: f64,
    },
}

impl OrientationError {
    /// What to do about it, where a choice settles it.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Unknown { .. } => Some(
                "set orientation = \"itk\" in params if points and masks were made with ITK (SimpleITK, 3D Slicer), which \
                 takes the axes as LPS and the first voxel as the origin; else write the header with a code",
            ),
            Self::Sheared { .. } | Self::Disagree { .. } => {
                Some("set orientation in params to the form that points and masks were made with")
            }
            _ => None,
        }
    }
}

/// The orientation fields of one header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forms {
    /// `sform_code`; above 0 when the sform is given.
    pub sform_code: i32,
    /// `qform_code`; above 0 when the qform is given.
    pub qform_code: i32,
    /// `srow_x`, `srow_y`, `srow_z`.
    pub sform_rows: [[f64; 4]; 3],
    /// `quatern_b`, `quatern_c`, `quatern_d`.
    pub quaternion: [f64; 3],
    /// `qoffset_x`, `qoffset_y`, `qoffset_z`.
    pub offset: [f64; 3],
    /// Whether `pixdim[0]` is negative: the qform's third axis is mirrored.
    pub mirrored: bool,
    /// `pixdim[1..=3]`.
    pub spacing: [f64; 3],
    /// Millimetres in one of the header's length units (`xyzt_units`).
    pub millimetres: f64,
    /// Where the header has these fields.
    pub offsets: Offsets,
}

impl Forms {
    /// The map from voxel indices to RAS millimetres (SPEC section 1, step 1).
    ///
    /// # Errors
    /// [`OrientationError`] when the chosen form is missing, not finite or singular, and under
    /// [`Orientation::Auto`] also when the two forms disagree or the sform is sheared.
    pub fn affine(&self, orientation: Orientation) -> Result<Affine, OrientationError> {
        match orientation {
            Orientation::Sform => self.sform(),
            Orientation::Qform => self.qform(),
            Orientation::Auto if !self.is_coded() => {
                Err(OrientationError::Unknown { codes: self.offsets.codes })
            }
            Orientation::Itk if !self.is_coded() => self.uncoded(),
            Orientation::Auto | Orientation::Itk => self.agreed(),
        }
    }

    /// Whether the header says how the scan lies in the patient.
    fn is_coded(&self) -> bool {
        self.sform_code > 0 || self.qform_code > 0
    }

    /// ITK's choice: the sform when its code is 1 or there is no qform, else the qform.
    fn agreed(&self) -> Result<Affine, OrientationError> {
        match (self.sform_code > 0, self.qform_code > 0) {
            (false, _) => self.qform(),
            (true, false) => self.rectangular_sform(),
            (true, true) => {
                let sform = self.rectangular_sform()?;
                let qform = self.qform()?;
                let difference = difference(&sform, &qform);
                if difference > AGREEMENT {
                    let (sform, qform) = (self.sform_name(), self.qform_name());
                    return Err(OrientationError::Disagree { sform, qform, difference });
                }
                Ok(if self.sform_code == 1 { sform } else { qform })
            }
        }
    }

    fn sform(&self) -> Result<Affine, OrientationError> {
        if self.sform_code <= 0 {
            return Err(OrientationError::Missing { form: self.sform_name() });
        }
        self.usable(Affine::from_rows(self.sform_rows), self.sform_name())
    }

    fn rectangular_sform(&self) -> Result<Affine, OrientationError> {
        let sform = self.sform()?;
        let cosine = sform.shear();
        if cosine > RECTANGULAR {
            return Err(OrientationError::Sheared { form: self.sform_name(), cosine });
        }
        Ok(sform)
    }

    fn qform(&self) -> Result<Affine, OrientationError> {
        if self.qform_code <= 0 {
            return Err(OrientationError::Missing { form: self.qform_name() });
        }
        self.check_spacing()?;
        let found = self.quaternion.iter().map(|entry| entry * entry).sum::<f64>();
        if found > 1.0 + QUATERNION_ROUNDING {
            return Err(OrientationError::Quaternion { offset: self.offsets.quaternion, found });
        }
        let affine = Affine::from_quaternion(self.quaternion, self.spacing, self.mirrored, self.offset);
        self.usable(affine, self.qform_name())
    }

    /// What ITK 5.4 makes of a header without codes: directions are the identity in LPS, and offsets do not count.
    fn uncoded(&self) -> Result<Affine, OrientationError> {
        self.check_spacing()?;
        let [x, y, z] = self.spacing;
        self.usable(Affine::from_spacing([-x, -y, z]), Form::Spacing(self.offsets.spacing[0]))
    }

    fn check_spacing(&self) -> Result<(), OrientationError> {
        for (axis, (&found, offset)) in (1..).zip(self.spacing.iter().zip(self.offsets.spacing)) {
            if !(found > 0.0 && found.is_finite()) {
                return Err(OrientationError::Spacing { axis, offset, found });
            }
        }
        Ok(())
    }

    fn usable(&self, affine: Affine, form: Form) -> Result<Affine, OrientationError> {
        // Finite fields may still leave the range once they are turned into millimetres.
        let affine = affine.scaled(self.millimetres);
        if !affine.is_finite() {
            return Err(OrientationError::NotFinite { form });
        }
        if affine.is_singular() {
            return Err(OrientationError::Singular { form });
        }
        Ok(affine)
    }

    fn sform_name(&self) -> Form {
        Form::Sform(self.offsets.sform)
    }

    fn qform_name(&self) -> Form {
        Form::Qform(self.offsets.quaternion)
    }
}

/// The largest difference of an entry; a voxel step longer than 1 mm counts relative to its length,
/// because a quaternion stored as f32 fixes a direction and not a distance.
fn difference(sform: &Affine, qform: &Affine) -> f64 {
    let largest = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
    let steps = sform.columns().into_iter().zip(qform.columns()).zip(qform.spacing());
    steps
        .map(|((a, b), length)| largest(a, b) / length.max(1.0))
        .fold(largest(sform.translation, qform.translation), f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LPS storage, 0.7 × 0.7 × 2 mm, both forms the same.
    fn consistent() -> Forms {
        Forms {
            sform_code: 1,
            qform_code: 1,
            sform_rows: [[-0.7, 0.0, 0.0, 30.0], [0.0, -0.7, 0.0, 20.0], [0.0, 0.0, 2.0, -90.0]],
            quaternion: [0.0, 0.0, 1.0],
            offset: [30.0, 20.0, -90.0],
            mirrored: false,
            spacing: [0.7, 0.7, 2.0],
            millimetres: 1.0,
            offsets: Offsets { codes: [254, 252], sform: 280, quaternion: 256, spacing: [80, 84, 88] },
        }
    }

    #[test]
    fn forms_that_agree_give_one_affine_under_every_choice() {
        let forms = consistent();
        let affine = forms.affine(Orientation::Auto).expect("they agree");
        assert_eq!(affine.apply([1.0, 1.0, 1.0]), [29.3, 19.3, -88.0]);
        assert_eq!(forms.affine(Orientation::Sform).expect("given"), affine);
        assert_eq!(forms.affine(Orientation::Qform).expect("given"), affine);
    }

    #[test]
    fn auto_follows_the_codes() {
        // Within the tolerance the two differ, which tells which one was taken.
        let with = |sform_code, qform_code| {
            let forms = Forms { sform_code, qform_code, offset: [30.0005, 20.0, -90.0], ..consistent() };
            forms.affine(Orientation::Auto).expect("they agree").translation[0]
        };
        let (sform, qform) = (30.0, 30.0005);
        for (sform_code, qform_code, expected) in
            [(1, 1, sform), (1, 0, sform), (2, 0, sform), (2, 1, qform), (4, 2, qform), (0, 1, qform)]
        {
            assert_eq!(with(sform_code, qform_code), expected, "sform {sform_code}, qform {qform_code}");
        }
    }

    #[test]
    fn a_header_without_codes_says_nothing() {
        let forms = Forms { sform_code: 0, qform_code: 0, ..consistent() };
        for orientation in [Orientation::Auto, Orientation::Sform, Orientation::Qform] {
            assert!(forms.affine(orientation).is_err(), "{orientation:?}");
        }
        let error = forms.affine(Orientation::Auto).expect_err("no codes");
        assert!(error.to_string().contains("does not say how the scan lies"), "{error}");
        assert!(error.advice().is_some_and(|advice| advice.contains("orientation = \"itk\"")), "{error}");
    }

    /// SimpleITK 2.5 (ITK 5.4) of headers with both codes 0, whatever the quaternion, the offsets, the rows of the
    /// sform and the sign of pixdim[0] are: GetSpacing() is pixdim in millimetres, GetOrigin() is (0, 0, 0) and
    /// GetDirection() the identity, in LPS. TransformIndexToPhysicalPoint((1, 2, 3)) with spacing (1.25, 1.5, 2) is
    /// (1.25, 3, 6), with the micrometre as unit (0.00125, 0.003, 0.006).
    #[test]
    fn itk_places_a_header_without_codes_along_lps() {
        let forms = Forms { sform_code: 0, qform_code: 0, spacing: [1.25, 1.5, 2.0], ..consistent() };
        for (mirrored, millimetres) in [(false, 1.0), (true, 1.0), (false, 0.001)] {
            let forms = Forms { mirrored, millimetres, ..forms };
            let [x, y, z] = forms.affine(Orientation::Itk).expect("ITK's").apply([1.0, 2.0, 3.0]);
            let lps = [-x, -y, z].map(|at| at / millimetres);
            for (found, expected) in lps.iter().zip([1.25, 3.0, 6.0]) {
                assert!((found - expected).abs() < 1e-12, "{lps:?}");
            }
        }
        // With codes ITK's choice is that of auto.
        assert_eq!(consistent().affine(Orientation::Itk), consistent().affine(Orientation::Auto));
    }

    #[test]
    fn a_disagreement_is_an_error_unless_one_is_chosen() {
        for forms in [
            Forms { offset: [30.1, 20.0, -90.0], ..consistent() },
            Forms { spacing: [0.7, 0.7, 2.5], ..consistent() },
            Forms { quaternion: [0.0, 0.1, 0.994_987_437], ..consistent() },
            Forms { mirrored: true, ..consistent() },
        ] {
            let error = forms.affine(Orientation::Auto).expect_err("they disagree");
            assert!(matches!(error, OrientationError::Disagree { .. }), "{error}");
            assert!(forms.affine(Orientation::Sform).is_ok() && forms.affine(Orientation::Qform).is_ok());
        }
    }

    #[test]
    fn a_sheared_sform_is_an_error_unless_chosen() {
        let mut forms = consistent();
        forms.sform_rows[0][2] = 0.3;
        for qform_code in [0, 1] {
            let forms = Forms { qform_code, ..forms };
            let error = forms.affine(Orientation::Auto).expect_err("sheared");
            assert!(matches!(error, OrientationError::Sheared { .. }), "{error}");
            assert!(forms.affine(Orientation::Sform).is_ok());
        }
    }

    #[test]
    fn unusable_forms_are_refused_and_named() {
        let mut singular = consistent();
        singular.sform_rows[1] = singular.sform_rows[0];
        let mut infinite = consistent();
        infinite.sform_rows[1][3] = f64::INFINITY;
        let long = Forms { quaternion: [1.0, 1.0, 0.0], ..consistent() };
        let flat = Forms { spacing: [0.7, 0.0, 2.0], ..consistent() };
        for (forms, orientation, part) in [
            (singular, Orientation::Auto, "sform (srow_x, byte 280) is singular"),
            (singular, Orientation::Sform, "singular"),
            (infinite, Orientation::Auto, "not finite"),
            (long, Orientation::Qform, "quatern_b"),
            (flat, Orientation::Qform, "pixdim[2] (byte 84) is 0"),
            (Forms { sform_code: 0, ..consistent() }, Orientation::Sform, "its code is 0"),
            (Forms { qform_code: 0, ..consistent() }, Orientation::Qform, "its code is 0"),
        ] {
            let error = forms.affine(orientation).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(singular.affine(Orientation::Qform).is_ok());
    }

    #[test]
    fn the_unit_scales_steps_and_offsets() {
        let metres = Forms { millimetres: 1000.0, ..consistent() };
        let affine = metres.affine(Orientation::Auto).expect("they agree");
        assert_eq!(affine.apply([0.0; 3]), [30_000.0, 20_000.0, -90_000.0]);
        assert!((affine.spacing()[2] - 2000.0).abs() < 1e-9);
    }
}
