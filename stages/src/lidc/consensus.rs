//! One nodule of several readers' annotations: medians of ratings and measures, modes of categories.

use std::collections::BTreeSet;

use super::database::{Annotation, LidcScan, Ratings};

/// How many of the ratings are graded; the others are categories.
pub const GRADED: usize = 6;

/// A nodule as its readers agree on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Nodule {
    /// How many annotations it is made of.
    pub readers: usize,
    /// Medians of sphericity, lobulation, texture, margin, spiculation and malignancy.
    pub ratings: [f64; GRADED],
    /// Median of the greatest axial diameters in millimetres.
    pub diameter: f64,
    /// Medians of the centroids' indices: row, column, slice.
    pub centroid: [f64; 3],
    /// The most frequent internal structures, rising; several where they tie.
    pub internal_structure: Vec<u8>,
    /// The most frequent calcifications, rising.
    pub calcification: Vec<u8>,
}

/// What is taken from one annotation.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    ratings: Ratings,
    diameter: f64,
    centroid: [f64; 3],
}

impl Reading {
    /// An annotation of a scan, measured.
    pub fn of(annotation: &Annotation, scan: &LidcScan) -> Self {
        Self {
            ratings: annotation.ratings,
            diameter: diameter(annotation) * scan.pixel_spacing,
            centroid: centroid(annotation),
        }
    }
}

/// The nodule that readings speak of; nothing without any.
pub fn agree(readings: &[Reading]) -> Option<Nodule> {
    let median_of = |value: &dyn Fn(&Reading) -> f64| median(readings.iter().map(value).collect());
    let rating = |position: usize| {
        median_of(&|reading| reading.ratings.get(position).map_or(f64::NAN, |&rating| rating.into()))
    };
    let category = |position: usize| {
        mode(readings.iter().filter_map(|reading| reading.ratings.get(position).copied()).collect())
    };
    let mut ratings = [0.0; GRADED];
    for (position, to) in ratings.iter_mut().enumerate() {
        *to = rating(position)?;
    }
    let mut middle = [0.0; 3];
    for (axis, to) in middle.iter_mut().enumerate() {
        *to = median_of(&|reading| reading.centroid.get(axis).copied().unwrap_or(f64::NAN))?;
    }
    Some(Nodule {
        readers: readings.len(),
        ratings,
        diameter: median_of(&|reading| reading.diameter)?,
        centroid: middle,
        internal_structure: category(GRADED),
        calcification: category(GRADED + 1),
    })
}

/// Mean of all points of all outlines.
fn centroid(annotation: &Annotation) -> [f64; 3] {
    let mut sums = [0.0; 3];
    let mut count = 0.0;
    for contour in &annotation.contours {
        for &[row, column] in &contour.points {
            for (sum, index) in sums.iter_mut().zip([row, column, contour.slice]) {
                *sum += f64::from(index);
            }
            count += 1.0;
        }
    }
    sums.map(|sum| sum / count)
}

/// The greatest distance of two points of one outline, in pixels. Where every outline is a single point, 0; pylidc
/// gives −∞ there.
fn diameter(annotation: &Annotation) -> f64 {
    let greatest = annotation.contours.iter().filter_map(|contour| {
        let points = &contour.points;
        let square = |a: &[i32; 2], b: &[i32; 2]| -> i64 {
            let [row, column] = [0, 1].map(|axis| i64::from(a[axis]) - i64::from(b[axis]));
            row * row + column * column
        };
        points.iter().flat_map(|a| points.iter().map(move |b| square(a, b))).max()
    });
    greatest.max().map_or(0.0, |square| (square as f64).sqrt())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    match values.len() % 2 {
        1 => Some(upper),
        _ => Some((values.get(middle - 1)? + upper) / 2.0),
    }
}

/// The most frequent values, rising.
fn mode(values: Vec<u8>) -> Vec<u8> {
    let count = |value: u8| values.iter().filter(|&&other| other == value).count();
    let most = values.iter().map(|&value| count(value)).max();
    let kinds: BTreeSet<u8> = values.iter().copied().collect();
    kinds.into_iter().filter(|&value| Some(count(value)) == most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lidc::database::Contour;

    #[test]
    fn a_nodule_has_its_readers_medians_and_modes() {
        let scan = LidcScan {
            patient: "p".into(),
            series: "s".into(),
            slice_thickness: 2.0,
            pixel_spacing: 0.5,
            slices: 9,
            annotations: Vec::new(),
        };
        let reading = |ratings: Ratings, far: i32| {
            let square = Contour { slice: 3, points: vec![[0, 0], [0, far], [far, 0], [far, far]] };
            let dot = Contour { slice: 4, points: vec![[100, 100]] };
            Reading::of(&Annotation { ratings, contours: vec![square, dot] }, &scan)
        };
        let readings = [reading([1, 2, 3, 4, 5, 1, 4, 6], 6), reading([2, 2, 4, 4, 5, 2, 1, 6], 8)];
        let nodule = agree(&readings).expect("a nodule");
        assert_eq!(nodule.ratings, [1.5, 2.0, 3.5, 4.0, 5.0, 1.5]);
        assert_eq!((nodule.internal_structure, nodule.calcification), (vec![1, 4], vec![6]));
        assert!((nodule.diameter - 7.0 * 2f64.sqrt() / 2.0).abs() < 1e-12);
        for (found, expected) in nodule.centroid.iter().zip([22.8, 22.8, 3.2]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!((nodule.readers, agree(&[])), (2, None));
    }
}
