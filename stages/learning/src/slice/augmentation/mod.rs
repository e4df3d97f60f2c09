//! Planes of a volume that is flipped, turned, stretched, and changed in its intensities at random (SPEC section 5).
//!
//! The reference augments whole volumes with TorchIO and then takes their planes. Of all that, the planes' windows
//! show a part in the middle, so only the voxels that count for it are computed, in one pass: the place that a
//! voxel comes from, its value there, noise, gamma. What is drawn is a [`Draw`]; a draw and a volume always give
//! the same planes, on every processor.

mod gamma;
mod noise;
mod sampler;

use std::cell::RefCell;

pub use self::sampler::Voxel;
use self::sampler::{Mapping, Sampler};
use super::planes::{PLANES, PlanesError, planes_of_windowed};
use pipe_numerics::random::Generator;

/// Volumes are stretched by factors from 0.9 to 1.1, each axis by its own.
const MOST_STRETCH: f64 = 0.1;
/// Samples beyond the outermost point of a plane that still count for it: farther ones have weights below 10⁻⁴.
const SPLINE_REACH: f64 = 8.0;

/// How strongly volumes are augmented.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augmentation {
    /// Probability of a flip along each axis.
    pub flip_probability: f64,
    /// Largest rotation about each axis, in degrees.
    pub most_degrees: f64,
    /// Mean of the noise.
    pub noise_mean: f64,
    /// Standard deviation of the noise.
    pub noise_deviation: f64,
    /// Largest absolute logarithm of gamma.
    pub most_log_gamma: f64,
}

/// What is done to one volume. Axes are those of the array: z, y, x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Which axes are flipped, first of all.
    pub flips: [bool; 3],
    /// By what each axis is stretched: objects look that much larger.
    pub scales: [f64; 3],
    /// Rotation about each axis.
    pub degrees: [f64; 3],
    /// Mean and standard deviation of the noise.
    pub noise: [f32; 2],
    /// Names the noise.
    pub noise_seed: u64,
    /// The exponent of the intensities, last of all.
    pub gamma: f32,
}

impl Augmentation {
    /// Draws what is done to a volume.
    pub fn draw(&self, generator: &mut Generator) -> Draw {
        let mut three = |low: f64, high: f64| [(); 3].map(|()| generator.uniform_between(low, high));
        let flips = three(0.0, 1.0).map(|drawn| drawn < self.flip_probability);
        let scales = three(1.0 - MOST_STRETCH, 1.0 + MOST_STRETCH);
        let degrees = three(-self.most_degrees, self.most_degrees);
        let log_gamma = generator.uniform_between(-self.most_log_gamma, self.most_log_gamma);
        Draw {
            flips,
            scales,
            degrees,
            noise: [self.noise_mean as f32, self.noise_deviation as f32],
            noise_seed: generator.bits(),
            gamma: libm::exp(log_gamma) as f32,
        }
    }
}

/// Makes planes of augmented volumes of one size.
#[derive(Clone, Copy, Debug)]
pub struct Augmenter {
    volume_edge: usize,
    window: usize,
    cube_edge: usize,
}

