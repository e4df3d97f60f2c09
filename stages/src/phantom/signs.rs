//! What a nodule does to its surroundings and hides inside: spikes, tags to the pleura, vessels
//! drawn toward it, cavities, calcium. Each sign is a few strokes of tapered tubes.

use super::anatomy::{AIR_HU, TISSUE_HU};
use super::geometry::{Point, Tube, add, coverage, length, random_direction, scale, subtract, unit};
use super::nodule::NoduleBody;
use super::semantics::{Attributes, Consistency, Margin};
use pipe_numerics::random::Generator;

/// Spikes of a spiculated nodule: enough that several lie in any plane through its centre.
const SPIKES: usize = 60;
/// Spikes of ground glass are as thin as it is, HU.
const GLASS_SPIKE_HU: f64 = -500.0;

/// How a stroke meets what is below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blend {
    /// Only where it is denser: a vessel passing through a nodule does not show.
    Brighten,
    /// Everywhere: air and calcium.
    Replace,
}

/// A tube of one density.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stroke {
    /// Where.
    pub tube: Tube,
    /// Density, HU.
    pub hu: f64,
    /// Width of its edge, mm.
    pub blur_mm: f64,
    /// Relation to what is below.
    pub blend: Blend,
}

impl Stroke {
    /// A stroke of tissue: vessels, spikes, septa.
    pub fn tissue(tube: Tube, hu: f64) -> Self {
        Self { tube, hu, blur_mm: 1.0, blend: Blend::Brighten }
    }

    fn replacing(tube: Tube, hu: f64) -> Self {
        Self { tube, hu, blur_mm: 1.2, blend: Blend::Replace }
    }

    /// The density at a point, given that below, HU.
    pub fn paint(&self, point: Point, below: f64) -> f64 {
        if self.blend == Blend::Brighten && below >= self.hu {
            return below;
        }
        below + coverage(self.tube.distance(point), self.blur_mm) * (self.hu - below)
    }
}

/// The strokes of one nodule, in painting order around its body.
#[derive(Clone, Debug, Default)]
pub struct Signs {
    /// Painted before the body, which covers their inner ends.
    pub around: Vec<Stroke>,
    /// Painted on the body.
    pub inside: Vec<Stroke>,
}

impl Signs {
    /// Draws the signs that the attributes name. `pleura` is the nearest point of the pleura.
    pub fn draw(
        attributes: &Attributes,
        body: &NoduleBody,
        pleura: Point,
        generator: &mut Generator,
    ) -> Self {
        let mut artist = Artist { attributes, body, generator, signs: Self::default() };
        artist.around(pleura);
        artist.inside();
        artist.signs
    }
}

struct Artist<'a> {
    attributes: &'a Attributes,
    body: &'a NoduleBody,
    generator: &'a mut Generator,
    signs: Signs,
}

