//! What a reader would write about a nodule, drawn from a plausible joint distribution.
//!
//! The dependencies follow what is known of screening nodules: larger ones are spiculated, cavitated and
//! part-solid more often, ground glass holds neither calcium nor necrosis, retraction goes with spiculation.
//! Nothing here knows of images; malignancy is `risk`'s matter.

use pipe_numerics::random::Generator;

/// Mean diameter of the typical nodule, mm.
pub(super) const TYPICAL_MM: f64 = 11.5;
/// Spread of the logarithm of the mean diameter.
pub(super) const LOG_SPREAD: f64 = 0.5;

/// The outline of a nodule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Margin {
    /// Even.
    Smooth,
    /// With a few broad bumps.
    Lobulated,
    /// With thin spikes.
    Spiculated,
}

/// The overall form of a nodule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nearly a ball.
    Round,
    /// Clearly longer than wide.
    Ovoid,
    /// With flat sides.
    Polygonal,
    /// None of these.
    Complex,
}

/// How much a nodule hides the lung behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Entirely.
    Solid,
    /// A solid core in ground glass.
    PartSolid,
    /// Nowhere: vessels stay visible.
    PureGroundGlass,
}

/// Everything about a nodule that a reader records, apart from suspicion.
#[derive(Clone, Debug, PartialEq)]
pub struct Attributes {
    /// Longest diameter in the axial plane, mm.
    pub longest_mm: f64,
    /// Diameter across the longest one in the axial plane, mm; never above it.
    pub short_mm: f64,
    /// Longest diameter of the solid component, mm: 0 for ground glass, all of it for solid.
    pub solid_mm: f64,
    /// Whether the edge is blurred.
    pub poorly_marginated: bool,
    /// Outline.
    pub margin: Margin,
    /// A second outline seen elsewhere on the surface, or the same again.
    pub additional_margin: Margin,
    /// Form.
    pub shape: Shape,
    /// Consistency.
    pub consistency: Consistency,
    /// Net of fine lines around the nodule.
    pub reticulation: bool,
    /// Small air bubbles inside.
    pub cysts: bool,
    /// Widened airway inside.
    pub bronchiectasis: bool,
    /// Dead, less dense centre.
    pub necrosis: bool,
    /// Air-filled centre.
    pub cavitation: bool,
    /// Calcium away from the centre.
    pub calcification: bool,
    /// Airway that ends at the nodule.
    pub airway_cut_off: bool,
    /// Contact with the chest wall.
    pub pleural_attachment: bool,
    /// Pleura drawn toward the nodule.
    pub pleural_retraction: bool,
    /// Vessels that run toward the nodule.
    pub vascular_convergence: bool,
    /// Stretched septa nearby.
    pub septal_stretching: bool,
    /// Destroyed lung nearby.
    pub emphysema: bool,
}

impl Attributes {
    /// Mean of the two axial diameters, mm, to 0.1 mm.
    pub fn mean_mm(&self) -> f64 {
        round_tenth((self.longest_mm + self.short_mm) / 2.0)
    }

    /// Cells of [`DIAMETER_COLUMNS`](crate::semantics::DIAMETER_COLUMNS), mm.
    pub fn sizes_mm(&self) -> [f64; 4] {
        [self.longest_mm, self.short_mm, self.mean_mm(), self.solid_mm]
    }

    /// Cells of [`SEMANTIC_COLUMNS`](crate::semantics::SEMANTIC_COLUMNS), each one of the column's known values.
    pub fn labels(&self) -> [&'static str; 17] {
        [
            if self.poorly_marginated { "Poorly marginated" } else { "Well marginated" },
            self.margin.label(),
            self.additional_margin.label(),
            self.shape.label(),
            self.consistency.label(),
            presence(self.reticulation),
            presence(self.cysts),
            presence(self.bronchiectasis),
            presence(self.necrosis),
            presence(self.cavitation),
            presence(self.calcification),
            presence(self.airway_cut_off),
            presence(self.pleural_attachment),
            presence(self.pleural_retraction),
            presence(self.vascular_convergence),
            presence(self.septal_stretching),
            presence(self.emphysema),
        ]
    }

