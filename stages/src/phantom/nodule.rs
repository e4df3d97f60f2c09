//! The body of a nodule: its surface and the density it gives to the lung it occupies.
//!
//! The surface is an ellipsoid (or, for flat sides, a superellipsoid of power 4) with bumps. Its
//! two axial diameters are the nodule's attributes; the third lies between them.

use super::anatomy::TISSUE_HU;
use super::geometry::{Bounds, Point, coverage, dot, length, random_direction, subtract, unit};
use super::semantics::{Attributes, Consistency, Margin, Shape};
use pipe_numerics::random::Generator;

/// What ground glass adds to the lung it lies in, HU; vessels stay visible through it.
const GLASS_RISE_HU: f64 = 330.0;
/// Power-4 bodies bulge beyond their semi-axes on the diagonals; this keeps their diameter.
const POLYGON_SCALE: f64 = 0.93;

/// A bump of the surface: a direction in the body's frame and its height, as a share of the radius.
type Bump = (Point, f64);

/// The body of one nodule, ready to be asked for densities.
#[derive(Clone, Debug)]
pub struct NoduleBody {
    centre: Point,
    semi_axes: Point,
    /// Cosine and sine of the long axis's angle in the axial plane.
    heading: [f64; 2],
    flat_sided: bool,
    bumps: Vec<Bump>,
    blur_mm: f64,
    consistency: Consistency,
    core_share: f64,
}

impl NoduleBody {
    /// Shapes a nodule with the given attributes around a point.
    pub fn shape(centre: Point, attributes: &Attributes, generator: &mut Generator) -> Self {
        let (long, short) = (attributes.longest_mm / 2.0, attributes.short_mm / 2.0);
        let flat_sided = attributes.shape == Shape::Polygonal;
        let fit = if flat_sided { POLYGON_SCALE } else { 1.0 };
        let [cos, sin, _] = unit([generator.normal(), generator.normal(), 0.0]);
        Self {
            centre,
            semi_axes: [long, short, generator.uniform_between(short, long)].map(|axis| axis * fit),
            heading: [cos, sin],
            flat_sided,
            bumps: draw_bumps(attributes, generator),
            blur_mm: if attributes.poorly_marginated { 3.5 } else { 1.2 },
            consistency: attributes.consistency,
            core_share: attributes.solid_mm / attributes.longest_mm.max(0.1),
        }
    }

    /// The nodule's centre, LPS mm.
    pub fn centre(&self) -> Point {
        self.centre
    }

    /// Distance from the centre to the surface in a direction (a unit vector), mm.
    pub fn radius_along(&self, direction: Point) -> f64 {
        let inside = self.to_body(direction);
        (1.0 + self.bump(inside)) / self.norm(inside).max(1e-6)
    }

    /// A box that holds everything the body changes.
    pub fn bounds(&self) -> Bounds {
        let [x, y, z] = self.semi_axes;
        let height: f64 = self.bumps.iter().map(|(_, height)| height).sum();
        // A superellipsoid of power 4 reaches 3^(1/4) of its semi-axis at most.
        let bulge = if self.flat_sided { 1.32 } else { 1.0 };
        Bounds::around(self.centre, x.max(y).max(z) * bulge * (1.0 + height) + self.blur_mm)
    }

    /// The density at a point, given that of the lung below, HU.
    pub fn paint(&self, point: Point, below: f64) -> f64 {
        let offset = self.to_body(subtract(point, self.centre));
        let relative = self.norm(offset);
        // Millimetres per unit of relative radius on this ray.
        let ray = if relative > 1e-6 { length(offset) / relative } else { self.semi_axes[1] };
        let inside = coverage((relative - 1.0 - self.bump(offset)) * ray, self.blur_mm);
        if inside <= 0.0 {
            return below;
        }
        let glass = (below + GLASS_RISE_HU).min(TISSUE_HU).max(below);
        let core = match self.consistency {
            Consistency::Solid => 1.0,
            Consistency::PartSolid => coverage((relative - self.core_share) * ray, 1.5),
            Consistency::PureGroundGlass => 0.0,
        };
        let own = glass + core * (TISSUE_HU - glass);
        below + inside * (own - below)
    }

    /// An offset turned into the frame of the body's axes.
    fn to_body(&self, [x, y, z]: Point) -> Point {
        let [cos, sin] = self.heading;
        [cos * x + sin * y, cos * y - sin * x, z]
    }

    /// 1 on the surface without bumps; grows in proportion along every ray.
    fn norm(&self, offset: Point) -> f64 {
        let [x, y, z] = [0, 1, 2].map(|axis: usize| {
            let share = offset[axis] / self.semi_axes[axis];
            share * share
        });
        if self.flat_sided { (x * x + y * y + z * z).sqrt().sqrt() } else { (x + y + z).sqrt() }
    }

    /// Height of the surface above the plain body on the ray of an offset, as a share of the radius.
    fn bump(&self, offset: Point) -> f64 {
        if self.bumps.is_empty() {
            return 0.0;
        }
        let direction = unit(offset);
        self.bumps.iter().map(|(top, height)| height * bump_profile(dot(*top, direction))).sum()
    }
}

