//! Which annotations of a scan mean the same nodule: those whose outlines touch, as `pylidc.Scan.cluster_annotations`
//! with its defaults finds them.
//!
//! Annotations are neighbours when two of their points are no farther apart than the tolerance, and a nodule is what
//! neighbours connect. Where that gives a nodule of more annotations than there were readers, the tolerance shrinks
//! until it does not. pylidc measures distances between indices and compares them with the slice thickness in
//! millimetres; so does this.

use rayon::prelude::*;

use super::database::{Annotation, LidcScan};

/// Readers of a scan.
const READERS: usize = 4;
/// By what the tolerance shrinks, and where it stops.
const FACTOR: f64 = 0.9;
const LEAST_TOLERANCE: f64 = 0.1;

/// Clusters of a scan's annotations by position, ordered by the mean height of their centroids.
pub fn clusters(scan: &LidcScan) -> Vec<Vec<usize>> {
    let count = scan.annotations.len();
    let points: Vec<Points> = scan.annotations.iter().map(Points::of).collect();
    let mut tolerance = scan.slice_thickness;
    let distances = distances(&points, tolerance);
    let mut labels = components(count, &distances, tolerance);
    while largest(&labels) > READERS {
        tolerance *= FACTOR;
        if tolerance < LEAST_TOLERANCE {
            break;
        }
        labels = components(count, &distances, tolerance);
    }
    let mut clusters: Vec<Vec<usize>> = Vec::new();
    for (annotation, label) in labels.into_iter().enumerate() {
        if clusters.len() <= label {
            clusters.resize(label + 1, Vec::new());
        }
        if let Some(cluster) = clusters.get_mut(label) {
            cluster.push(annotation);
        }
    }
    let height = |cluster: &Vec<usize>| {
        let heights = cluster.iter().filter_map(|&annotation| points.get(annotation)).map(Points::height);
        heights.sum::<f64>() / cluster.len().max(1) as f64
    };
    clusters.sort_by(|a, b| height(a).total_cmp(&height(b)));
    clusters
}

/// All points of an annotation and the box around them.
struct Points {
    points: Vec<[i32; 3]>,
    low: [i32; 3],
    high: [i32; 3],
}

impl Points {
    fn of(annotation: &Annotation) -> Self {
        let contours = annotation.contours.iter();
        let points: Vec<[i32; 3]> = contours
            .flat_map(|contour| contour.points.iter().map(|&[row, column]| [row, column, contour.slice]))
            .collect();
        let bound = |pick: fn(i32, i32) -> i32, start: i32| {
            points
                .iter()
                .fold([start; 3], |bound, point| std::array::from_fn(|axis| pick(bound[axis], point[axis])))
        };
        Self { low: bound(i32::min, i32::MAX), high: bound(i32::max, i32::MIN), points }
    }

    /// Mean index along the third axis.
    fn height(&self) -> f64 {
        self.points.iter().map(|point| f64::from(point[2])).sum::<f64>() / self.points.len().max(1) as f64
    }

    /// The smallest square distance of two points; nothing if it is above `limit` for sure.
    fn square_distance(&self, other: &Self, limit: f64) -> Option<i64> {
        let gap = |axis: usize| {
            i64::from(other.low[axis].saturating_sub(self.high[axis]))
                .max(i64::from(self.low[axis].saturating_sub(other.high[axis])))
                .max(0)
        };
        let apart: i64 = (0..3).map(|axis| gap(axis) * gap(axis)).sum();
        if apart as f64 > limit {
            return None;
        }
        let nearest = |point: &[i32; 3]| {
            let square = |other: &[i32; 3]| -> i64 {
                (0..3).map(|axis| i64::from(point[axis]) - i64::from(other[axis])).map(|x| x * x).sum()
            };
            other.points.iter().map(square).min()
        };
        self.points.iter().filter_map(nearest).min()
    }
}

/// Pairs of annotations with their distance, as far as it is within the tolerance.
fn distances(points: &[Points], tolerance: f64) -> Vec<(usize, usize, f64)> {
    let pairs: Vec<(usize, usize)> =
        (0..points.len()).flat_map(|a| (a + 1..points.len()).map(move |b| (a, b))).collect();
    let distance = |&(a, b): &(usize, usize)| {
        let square = points.get(a)?.square_distance(points.get(b)?, tolerance * tolerance)?;
        let distance = (square as f64).sqrt();
        (distance <= tolerance).then_some((a, b, distance))
    };
    pairs.par_iter().filter_map(distance).collect()
}

/// The component of each of `count` nodes, numbered by their first nodes.
fn components(count: usize, distances: &[(usize, usize, f64)], tolerance: f64) -> Vec<usize> {
    let mut first: Vec<usize> = (0..count).collect();
    fn root(first: &[usize], mut node: usize) -> usize {
        while let Some(&up) = first.get(node).filter(|&&up| up != node) {
            node = up;
        }
        node
    }
    for &(a, b, _) in distances.iter().filter(|(_, _, distance)| *distance <= tolerance) {
        let (a, b) = (root(&first, a), root(&first, b));
        if let Some(later) = first.get_mut(a.max(b)) {
            *later = a.min(b);
        }
    }
    let roots: Vec<usize> = (0..count).map(|node| root(&first, node)).collect();
    let mut numbers = vec![None; count];
    let mut next = 0;
    let mut label = |root: usize| {
        let number = numbers.get_mut(root)?;
        if number.is_none() {
            *number = Some(next);
            next += 1;
        }
        *number
    };
    roots.into_iter().filter_map(&mut label).collect()
}

/// Size of the largest component.
fn largest(labels: &[usize]) -> usize {
    let mut sizes = vec![0; labels.len()];
    for &label in labels {
        if let Some(size) = sizes.get_mut(label) {
            *size += 1;
        }
    }
    sizes.into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lidc::database::Contour;

    /// An annotation of one point.
    fn at(row: i32, column: i32, slice: i32) -> Annotation {
        Annotation { ratings: [1; 8], contours: vec![Contour { slice, points: vec![[row, column]] }] }
    }

    fn scan(slice_thickness: f64, annotations: Vec<Annotation>) -> LidcScan {
        LidcScan {
            patient: "p".into(),
            series: "s".into(),
            slice_thickness,
            pixel_spacing: 1.0,
            slices: 9,
            annotations,
        }
    }

    #[test]
    fn neighbours_connect_over_others_and_the_lowest_come_first() {
        let annotations = vec![at(0, 0, 5), at(9, 9, 1), at(0, 4, 5), at(0, 2, 5)];
        assert_eq!(clusters(&scan(2.0, annotations.clone())), [vec![1], vec![0, 2, 3]]);
        assert_eq!(clusters(&scan(1.9, annotations)), [vec![1], vec![0], vec![2], vec![3]]);
        assert!(clusters(&scan(2.0, Vec::new())).is_empty());
    }

    #[test]
    fn no_nodule_has_more_annotations_than_readers_unless_it_cannot_be_helped() {
        let near = |column: i32| at(0, column, 0);
        let row: Vec<Annotation> = [0, 1, 2, 5, 6, 7].map(near).to_vec();
        assert_eq!(clusters(&scan(3.0, row)), [vec![0, 1, 2], vec![3, 4, 5]]);
        let same: Vec<Annotation> = (0..5).map(|_| near(0)).collect();
        assert_eq!(clusters(&scan(3.0, same)), [vec![0, 1, 2, 3, 4]]);
    }
}