    /// Draws a nodule.
    pub fn draw(generator: &mut Generator) -> Self {
        let mean_mm = (TYPICAL_MM * libm::exp(LOG_SPREAD * generator.normal())).clamp(5.0, 25.0);
        let consistency = draw_consistency(mean_mm, generator);
        let margin = draw_margin(mean_mm, consistency, generator);
        let shape = draw_shape(margin, generator);
        let (longest_mm, short_mm) = draw_diameters(mean_mm, shape, generator);
        let solid_mm = match consistency {
            Consistency::Solid => longest_mm,
            Consistency::PartSolid => round_tenth(longest_mm * generator.uniform_between(0.35, 0.75)),
            Consistency::PureGroundGlass => 0.0,
        };
        let spiculated = margin == Margin::Spiculated;
        let glass = consistency == Consistency::PureGroundGlass;
        let solid = consistency == Consistency::Solid;
        let large = ((mean_mm - 8.0) / 12.0).clamp(0.0, 1.0);
        let mut chance = |probability: f64| generator.chance(probability);
        let cavitation = solid && mean_mm >= 10.0 && chance(0.1 + 0.25 * large);
        let pleural_attachment = chance(0.18);
        Self {
            longest_mm,
            short_mm,
            solid_mm,
            poorly_marginated: chance(if glass { 0.8 } else { 0.15 + 0.2 * large }),
            margin,
            additional_margin: if chance(0.75) { margin } else { Margin::Lobulated },
            shape,
            consistency,
            reticulation: chance(0.05 + 0.15 * large),
            cysts: !cavitation && mean_mm >= 9.0 && chance(0.08),
            bronchiectasis: !cavitation && mean_mm >= 9.0 && chance(0.08),
            necrosis: !cavitation && !glass && mean_mm >= 14.0 && chance(0.2),
            cavitation,
            calcification: solid && !cavitation && chance(0.18),
            airway_cut_off: chance(0.04 + 0.1 * large),
            pleural_attachment,
            pleural_retraction: chance(if spiculated { 0.3 } else { 0.05 }),
            vascular_convergence: chance(if spiculated { 0.35 } else { 0.06 }),
            septal_stretching: chance(0.05 + 0.1 * large),
            emphysema: chance(0.15),
        }
    }
}

impl Margin {
    fn label(self) -> &'static str {
        match self {
            Self::Smooth => "Smooth",
            Self::Lobulated => "Lobulated",
            Self::Spiculated => "Spiculated/Serrated",
        }
    }
}

impl Shape {
    fn label(self) -> &'static str {
        match self {
            Self::Round => "Round",
            Self::Ovoid => "Ovoid",
            Self::Polygonal => "Polygonal",
            Self::Complex => "Complex/Irregular",
        }
    }

    /// Range of the short diameter over the longest.
    fn aspect(self) -> (f64, f64) {
        match self {
            Self::Round => (0.9, 1.0),
            Self::Ovoid => (0.65, 0.82),
            Self::Polygonal => (0.8, 1.0),
            Self::Complex => (0.68, 0.95),
        }
    }
}

impl Consistency {
    fn label(self) -> &'static str {
        match self {
            Self::Solid => "Solid",
            Self::PartSolid => "Part-solid",
            Self::PureGroundGlass => "Pure ground glass",
        }
    }
}

fn presence(present: bool) -> &'static str {
    if present { "Present" } else { "Absent" }
}

fn draw_consistency(mean_mm: f64, generator: &mut Generator) -> Consistency {
    let part_solid = if mean_mm >= 8.0 { 0.24 } else { 0.08 };
    let choices = [
        (Consistency::Solid, 0.58),
        (Consistency::PartSolid, part_solid),
        (Consistency::PureGroundGlass, 0.2),
    ];
    pick(choices, generator)
}

fn draw_margin(mean_mm: f64, consistency: Consistency, generator: &mut Generator) -> Margin {
    let growth = ((mean_mm - 6.0) / 10.0).clamp(0.0, 1.2);
    let spiculated =
        (0.12 + 0.6 * growth) * if consistency == Consistency::PureGroundGlass { 0.35 } else { 1.0 };
    pick(
        [(Margin::Smooth, 0.55), (Margin::Lobulated, 0.15 + 0.2 * growth), (Margin::Spiculated, spiculated)],
        generator,
    )
}

