//! A schematic chest in LPS millimetres: body, chest wall with ribs and spine, two ellipsoidal
//! lungs with a fine texture, and a tree of vessels in each.
//!
//! It knows nothing of voxels or nodules. Any point can be asked for its density, so a scan may be
//! a window of any size on the same chest.

use super::geometry::{Bounds, Point, Tube, add, coverage, distance, random_direction, scale, subtract};
use super::texture::Texture;
use pipe_numerics::random::{Generator, RandomKey};

/// Densities, HU.
pub(super) const AIR_HU: f64 = -1000.0;
pub(super) const TISSUE_HU: f64 = 40.0;
const FAT_HU: f64 = -95.0;
const BONE_HU: f64 = 420.0;

/// Width of organ surfaces, mm: the scanner's own blur.
const EDGE_MM: f64 = 1.2;
/// Branches of the vessel tree of a lung.
const BRANCHES: usize = 700;

/// One lung, an ellipsoid.
#[derive(Clone, Debug)]
pub struct Lung {
    centre: Point,
    semi_axes: Point,
}

impl Lung {
    /// Distance from the pleura along the ray from the lung's centre, negative inside.
    pub fn distance(&self, point: Point) -> f64 {
        let relative = self.relative(point);
        let offset = distance(point, self.centre);
        if relative > 1e-6 { offset * (1.0 - 1.0 / relative) } else { -self.semi_axes[0] }
    }

    /// Where the ray from the lung's centre through a point meets the pleura; the lung's centre
    /// itself is sent to the side.
    pub fn pleura(&self, point: Point) -> Point {
        let relative = self.relative(point);
        if relative > 1e-6 {
            add(self.centre, scale(subtract(point, self.centre), 1.0 / relative))
        } else {
            add(self.centre, [self.semi_axes[0], 0.0, 0.0])
        }
    }

    /// Distance from the centre as a share of that of the pleura on the same ray.
    fn relative(&self, point: Point) -> f64 {
        let offset = subtract(point, self.centre);
        let [x, y, z] = [0, 1, 2].map(|axis: usize| offset[axis] / self.semi_axes[axis]);
        (x * x + y * y + z * z).sqrt()
    }

    fn bounds(&self) -> Bounds {
        Bounds { low: subtract(self.centre, self.semi_axes), high: add(self.centre, self.semi_axes) }
    }
}

/// The chest of one patient.
#[derive(Clone, Debug)]
pub struct Anatomy {
    size: f64,
    lung_hu: f64,
    rib_phase: f64,
    lungs: [Lung; 2],
    texture: Texture,
}

impl Anatomy {
    /// Draws a chest; `key` names the patient.
    pub fn draw(key: &RandomKey) -> Self {
        let mut generator = key.clone().text("purpose", "anatomy").generator();
        let size = generator.uniform_between(0.92, 1.08);
        let lung = |side: f64| Lung {
            centre: [side * 75.0 * size, 5.0 * size, 0.0],
            semi_axes: [60.0 * size, 85.0 * size, 140.0 * size],
        };
        Self {
            size,
            lung_hu: generator.uniform_between(-880.0, -840.0),
            rib_phase: generator.uniform(),
            lungs: [lung(-1.0), lung(1.0)],
            texture: Texture::draw(&mut generator),
        }
    }

    /// The lungs, right and left.
    pub fn lungs(&self) -> &[Lung; 2] {
        &self.lungs
    }

    /// The middle of a scan that spans `extent` mm: the whole chest where it fits, else a window
    /// on the outer part of one lung with the chest wall at its side.
    pub fn scan_centre(&self, extent: Point, generator: &mut Generator) -> Point {
        let side = if generator.chance(0.5) { 1.0 } else { -1.0 };
        let jitter = [4.0, 15.0, 25.0].map(|reach: f64| generator.uniform_between(-reach, reach));
        let wall = 135.0 * self.size;
        let outward = side * (wall - extent[0] / 2.0 + 24.0 + jitter[0]).max(0.0);
        [
            if extent[0] >= 300.0 { 0.0 } else { outward },
            if extent[1] >= 220.0 { 0.0 } else { 5.0 + jitter[1] },
            if extent[2] >= 240.0 { 0.0 } else { jitter[2] },
        ]
    }

    /// Density in HU at a point without vessels, and the share of it that is lung.
    pub fn tissue(&self, point: Point) -> (f64, f64) {
        let pleura = self.lungs[0].distance(point).min(self.lungs[1].distance(point));
        let lung = coverage(pleura, EDGE_MM);
        let lung_hu = if lung > 0.0 { self.lung_hu + self.texture.value(point) } else { 0.0 };
        if lung >= 1.0 {
            return (lung_hu, 1.0);
        }
        let wall_hu = self.wall(point, pleura);
        (wall_hu + lung * (lung_hu - wall_hu), lung)
    }

    /// Density outside the lungs, `pleura` mm from the nearest one.
    fn wall(&self, point: Point, pleura: f64) -> f64 {
        let skin = self.skin_distance(point);
        let mut hu = TISSUE_HU + (FAT_HU - TISSUE_HU) * coverage(-skin - 9.0 * self.size, 3.0);
        hu += (BONE_HU - hu) * self.bone(point, pleura);
        AIR_HU + (hu - AIR_HU) * coverage(skin, EDGE_MM)
    }

