//! Points, boxes and tapered tubes in LPS millimetres: what the anatomy is built of.

use pipe_numerics::random::Generator;

/// A point or a direction in LPS millimetres: to the left, to the back, to the head.
pub type Point = [f64; 3];

pub(super) fn add(a: Point, b: Point) -> Point {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

pub(super) fn subtract(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(super) fn scale(a: Point, factor: f64) -> Point {
    [a[0] * factor, a[1] * factor, a[2] * factor]
}

pub(super) fn dot(a: Point, b: Point) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn length(a: Point) -> f64 {
    dot(a, a).sqrt()
}

pub(super) fn distance(a: Point, b: Point) -> f64 {
    length(subtract(a, b))
}

/// The direction of `a`; +x for a vector without one.
pub(super) fn unit(a: Point) -> Point {
    let length = length(a);
    if length > 1e-9 { scale(a, 1.0 / length) } else { [1.0, 0.0, 0.0] }
}

/// A direction uniform on the sphere.
pub(super) fn random_direction(generator: &mut Generator) -> Point {
    unit([generator.normal(), generator.normal(), generator.normal()])
}

/// Share of a voxel inside a surface at a signed distance (negative inside), for an edge that is
/// `blur` mm wide: 1 deep inside, ½ on the surface, 0 well outside.
pub(super) fn coverage(distance: f64, blur: f64) -> f64 {
    (0.5 - distance / blur).clamp(0.0, 1.0)
}

/// A box along the axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The corner with the least coordinates.
    pub low: Point,
    /// The corner with the greatest coordinates.
    pub high: Point,
}

impl Bounds {
    /// The box of half edge `radius` around a point.
    pub(super) fn around(centre: Point, radius: f64) -> Self {
        Self { low: centre.map(|x| x - radius), high: centre.map(|x| x + radius) }
    }

    /// The box with each side moved inward by `margin`, but by no more than leaves `least` mm.
    pub(super) fn shrunk(self, margin: f64, least: f64) -> Self {
        let mut inner = self;
        for (low, high) in inner.low.iter_mut().zip(inner.high.iter_mut()) {
            let inward = margin.min((*high - *low - least) / 2.0).max(0.0);
            *low += inward;
            *high -= inward;
        }
        inner
    }

    /// Whether the point is in the box or on its surface.
    pub(super) fn contains(&self, point: Point) -> bool {
        (0..3).all(|axis| (self.low[axis]..=self.high[axis]).contains(&point[axis]))
    }

    /// Whether the boxes share a point.
    pub(super) fn meets(&self, other: &Self) -> bool {
        (0..3).all(|axis| self.low[axis] <= other.high[axis] && other.low[axis] <= self.high[axis])
    }

    /// A uniform point of the box.
    pub(super) fn random_point(&self, generator: &mut Generator) -> Point {
        let mut point = self.low;
        for (axis, coordinate) in point.iter_mut().enumerate() {
            *coordinate = generator.uniform_between(self.low[axis], self.high[axis]);
        }
        point
    }
}

/// A straight tube with round ends whose radius changes evenly; with equal ends, a ball.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tube {
    /// Where it starts.
    pub start: Point,
    /// Where it ends.
    pub end: Point,
    /// Radius at the start, mm.
    pub start_radius: f64,
    /// Radius at the end, mm.
    pub end_radius: f64,
}

impl Tube {
    pub(super) fn ball(centre: Point, radius: f64) -> Self {
        Self { start: centre, end: centre, start_radius: radius, end_radius: radius }
    }

    /// Distance of a point from the surface along the cross-section, negative inside.
    pub(super) fn distance(&self, point: Point) -> f64 {
        let axis = subtract(self.end, self.start);
        let offset = subtract(point, self.start);
        let squared = dot(axis, axis);
        let along = if squared > 0.0 { (dot(offset, axis) / squared).clamp(0.0, 1.0) } else { 0.0 };
        let radius = self.start_radius + along * (self.end_radius - self.start_radius);
        length(subtract(offset, scale(axis, along))) - radius
    }