impl Artist<'_> {
    fn around(&mut self, pleura: Point) {
        let attributes = self.attributes;
        if attributes.emphysema {
            self.emphysema();
        }
        if attributes.reticulation {
            self.threads(14, 0.45, -420.0);
        }
        if attributes.septal_stretching {
            self.threads(4, 0.6, -250.0);
        }
        if attributes.vascular_convergence {
            self.converging_vessels();
        }
        if attributes.airway_cut_off {
            self.ending_airway();
        }
        if attributes.margin == Margin::Spiculated {
            self.spikes(SPIKES);
        } else if attributes.additional_margin == Margin::Spiculated {
            self.spikes(SPIKES / 4);
        }
        if attributes.pleural_retraction {
            self.pleural_tag(pleura);
        }
    }

    fn inside(&mut self) {
        let attributes = self.attributes;
        let radius = attributes.short_mm / 2.0;
        if attributes.cavitation {
            let hollow = Tube::ball(self.body.centre(), radius * self.generator.uniform_between(0.45, 0.6));
            self.signs.inside.push(Stroke::replacing(hollow, AIR_HU + 60.0));
        }
        if attributes.necrosis {
            let dead = Tube::ball(self.body.centre(), radius * 0.55);
            self.signs.inside.push(Stroke::replacing(dead, -60.0));
        }
        if attributes.cysts {
            for _ in 0..4 {
                let bubble = Tube::ball(self.off_centre(radius, 0.6), 0.09 * radius + 0.7);
                self.signs.inside.push(Stroke::replacing(bubble, -850.0));
            }
        }
        if attributes.bronchiectasis {
            self.open_airway(radius);
        }
        if attributes.calcification {
            let grain = Tube::ball(self.off_centre(radius, 0.5), 0.2 * radius + 0.8);
            self.signs.inside.push(Stroke::replacing(grain, 600.0));
        }
    }

    /// A point `share` of the radius away from the centre.
    fn off_centre(&mut self, radius: f64, share: f64) -> Point {
        let direction = random_direction(self.generator);
        add(self.body.centre(), scale(direction, share * radius))
    }

    /// The point in a direction from the centre, `beyond` mm outside the surface.
    fn outside(&self, direction: Point, beyond: f64) -> Point {
        add(self.body.centre(), scale(direction, self.body.radius_along(direction) + beyond))
    }

    fn spikes(&mut self, count: usize) {
        let glass = self.attributes.consistency == Consistency::PureGroundGlass;
        // Ground glass adds to what is below it, so spikes that reach inside would show through.
        let (hu, root) = if glass { (GLASS_SPIKE_HU, 0.03) } else { (20.0, 0.2) };
        let size = self.attributes.mean_mm();
        for _ in 0..count {
            let direction = random_direction(self.generator);
            let reach = 4.0 + size * self.generator.uniform_between(0.15, 0.4);
            let tube = Tube {
                start: self.outside(direction, -root * size),
                end: self.outside(direction, reach),
                start_radius: 0.6 + 0.06 * size,
                end_radius: 0.3,
            };
            self.signs.around.push(Stroke::tissue(tube, hu));
        }
    }

    /// Thin lines that pass the nodule in all directions.
    fn threads(&mut self, count: usize, radius: f64, hu: f64) {
        for _ in 0..count {
            let direction = random_direction(self.generator);
            let beyond = self.generator.uniform_between(1.0, 7.0);
            let along = scale(random_direction(self.generator), 8.0);
            let middle = self.outside(direction, beyond);
            let (start, end) = (subtract(middle, along), add(middle, along));
            let tube = Tube { start, end, start_radius: radius, end_radius: radius };
            self.signs.around.push(Stroke::tissue(tube, hu));
        }
    }

    fn converging_vessels(&mut self) {
        for _ in 0..6 {
            let direction = random_direction(self.generator);
            let away = self.generator.uniform_between(14.0, 22.0);
            let far = self.outside(direction, away);
            let tube =
                Tube { start: far, end: self.outside(direction, -1.0), start_radius: 1.1, end_radius: 1.3 };
            self.signs.around.push(Stroke::tissue(tube, TISSUE_HU - 10.0));
        }
    }

    /// An airway with its wall that stops at the nodule's surface.
    fn ending_airway(&mut self) {
        let direction = random_direction(self.generator);
        let (start, end) = (self.outside(direction, 16.0), self.outside(direction, 0.0));
        let tube = |radius| Tube { start, end, start_radius: radius, end_radius: radius };
        self.signs.around.push(Stroke::tissue(tube(2.6), -250.0));
        self.signs.around.push(Stroke::replacing(tube(1.5), AIR_HU + 40.0));
    }

    /// An open airway that crosses the nodule beside its centre.
    fn open_airway(&mut self, radius: f64) {
        let middle = self.off_centre(radius, 0.45);
        let side = scale(unit(subtract(middle, self.body.centre())), 0.1 * radius);
        let along = scale(random_direction(self.generator), 0.45 * radius);
        let tube = Tube {
            start: add(subtract(middle, along), side),
            end: add(add(middle, along), side),
            start_radius: 1.0,
            end_radius: 0.8,
        };
        self.signs.inside.push(Stroke::replacing(tube, -900.0));
    }

    /// A tent of pleura drawn out toward the nodule.
    fn pleural_tag(&mut self, pleura: Point) {
        let toward = unit(subtract(pleura, self.body.centre()));
        let near = self.outside(toward, -1.0);
        let foot = add(pleura, scale(toward, 1.0));
        let height = length(subtract(foot, near));
        let tube = |from: Point, start_radius| Tube { start: from, end: near, start_radius, end_radius: 0.8 };
        self.signs.around.push(Stroke::tissue(tube(foot, 1.4), TISSUE_HU));
        // The foot of the tent is wide, but only near the wall.
        let waist = add(foot, scale(toward, -0.5 * height));
        let dent = Tube { start: foot, end: waist, start_radius: 5.0, end_radius: 1.0 };
        self.signs.around.push(Stroke::tissue(dent, TISSUE_HU));
    }

    fn emphysema(&mut self) {
        for _ in 0..5 {
            let direction = random_direction(self.generator);
            let radius = self.generator.uniform_between(2.5, 4.5);
            let hole = Tube::ball(self.outside(direction, radius + 1.5), radius);
            self.signs.around.push(Stroke::replacing(hole, AIR_HU + 15.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_numerics::random::RandomKey;

    fn signs(change: impl Fn(&mut Attributes)) -> (NoduleBody, Signs) {
        let mut generator = RandomKey::new(1, "test").generator();
        let mut attributes = Attributes::draw(&mut generator);
        (attributes.longest_mm, attributes.short_mm) = (18.0, 16.0);
        attributes.margin = Margin::Smooth;
        attributes.additional_margin = Margin::Smooth;
        for sign in [
            &mut attributes.reticulation,
            &mut attributes.cysts,
            &mut attributes.bronchiectasis,
            &mut attributes.necrosis,
            &mut attributes.cavitation,
            &mut attributes.calcification,
            &mut attributes.airway_cut_off,
            &mut attributes.pleural_retraction,
            &mut attributes.vascular_convergence,
            &mut attributes.septal_stretching,
            &mut attributes.emphysema,
        ] {
            *sign = false;
        }
        change(&mut attributes);
        let body = NoduleBody::shape([0.0; 3], &attributes, &mut generator);
        let signs = Signs::draw(&attributes, &body, [20.0, 0.0, 0.0], &mut generator);
        (body, signs)
    }

    #[test]
    fn a_plain_nodule_has_no_strokes() {
        let (_, signs) = signs(|_| ());
        assert!(signs.around.is_empty() && signs.inside.is_empty());
    }

    #[test]
    fn spikes_leave_the_surface() {
        let (body, signs) = signs(|attributes| attributes.margin = Margin::Spiculated);
        assert_eq!(signs.around.len(), SPIKES);
        for spike in &signs.around {
            let out = length(spike.tube.end);
            assert!(out > body.radius_along(unit(spike.tube.end)) + 3.0, "{spike:?}");
        }
    }

    #[test]
    fn inner_signs_have_their_density_where_they_are() {
        let (_, cavity) = signs(|attributes| attributes.cavitation = true);
        assert!(cavity.inside[0].paint([0.0; 3], TISSUE_HU) < -900.0);
        let (_, grain) = signs(|attributes| attributes.calcification = true);
        let spot = grain.inside[0].tube.start;
        assert_eq!(grain.inside[0].paint(spot, TISSUE_HU), 600.0);
        assert!(length(spot) > 3.0, "calcium is off the centre");
    }

    #[test]
    fn a_tag_joins_nodule_and_pleura() {
        let (_, tag) = signs(|attributes| attributes.pleural_retraction = true);
        for x in [10.0, 14.0, 18.0, 20.5] {
            let hu = tag.around.iter().fold(-860.0, |below, stroke| stroke.paint([x, 0.0, 0.0], below));
            assert!(hu > -50.0, "{x}: {hu}");
        }
    }

    #[test]
    fn vessels_do_not_darken_what_is_denser() {
        let vessel = Stroke::tissue(Tube::ball([0.0; 3], 2.0), 30.0);
        assert_eq!(vessel.paint([0.0; 3], 400.0), 400.0);
        assert_eq!(vessel.paint([0.0; 3], -860.0), 30.0);
    }
}