    /// Distance from the skin, negative inside the body.
    fn skin_distance(&self, [x, y, _]: Point) -> f64 {
        let (across, deep) = (x / (172.0 * self.size), (y - 8.0) / (122.0 * self.size));
        ((across * across + deep * deep).sqrt() - 1.0) * 122.0 * self.size
    }

    /// Share of bone: ribs that slope down toward the front, and the spine behind.
    fn bone(&self, [x, y, z]: Point, pleura: f64) -> f64 {
        let (dx, dy) = (x, y - 78.0 * self.size);
        let spine = coverage((dx * dx + dy * dy).sqrt() - 17.0 * self.size, 2.0);
        let height = (z - 0.45 * y) / 27.0 + self.rib_phase;
        let along = ((height - height.floor()) - 0.5) * 27.0;
        let across = pleura - 6.0;
        let rib = coverage((across * across * 2.0 + along * along).sqrt() - 5.5, 1.5);
        let beside_spine = if x.abs() > 35.0 * self.size { 1.0 } else { 0.0 };
        spine.max(rib * beside_spine)
    }

    /// The vessels of both lungs that come into the box.
    pub fn vessels(&self, key: &RandomKey, within: &Bounds) -> Vec<Tube> {
        let mut vessels = Vec::new();
        for (index, lung) in self.lungs.iter().enumerate() {
            if lung.bounds().meets(within) {
                let key = key.clone().text("purpose", "vessels").number("lung", index as u64);
                vessels.extend(grow_tree(lung, &mut key.generator()));
            }
        }
        vessels.retain(|vessel| vessel.bounds(EDGE_MM).meets(within));
        vessels
    }
}

/// Grows a tree from the hilum: each of many random points is joined to the nearest point of the
/// tree so far. Late branches are short and thin, as in a real lung.
fn grow_tree(lung: &Lung, generator: &mut Generator) -> Vec<Tube> {
    let inward = -lung.centre[0].signum() * lung.semi_axes[0];
    let hilum = add(lung.centre, [inward * 0.85, 0.0, 0.0]);
    let mut joints = vec![(hilum, 5.0)];
    let mut vessels = Vec::with_capacity(2 * BRANCHES);
    for branch in 0..BRANCHES {
        let target = lung.bounds().random_point(generator);
        if lung.distance(target) > -4.0 {
            continue;
        }
        let thinnest = 0.55 + 2.2 / libm::cbrt(1.0 + branch as f64);
        let Some(&(root, root_radius)) = nearest(&joints, target) else { continue };
        let start_radius = root_radius.min(thinnest * 1.25);
        let end_radius = start_radius * 0.8;
        // A bend half way: vessels are not straight.
        let bend = scale(random_direction(generator), 0.12 * distance(root, target));
        let middle = add(scale(add(root, target), 0.5), bend);
        let middle_radius = (start_radius + end_radius) / 2.0;
        vessels.push(Tube { start: root, end: middle, start_radius, end_radius: middle_radius });
        vessels.push(Tube { start: middle, end: target, start_radius: middle_radius, end_radius });
        joints.extend([(middle, middle_radius), (target, end_radius)]);
    }
    vessels
}

fn nearest(joints: &[(Point, f64)], target: Point) -> Option<&(Point, f64)> {
    let squared = |joint: &(Point, f64)| {
        let offset = subtract(joint.0, target);
        super::geometry::dot(offset, offset)
    };
    joints.iter().min_by(|a, b| squared(a).total_cmp(&squared(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chest() -> (RandomKey, Anatomy) {
        let key = RandomKey::new(2, "test");
        (key.clone(), Anatomy::draw(&key))
    }

    #[test]
    fn densities_are_where_the_organs_are() {
        let (_, chest) = chest();
        let [right, left] = chest.lungs();
        for lung in [right, left] {
            let (hu, share) = chest.tissue(lung.centre);
            assert!((-950.0..-780.0).contains(&hu) && share == 1.0, "{hu} {share}");
        }
        assert_eq!(chest.tissue([0.0, -300.0, 0.0]), (AIR_HU, 0.0));
        assert_eq!(chest.tissue([0.0, 0.0, 0.0]).0, TISSUE_HU);
        assert_eq!(chest.tissue([0.0, 78.0 * chest.size, 0.0]).0, BONE_HU);
    }

    #[test]
    fn the_pleura_is_at_distance_zero() {
        let (_, chest) = chest();
        let lung = &chest.lungs()[1];
        for offset in [[3.0, 0.0, 0.0], [-10.0, 40.0, 5.0], [0.0, 0.0, -60.0], [0.0; 3]] {
            let point = add(lung.centre, offset);
            assert!(lung.distance(point) < 0.0);
            assert!(lung.distance(lung.pleura(point)).abs() < 1e-9, "{offset:?}");
        }
    }

    #[test]
    fn vessels_are_inside_the_lung_and_thin_out() {
        let (key, chest) = chest();
        let lung = &chest.lungs()[0];
        let vessels = chest.vessels(&key, &lung.bounds());
        assert!(vessels.len() > 300);
        let ends_inside = vessels.iter().filter(|vessel| lung.distance(vessel.end) < 3.0).count();
        assert!(ends_inside * 100 > vessels.len() * 95, "{ends_inside} of {}", vessels.len());
        assert!(vessels.iter().all(|vessel| vessel.end_radius <= vessel.start_radius));
        let far = Bounds::around([0.0, 0.0, 900.0], 5.0);
        assert!(chest.vessels(&key, &far).is_empty());
    }
}
