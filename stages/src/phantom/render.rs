//! From a scene in millimetres to the voxels of a scan, one slice after the other.
//!
//! The background is asked once per voxel; every object only for the voxels near it.

use super::anatomy::Anatomy;
use super::geometry::{Bounds, Point};
use super::nodule::NoduleBody;
use super::signs::Stroke;
use pipe_numerics::random::Generator;

/// The voxel grid of a scan, stored from right to left, front to back, feet to head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Voxels along x, y and z.
    pub shape: [usize; 3],
    /// Distance of neighbouring voxels along x, y and z, mm.
    pub spacing: [f64; 3],
    /// LPS mm of the centre of the first voxel.
    pub origin: Point,
}

impl Grid {
    /// The affine from voxel indices to RAS millimetres, as NIfTI files have it.
    pub fn affine(&self) -> [[f64; 4]; 4] {
        let ([dx, dy, dz], [x, y, z]) = (self.spacing, self.origin);
        [[-dx, 0.0, 0.0, -x], [0.0, -dy, 0.0, -y], [0.0, 0.0, dz, z], [0.0, 0.0, 0.0, 1.0]]
    }

    /// The box of all voxel centres.
    pub fn bounds(&self) -> Bounds {
        let [x, y, z] =
            [0, 1, 2].map(|axis: usize| self.coordinate(axis, self.shape[axis].saturating_sub(1)));
        Bounds { low: self.origin, high: [x, y, z] }
    }

    fn coordinate(&self, axis: usize, index: usize) -> f64 {
        self.origin[axis] + index as f64 * self.spacing[axis]
    }

    /// The indices along an axis whose voxel centres are in [low, high].
    fn indices(&self, axis: usize, low: f64, high: f64) -> std::ops::Range<usize> {
        let voxels = self.shape[axis] as f64;
        let position = |coordinate: f64| (coordinate - self.origin[axis]) / self.spacing[axis];
        let first = position(low).ceil().clamp(0.0, voxels) as usize;
        let end = (position(high).floor() + 1.0).clamp(0.0, voxels) as usize;
        first..end
    }
}

/// Something that changes the density of the lung it lies in.
#[derive(Clone, Debug)]
pub enum Object {
    /// A tube: vessel, spike, cavity.
    Stroke(Stroke),
    /// The body of a nodule.
    Nodule(NoduleBody),
}

impl Object {
    fn bounds_at(&self, z: f64) -> Option<Bounds> {
        match self {
            Self::Stroke(stroke) => stroke.tube.bounds_at(z, stroke.blur_mm / 2.0),
            Self::Nodule(body) => {
                let bounds = body.bounds();
                (bounds.low[2]..=bounds.high[2]).contains(&z).then_some(bounds)
            }
        }
    }

    fn paint(&self, point: Point, below: f64) -> f64 {
        match self {
            Self::Stroke(stroke) => stroke.paint(point, below),
            Self::Nodule(body) => body.paint(point, below),
        }
    }
}

/// Renders the chest with the objects painted into its lungs in their order, adds noise and rounds
/// to HU. The result has x fastest, then y, then z.
pub fn render(
    grid: &Grid,
    anatomy: &Anatomy,
    objects: &[Object],
    noise_hu: f64,
    noise: &mut Generator,
) -> Vec<i16> {
    let [columns, rows, slices] = grid.shape;
    let mut voxels = Vec::with_capacity(columns * rows * slices);
    let mut slice = Slice { columns, tissue: Vec::with_capacity(columns * rows) };
    for index in 0..slices {
        let z = grid.coordinate(2, index);
        slice.fill(grid, anatomy, z);
        for object in objects {
            slice.paint(grid, object, z);
        }
        voxels.extend(slice.tissue.iter().map(|(hu, _)| quantise(hu + noise_hu * noise.normal())));
    }
    voxels
}

/// Rounds to the whole HU that scanners store.
fn quantise(hu: f64) -> i16 {
    hu.round().clamp(-1024.0, 3071.0) as i16
}

/// One axial slice: density and share of lung of each voxel, x fastest.
struct Slice {
    columns: usize,
    tissue: Vec<(f64, f64)>,
}

impl Slice {
    fn fill(&mut self, grid: &Grid, anatomy: &Anatomy, z: f64) {
        self.tissue.clear();
        for row in 0..grid.shape[1] {
            let y = grid.coordinate(1, row);
            let tissue = (0..self.columns).map(|column| anatomy.tissue([grid.coordinate(0, column), y, z]));
            self.tissue.extend(tissue);
        }
    }

    fn paint(&mut self, grid: &Grid, object: &Object, z: f64) {
        let Some(bounds) = object.bounds_at(z) else { return };
        let columns = grid.indices(0, bounds.low[0], bounds.high[0]);
        for row in grid.indices(1, bounds.low[1], bounds.high[1]) {
            let y = grid.coordinate(1, row);
            let start = row * self.columns;
            let Some(line) = self.tissue.get_mut(start + columns.start..start + columns.end) else {
                continue;
            };
            for (column, (hu, lung)) in columns.clone().zip(line) {
                if *lung > 0.0 {
                    let painted = object.paint([grid.coordinate(0, column), y, z], *hu);
                    *hu += *lung * (painted - *hu);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phantom::geometry::Tube;
    use pipe_numerics::random::RandomKey;

    fn grid() -> Grid {
        Grid { shape: [40, 30, 5], spacing: [0.75, 1.0, 2.5], origin: [60.0, -5.0, 10.0] }
    }

    #[test]
    fn the_affine_takes_voxels_to_ras() {
        let affine = grid().affine();
        let voxel = [4.0, 3.0, 2.0, 1.0];
        let world = affine.map(|row| row.iter().zip(voxel).map(|(a, v)| a * v).sum::<f64>());
        assert_eq!(world, [-63.0, 2.0, 15.0, 1.0]);
    }

    #[test]
    fn indices_are_those_inside_an_interval() {
        let cases = [(60.0, 60.0, 0..1), (60.1, 61.6, 1..3), (0.0, 10.0, 0..0), (80.0, 999.0, 27..40)];
        for (low, high, expected) in cases {
            assert_eq!(grid().indices(0, low, high), expected, "{low} {high}");
        }
    }

    #[test]
    fn an_object_changes_only_voxels_near_it() {
        let key = RandomKey::new(1, "test");
        let anatomy = Anatomy::draw(&key);
        let ball = Tube::ball([75.0, 10.0, 15.0], 3.0);
        let objects = [Object::Stroke(Stroke::tissue(ball, 40.0))];
        let render = |objects: &[Object]| render(&grid(), &anatomy, objects, 0.0, &mut key.generator());
        let (without, with) = (render(&[]), render(&objects));
        assert_eq!(with.len(), 40 * 30 * 5);
        let mut changed = 0;
        for (index, (before, after)) in without.iter().zip(&with).enumerate() {
            let (column, row, slice) = (index % 40, index / 40 % 30, index / 1200);
            let point =
                [grid().coordinate(0, column), grid().coordinate(1, row), grid().coordinate(2, slice)];
            let inside = ball.distance(point);
            assert!(inside < 0.5 || before == after, "{point:?}");
            assert!(inside > -0.5 || *after == 40, "{point:?}");
            changed += usize::from(before != after);
        }
        assert!(changed > 30, "{changed}");
    }
}