/// A rounded bump with zero mean over the sphere, 16/17 high at its top and half as high 24° away,
/// from the cosine to its top.
fn bump_profile(cosine: f64) -> f64 {
    let nearness = (1.0 + cosine) / 2.0;
    let squared = nearness * nearness;
    let fourth = squared * squared;
    let eighth = fourth * fourth;
    eighth * eighth - 1.0 / 17.0
}

fn draw_bumps(attributes: &Attributes, generator: &mut Generator) -> Vec<Bump> {
    let mut bumps = Vec::new();
    let mut add = |count: usize, height: f64| {
        for _ in 0..count {
            bumps.push((random_direction(generator), height));
        }
    };
    if attributes.margin == Margin::Lobulated || attributes.additional_margin == Margin::Lobulated {
        add(10, 0.32);
    }
    if attributes.shape == Shape::Complex {
        add(3, 0.4);
    }
    bumps
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_numerics::random::RandomKey;

    const LUNG_HU: f64 = -860.0;

    fn body(change: impl Fn(&mut Attributes)) -> NoduleBody {
        let mut generator = RandomKey::new(1, "test").generator();
        let mut attributes = Attributes::draw(&mut generator);
        (attributes.longest_mm, attributes.short_mm, attributes.solid_mm) = (20.0, 16.0, 20.0);
        attributes.shape = Shape::Ovoid;
        attributes.margin = Margin::Smooth;
        attributes.additional_margin = Margin::Smooth;
        attributes.consistency = Consistency::Solid;
        attributes.poorly_marginated = false;
        change(&mut attributes);
        NoduleBody::shape([5.0, -7.0, 3.0], &attributes, &mut generator)
    }

    fn axial_radii(body: &NoduleBody) -> Vec<f64> {
        let angles = (0..720).map(|step| f64::from(step) * std::f64::consts::PI / 360.0);
        angles.map(|angle| body.radius_along([libm::cos(angle), libm::sin(angle), 0.0])).collect()
    }

    #[test]
    fn axial_diameters_are_the_attributes() {
        for (shape, tolerance) in [(Shape::Ovoid, 0.02), (Shape::Polygonal, 2.5)] {
            let radii = axial_radii(&body(|attributes| attributes.shape = shape));
            let longest = 2.0 * radii.iter().fold(0.0, |a: f64, b| a.max(*b));
            let shortest = 2.0 * radii.iter().fold(99.0, |a: f64, b| a.min(*b));
            assert!((longest - 20.0).abs() < tolerance, "{shape:?} {longest}");
            assert!((shortest - 16.0).abs() < tolerance, "{shape:?} {shortest}");
        }
    }

    #[test]
    fn lobulation_bends_the_surface_both_ways() {
        let smooth = axial_radii(&body(|_| ()));
        let lobulated = axial_radii(&body(|attributes| attributes.margin = Margin::Lobulated));
        let ratios: Vec<f64> = lobulated.iter().zip(&smooth).map(|(bumpy, plain)| bumpy / plain).collect();
        let tops = ratios.windows(3).filter(|three| three[1] > three[0] && three[1] >= three[2]).count();
        let highest = ratios.iter().fold(0.0, |a: f64, b| a.max(*b));
        let lowest = ratios.iter().fold(9.0, |a: f64, b| a.min(*b));
        assert!(tops >= 2, "{tops}");
        assert!(highest > 1.08 && lowest < 0.95, "{lowest} to {highest}");
    }

    #[test]
    fn densities_follow_the_consistency() {
        let at_centre = |consistency, solid_mm| {
            let body = body(|attributes| {
                attributes.consistency = consistency;
                attributes.solid_mm = solid_mm;
            });
            let rim = [5.0 + 0.8 * body.radius_along([1.0, 0.0, 0.0]), -7.0, 3.0];
            (body.paint(body.centre(), LUNG_HU), body.paint(rim, LUNG_HU))
        };
        let glass = LUNG_HU + GLASS_RISE_HU;
        assert_eq!(at_centre(Consistency::Solid, 20.0), (TISSUE_HU, TISSUE_HU));
        assert_eq!(at_centre(Consistency::PureGroundGlass, 0.0), (glass, glass));
        assert_eq!(at_centre(Consistency::PartSolid, 8.0), (TISSUE_HU, glass));
        let vessel = 30.0;
        let hidden = body(|attributes| attributes.consistency = Consistency::PureGroundGlass);
        assert!(hidden.paint(hidden.centre(), vessel) >= vessel);
    }

    #[test]
    fn nothing_changes_outside_the_bounds() {
        let body = body(|attributes| {
            (attributes.shape, attributes.margin) = (Shape::Polygonal, Margin::Lobulated);
            attributes.poorly_marginated = true;
        });
        let mut generator = RandomKey::new(4, "test").generator();
        let space = Bounds::around(body.centre(), 40.0);
        for _ in 0..20_000 {
            let point = space.random_point(&mut generator);
            assert!(body.bounds().contains(point) || body.paint(point, LUNG_HU) == LUNG_HU);
        }
    }
}