    /// The box around every point less than `margin` from the surface.
    pub(super) fn bounds(&self, margin: f64) -> Bounds {
        self.part_bounds(0.0, 1.0, margin)
    }

    /// The part of [`bounds`](Self::bounds) that the plane at height `z` needs: the box around
    /// the piece of the tube that comes near the plane. A slanted tube has small ones.
    pub(super) fn bounds_at(&self, z: f64, margin: f64) -> Option<Bounds> {
        let reach = self.start_radius.max(self.end_radius) + margin;
        let rise = self.end[2] - self.start[2];
        if rise.abs() < 1e-9 {
            return ((z - self.start[2]).abs() <= reach).then(|| self.bounds(margin));
        }
        let (one, other) = ((z - reach - self.start[2]) / rise, (z + reach - self.start[2]) / rise);
        let (from, to) = (one.min(other).max(0.0), one.max(other).min(1.0));
        (from <= to).then(|| self.part_bounds(from, to, margin))
    }

    fn part_bounds(&self, from: f64, to: f64, margin: f64) -> Bounds {
        let reach = self.start_radius.max(self.end_radius) + margin;
        let axis = subtract(self.end, self.start);
        let (first, last) = (add(self.start, scale(axis, from)), add(self.start, scale(axis, to)));
        let (near_first, near_last) = (Bounds::around(first, reach), Bounds::around(last, reach));
        Bounds {
            low: [0, 1, 2].map(|axis: usize| near_first.low[axis].min(near_last.low[axis])),
            high: [0, 1, 2].map(|axis: usize| near_first.high[axis].max(near_last.high[axis])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_numerics::random::RandomKey;

    #[test]
    fn distance_from_a_tapered_tube() {
        let tube = Tube { start: [0.0; 3], end: [10.0, 0.0, 0.0], start_radius: 2.0, end_radius: 1.0 };
        let cases = [
            ([0.0, 0.0, 0.0], -2.0),
            ([5.0, 3.0, 0.0], 1.5),
            ([10.0, 0.0, 1.0], 0.0),
            ([14.0, 3.0, 0.0], 4.0),
        ];
        for (point, expected) in cases {
            assert!((tube.distance(point) - expected).abs() < 1e-12, "{point:?}");
        }
        assert_eq!(Tube::ball([1.0, 0.0, 0.0], 2.0).distance([4.0, 0.0, 0.0]), 1.0);
    }

    #[test]
    fn the_box_at_a_height_misses_nothing_near_the_tube() {
        let mut generator = RandomKey::new(1, "test").generator();
        let space = Bounds { low: [-10.0; 3], high: [10.0; 3] };
        for _ in 0..300 {
            let tube = Tube {
                start: space.random_point(&mut generator),
                end: space.random_point(&mut generator),
                start_radius: generator.uniform_between(0.2, 3.0),
                end_radius: generator.uniform_between(0.2, 3.0),
            };
            let point = space.random_point(&mut generator);
            if tube.distance(point) <= 0.5 {
                assert!(tube.bounds(0.5).contains(point));
                let bounds = tube.bounds_at(point[2], 0.5).expect("a piece near the point");
                assert!((0..2).all(|axis| (bounds.low[axis]..=bounds.high[axis]).contains(&point[axis])));
            }
        }
    }

    #[test]
    fn a_narrow_box_keeps_a_core() {
        let bounds = Bounds { low: [0.0; 3], high: [100.0, 20.0, 4.0] };
        let inner = bounds.shrunk(30.0, 10.0);
        assert_eq!((inner.low, inner.high), ([30.0, 5.0, 0.0], [70.0, 15.0, 4.0]));
        assert!(inner.meets(&bounds) && !inner.meets(&Bounds::around([0.0; 3], 1.0)));
    }
}
