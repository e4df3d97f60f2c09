//! Where in a lung a nodule can lie: inside the scan, away from other nodules, at the pleura when
//! its attributes say so and clear of it when they do not.

use super::anatomy::{Anatomy, Lung};
use super::geometry::{Bounds, Point, add, distance, scale, subtract, unit};
use super::semantics::Attributes;
use pipe_numerics::random::Generator;

/// Margins to the scan's sides and to other nodules, mm, from the roomiest to what is just
/// acceptable; each is tried in turn. The first leaves a 50 mm window around a nodule full.
const ROOM_MM: [(f64, f64); 3] = [(27.0, 14.0), (14.0, 8.0), (4.0, 4.0)];
/// Points tried for each entry of [`ROOM_MM`].
const ATTEMPTS: usize = 300;

/// A nodule that has its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Centre, LPS mm, to 0.01 mm.
    pub centre: Point,
    /// Where the ray from the lung's centre through the nodule meets the pleura.
    pub pleura: Point,
    /// Half the longest diameter, mm.
    pub radius: f64,
}

/// Finds a place for a nodule beside those that have one; `None` if there is no room.
pub fn place(
    anatomy: &Anatomy,
    scan: &Bounds,
    attributes: &Attributes,
    taken: &[Place],
    generator: &mut Generator,
) -> Option<Place> {
    ROOM_MM.into_iter().find_map(|(margin, gap)| {
        let allowed = scan.shrunk(margin, 8.0);
        (0..ATTEMPTS).find_map(|_| {
            let place = propose(anatomy, &allowed, attributes, generator)?;
            let clear = taken
                .iter()
                .all(|other| distance(place.centre, other.centre) >= place.radius + other.radius + gap);
            (clear && allowed.contains(place.centre)).then_some(place)
        })
    })
}

/// A random place that suits the attributes, or none if the random point is not in a lung.
fn propose(
    anatomy: &Anatomy,
    allowed: &Bounds,
    attributes: &Attributes,
    generator: &mut Generator,
) -> Option<Place> {
    let point = allowed.random_point(generator);
    let lung = anatomy.lungs().iter().find(|lung| lung.distance(point) < 0.0)?;
    let radius = attributes.longest_mm / 2.0;
    let pleura = lung.pleura(point);
    let depth = if attributes.pleural_attachment {
        Some(0.4 * attributes.short_mm)
    } else if attributes.pleural_retraction {
        Some(radius + generator.uniform_between(4.0, 10.0))
    } else {
        None
    };
    let centre = match depth {
        Some(depth) => below_pleura(lung, pleura, point, depth),
        None if lung.distance(point) <= -(radius + 6.0) => point,
        None => return None,
    };
    let centre = centre.map(|coordinate| (coordinate * 100.0).round() / 100.0);
    Some(Place { centre, pleura: lung.pleura(centre), radius })
}

/// The point `depth` mm inside the pleura on the ray through `point`.
fn below_pleura(lung: &Lung, pleura: Point, point: Point, depth: f64) -> Point {
    let inward = if lung.distance(point) < -1e-6 { unit(subtract(point, pleura)) } else { [0.0; 3] };
    add(pleura, scale(inward, depth))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_numerics::random::RandomKey;

    fn chest() -> (Anatomy, Bounds) {
        let anatomy = Anatomy::draw(&RandomKey::new(1, "test"));
        (anatomy, Bounds { low: [20.0, -50.0, -55.0], high: [130.0, 60.0, 55.0] })
    }

    /// Places of 100 nodules that attach to or retract the pleura as told, each with its depth.
    fn depths(attached: bool, retracted: bool) -> Vec<(Attributes, f64)> {
        let (anatomy, scan) = chest();
        let mut generator = RandomKey::new(2, "test").generator();
        let depth = |_| {
            let mut attributes = Attributes::draw(&mut generator);
            attributes.pleural_attachment = attached;
            attributes.pleural_retraction = retracted;
            let place = place(&anatomy, &scan, &attributes, &[], &mut generator).expect("room for one");
            assert!(scan.contains(place.centre));
            (attributes, distance(place.centre, place.pleura))
        };
        (0..100).map(depth).collect()
    }

    #[test]
    fn attachment_and_retraction_decide_the_depth() {
        for (attributes, depth) in depths(true, false) {
            assert!(depth < attributes.short_mm / 2.0, "{depth} {attributes:?}");
        }
        for (attributes, depth) in depths(false, true) {
            let gap = depth - attributes.longest_mm / 2.0;
            assert!((3.9..10.1).contains(&gap), "{gap}");
        }
        for (attributes, depth) in depths(false, false) {
            assert!(depth >= attributes.longest_mm / 2.0 + 5.9, "{depth} {attributes:?}");
        }
    }

    #[test]
    fn nodules_keep_apart_and_a_full_scan_refuses() {
        let (anatomy, scan) = chest();
        let mut generator = RandomKey::new(3, "test").generator();
        let mut taken: Vec<Place> = Vec::new();
        while let Some(next) =
            place(&anatomy, &scan, &Attributes::draw(&mut generator), &taken, &mut generator)
        {
            for other in &taken {
                assert!(distance(next.centre, other.centre) >= next.radius + other.radius + 4.0);
            }
            taken.push(next);
            assert!(taken.len() < 1000, "never full");
        }
        assert!(taken.len() >= 3);
    }
}