fn draw_shape(margin: Margin, generator: &mut Generator) -> Shape {
    let [round, ovoid, polygonal, complex] = match margin {
        Margin::Smooth => [0.45, 0.35, 0.15, 0.05],
        Margin::Lobulated => [0.25, 0.3, 0.15, 0.3],
        Margin::Spiculated => [0.25, 0.2, 0.2, 0.35],
    };
    let choices = [
        (Shape::Round, round),
        (Shape::Ovoid, ovoid),
        (Shape::Polygonal, polygonal),
        (Shape::Complex, complex),
    ];
    pick(choices, generator)
}

/// Longest and short diameter with the given mean, at most 30 mm, to 0.1 mm.
fn draw_diameters(mean_mm: f64, shape: Shape, generator: &mut Generator) -> (f64, f64) {
    let (least, most) = shape.aspect();
    let aspect = generator.uniform_between(least, most);
    let longest_mm = round_tenth((2.0 * mean_mm / (1.0 + aspect)).min(30.0));
    (longest_mm, round_tenth(longest_mm * aspect).min(longest_mm))
}

/// Draws one of the values with probability proportional to its weight.
fn pick<T: Copy, const N: usize>(choices: [(T, f64); N], generator: &mut Generator) -> T {
    const { assert!(N > 0) };
    let total: f64 = choices.iter().map(|(_, weight)| weight).sum();
    let mut left = generator.uniform() * total;
    let mut picked = choices[0].0;
    for (value, weight) in choices {
        picked = value;
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    picked
}

pub(super) fn round_tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::SEMANTIC_COLUMNS;
    use pipe_numerics::random::RandomKey;

    fn population() -> Vec<Attributes> {
        let mut generator = RandomKey::new(3, "test").generator();
        (0..4000).map(|_| Attributes::draw(&mut generator)).collect()
    }

    fn share(
        nodules: &[Attributes],
        of: impl Fn(&Attributes) -> bool,
        given: impl Fn(&Attributes) -> bool,
    ) -> f64 {
        let given: Vec<_> = nodules.iter().filter(|nodule| given(nodule)).collect();
        assert!(given.len() >= 100, "condition met by {} only", given.len());
        given.iter().filter(|nodule| of(nodule)).count() as f64 / given.len() as f64
    }

    #[test]
    fn diameters_are_ordered_and_bounded() {
        for nodule in population() {
            let [longest, short, mean, solid] = nodule.sizes_mm();
            assert!((3.0..=30.0).contains(&short) && short <= mean && mean <= longest && longest <= 30.0);
            assert!((0.0..=longest).contains(&solid));
        }
    }

    #[test]
    fn labels_stand_under_columns_that_know_them() {
        for nodule in population() {
            for (feature, label) in SEMANTIC_COLUMNS.iter().zip(nodule.labels()) {
                assert!(feature.values.contains(&label), "{}: {label}", feature.name);
            }
        }
    }

    #[test]
    fn impossible_combinations_never_occur() {
        for nodule in population() {
            if nodule.consistency == Consistency::PureGroundGlass {
                assert!(!nodule.calcification && !nodule.necrosis && !nodule.cavitation);
                assert_eq!(nodule.solid_mm, 0.0);
            }
            assert!(!(nodule.cavitation && (nodule.necrosis || nodule.calcification || nodule.cysts)));
            assert!(nodule.consistency != Consistency::PartSolid || nodule.solid_mm < nodule.longest_mm);
        }
    }

    #[test]
    fn attributes_depend_on_each_other_as_documented() {
        let nodules = population();
        let spiculated = |nodule: &Attributes| nodule.margin == Margin::Spiculated;
        let large = |nodule: &Attributes| nodule.longest_mm >= 15.0;
        let small = |nodule: &Attributes| nodule.longest_mm < 9.0;
        assert!(share(&nodules, spiculated, large) > 2.0 * share(&nodules, spiculated, small));
        let retracted = |nodule: &Attributes| nodule.pleural_retraction;
        let even = |nodule: &Attributes| !spiculated(nodule);
        assert!(share(&nodules, retracted, spiculated) > 3.0 * share(&nodules, retracted, even));
        for margin in [Margin::Smooth, Margin::Lobulated, Margin::Spiculated] {
            assert!(share(&nodules, |nodule| nodule.margin == margin, |_| true) > 0.15, "{margin:?}");
        }
    }
}