thread_local! {
    /// Kept from one volume to the next.
    static CUBE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Augmenter {
    /// For volumes of an edge, of whose planes the central square of `window` voxels is wanted.
    ///
    /// # Errors
    /// The volume is too small to be rotated.
    pub fn new(volume_edge: usize, window: usize) -> Result<Self, PlanesError> {
        if volume_edge < 2 {
            return Err(PlanesError::TooSmall { edge: volume_edge });
        }
        let window = window.min(volume_edge);
        let half = window as f64 / 2.0;
        let rotated = (half + 1.0) * std::f64::consts::FRAC_1_SQRT_2 + SPLINE_REACH;
        // As odd as the volume, so that their centres are one.
        let needed = 2 * half.max(rotated).ceil() as usize + volume_edge % 2;
        Ok(Self { volume_edge, window, cube_edge: needed.min(volume_edge) })
    }

    /// The windows of the nine planes of a volume after a draw, (9, window, window). `volume` holds `edge³` values,
    /// C order over (z, y, x), windowed to [0, 1]; `lowest` of them fills what lies outside.
    ///
    /// # Errors
    /// The volume has another size, or values are not finite.
    pub fn planes<V: Voxel>(&self, volume: &[V], lowest: f32, draw: &Draw) -> Result<Vec<f32>, PlanesError> {
        let edge = self.volume_edge;
        if edge.checked_pow(3) != Some(volume.len()) {
            return Err(PlanesError::NotCubic { edge, found: volume.len() });
        }
        let planes = CUBE.with_borrow_mut(|cube| {
            cube.resize(self.cube_edge.pow(3), 0.0);
            let first = edge / 2 - self.cube_edge / 2;
            pulp::Arch::new().dispatch(Sampler {
                volume,
                mapping: Mapping::new(draw, edge),
                lowest,
                draw,
                first,
                cube,
                cube_edge: self.cube_edge,
            });
            planes_of_windowed(cube, self.cube_edge)
        })?;
        Ok(central(&planes, self.cube_edge, self.window))
    }
}

/// The central square of each plane. A window at the middle of the whole plane is at the middle of it.
pub fn central(planes: &[f32], edge: usize, window: usize) -> Vec<f32> {
    if edge <= window {
        return planes.to_vec();
    }
    let start = edge / 2 - window / 2;
    let mut kept = Vec::with_capacity(PLANES * window * window);
    for plane in planes.chunks_exact(edge * edge) {
        for row in plane.chunks_exact(edge).skip(start).take(window) {
            kept.extend_from_slice(&row[start..start + window]);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_numerics::random::RandomKey;

    const NOTHING: Draw = Draw {
        flips: [false; 3],
        scales: [1.0; 3],
        degrees: [0.0; 3],
        noise: [0.0; 2],
        noise_seed: 0,
        gamma: 1.0,
    };
    const USUAL: Augmentation = Augmentation {
        flip_probability: 0.5,
        most_degrees: 10.0,
        noise_mean: 0.0,
        noise_deviation: 0.02,
        most_log_gamma: 0.2,
    };

    fn volume(edge: usize) -> Vec<f32> {
        let value = |index: usize| ((index * 7919 + index / 13) % 1000) as f32 / 1000.0;
        (0..edge.pow(3)).map(value).collect()
    }

    #[test]
    fn the_middle_stays_the_middle() {
        for (edge, window) in [(10, 4), (11, 4), (10, 5), (11, 5), (9, 9), (4, 9)] {
            let planes: Vec<f32> = (0..9 * edge * edge).map(|value| value as f32).collect();
            let cut = central(&planes, edge, window);
            let kept = edge.min(window);
            assert_eq!(cut.len(), 9 * kept * kept);
            let middle = |values: &[f32], edge: usize| values[(edge / 2) * edge + edge / 2];
            assert_eq!(middle(&cut, kept), middle(&planes, edge), "{edge} {window}");
        }
    }

    #[test]
    fn planes_of_a_part_are_those_of_the_whole() {
        for (edge, window) in [(100, 60), (101, 60), (90, 31), (64, 50), (40, 40), (7, 3)] {
            let volume = volume(edge);
            let augmenter = Augmenter::new(edge, window).expect("sizes");
            let found = augmenter.planes(&volume, 0.0, &NOTHING).expect("planes");
            let whole = central(&planes_of_windowed(&volume, edge).expect("planes"), edge, window);
            let largest = found.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-4, "{edge} {window} {}: {largest:e}", augmenter.cube_edge);
        }
        assert_eq!(Augmenter::new(100, 60).expect("sizes").cube_edge, 60);
    }

    #[test]
    fn the_mean_and_the_deviation_of_the_noise_are_those_asked_for() {
        let draw = Draw { noise: [0.1, 0.02], noise_seed: 9, ..NOTHING };
        let augmenter = Augmenter::new(60, 60).expect("sizes");
        let planes = augmenter.planes(&vec![0.5_f32; 60 * 60 * 60], 0.0, &draw).expect("planes");
        // The straight planes show the noise as it is.
        let noise: Vec<f64> = planes[..3 * 3600].iter().map(|value| f64::from(*value) - 0.5).collect();
        let mean = noise.iter().sum::<f64>() / noise.len() as f64;
        let deviation = (noise.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / noise.len() as f64).sqrt();
        assert!((mean - 0.1).abs() < 1e-3 && (deviation - 0.02).abs() < 5e-4, "{mean} {deviation}");
        let other = Draw { noise_seed: 10, ..draw };
        assert_ne!(augmenter.planes(&vec![0.5_f32; 60 * 60 * 60], 0.0, &other).expect("planes"), planes);
    }

    #[test]
    fn draws_stay_in_their_ranges_and_fill_them() {
        let mut generator = RandomKey::new(1, "test").generator();
        let draws: Vec<Draw> = (0..2000).map(|_| USUAL.draw(&mut generator)).collect();
        let range = |value: fn(&Draw) -> f64| {
            let values = draws.iter().map(value);
            [values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max)]
        };
        for (name, [low, high], [least, most]) in [
            ("scale", range(|draw| draw.scales[1]), [0.9, 1.1]),
            ("degrees", range(|draw| draw.degrees[2]), [-10.0, 10.0]),
            ("log gamma", range(|draw| f64::from(draw.gamma).ln()), [-0.2, 0.2]),
        ] {
            let slack = 0.01 * (most - least);
            assert!(least - 1e-6 <= low && low < least + slack, "{name}: {low}");
            assert!(most - slack < high && high <= most + 1e-6, "{name}: {high}");
        }
        let flipped = draws.iter().filter(|draw| draw.flips[0]).count();
        assert!((900..1100).contains(&flipped), "{flipped}");
    }

    #[test]
    fn a_volume_of_another_size_is_refused() {
        let augmenter = Augmenter::new(10, 5).expect("sizes");
        let found = augmenter.planes(&[0.0_f32; 999], 0.0, &NOTHING);
        assert_eq!(found, Err(PlanesError::NotCubic { edge: 10, found: 999 }));
        assert!(Augmenter::new(1, 1).is_err());
    }
}
