//! The voxels of the middle of an augmented volume.

use super::Draw;
use super::gamma::signed_power;
use super::noise::Noise;

/// Voxels of a row that are worked on together.
const BLOCK: usize = 64;
/// 1.5 · 2²³: adding it to a small number rounds that to a whole one, which the sum's bits then end in. Unlike a cast,
/// which asks for numbers that are none, this is two vector instructions.
const WHOLE: f32 = 12_582_912.0;

/// A stored value of a windowed volume.
pub trait Voxel: Copy + Sync {
    /// The number that stands for 1.
    const ONE: f32;
    /// Two neighbours, packed so that they are fetched at once.
    type Pair: Copy + Default;
    /// Packs two neighbours.
    fn pair(two: [Self; 2]) -> Self::Pair;
    /// Both as numbers.
    fn numbers(pair: Self::Pair) -> [f32; 2];
}

impl Voxel for f32 {
    const ONE: f32 = 1.0;
    type Pair = [f32; 2];

    #[inline(always)]
    fn pair(two: [Self; 2]) -> [f32; 2] {
        two
    }

    #[inline(always)]
    fn numbers(pair: [f32; 2]) -> [f32; 2] {
        pair
    }
}

/// Shares of 65,535, which is 0.02 HU of the usual window.
impl Voxel for u16 {
    const ONE: f32 = 65_535.0;
    type Pair = u32;

    #[inline(always)]
    fn pair([first, second]: [Self; 2]) -> u32 {
        u32::from(first) | u32::from(second) << 16
    }

    #[inline(always)]
    fn numbers(pair: u32) -> [f32; 2] {
        [(pair & 0xffff) as i32 as f32, (pair >> 16) as i32 as f32]
    }
}

/// Where a voxel comes from: source = matrix · (target − centre) + centre, in voxels.
///
/// As TorchIO's Flip and Affine about the image's centre: the matrix is flips · (Rz·Rx·Ry)ᵀ · diag(1/scales), with
/// rotations about the array's axes 0 (x), 1 (y), 2 (z).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mapping {
    matrix: [[f64; 3]; 3],
    centre: f64,
}

impl Mapping {
    pub(super) fn new(draw: &Draw, edge: usize) -> Self {
        let [about_0, about_1, about_2] = draw.degrees.map(|degrees| rotation(degrees.to_radians()));
        let [[c, s], [c1, s1], [c2, s2]] = [about_0, about_1, about_2];
        let first = [[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]];
        let second = [[c1, 0.0, s1], [0.0, 1.0, 0.0], [-s1, 0.0, c1]];
        let third = [[c2, -s2, 0.0], [s2, c2, 0.0], [0.0, 0.0, 1.0]];
        let turned = product(&product(&third, &first), &second);
        let entry = |row: usize, column: usize| {
            let sign = if draw.flips[row] { -1.0 } else { 1.0 };
            sign * turned[column][row] / draw.scales[column]
        };
        let matrix = [0, 1, 2].map(|row| [0, 1, 2].map(|column| entry(row, column)));
        Self { matrix, centre: (edge as f64 - 1.0) / 2.0 }
    }

    /// Where the first voxel of a row comes from, and the step from one to the next.
    fn row(&self, [z, y, x]: [usize; 3]) -> [[f32; 2]; 3] {
        let target = [z, y, x].map(|index| index as f64 - self.centre);
        self.matrix.map(|row| {
            let offset: f64 = row.iter().zip(target).map(|(entry, along)| entry * along).sum();
            [(offset + self.centre) as f32, row[2] as f32]
        })
    }
}

/// Cosine and sine.
fn rotation(radians: f64) -> [f64; 2] {
    [libm::cos(radians), libm::sin(radians)]
}

fn product(a: &[[f64; 3]; 3], b: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    [0, 1, 2].map(|row| [0, 1, 2].map(|column| (0..3).map(|inner| a[row][inner] * b[inner][column]).sum()))
}

/// Fills a cube at the middle of a volume; compiled for each kind of processor.
pub(super) struct Sampler<'a, V> {
    pub(super) volume: &'a [V],
    pub(super) mapping: Mapping,
    pub(super) lowest: f32,
    pub(super) draw: &'a Draw,
    /// First index of the cube along each axis of the volume.
    pub(super) first: usize,
    pub(super) cube: &'a mut [f32],
    pub(super) cube_edge: usize,
}

impl<V: Voxel> pulp::WithSimd for Sampler<'_, V> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _instructions: S) {
        let Self { volume, mapping, lowest, draw, first, cube, cube_edge } = self;
        let edge = (2.0 * mapping.centre) as usize + 1;
        let noise = Noise::new(draw.noise_seed);
        for (index, row) in cube.chunks_exact_mut(cube_edge).enumerate() {
            let [z, y] = [index / cube_edge + first, index % cube_edge + first];
            for (block, values) in row.chunks_mut(BLOCK).enumerate() {
                let x = first + block * BLOCK;
                sample(volume, edge, &mapping.row([z, y, x]), lowest, values);
                finish(values, (z * edge + y) * edge + x, noise, draw);
            }
        }
    }
}

/// Trilinear values along a line through a volume. Within half a voxel of the border the border's value holds, beyond
/// that `lowest`, as in ITK.
///
/// Each loop is over a whole block and does one thing, which compilers turn into vector instructions; only fetching
/// goes voxel by voxel.
#[inline(always)]
fn sample<V: Voxel>(volume: &[V], edge: usize, line: &[[f32; 2]; 3], lowest: f32, values: &mut [f32]) {
    let last = edge as f32 - 1.0;
    let mut inside = [true; BLOCK];
    let mut shares = [[0.0_f32; BLOCK]; 3];
    let mut starts = [0_u32; BLOCK];
    for ([first, step], shares) in line.iter().zip(&mut shares) {
        for (at, ((share, start), inside)) in shares.iter_mut().zip(&mut starts).zip(&mut inside).enumerate()
        {
            let place = first + step * at as i32 as f32;
            *inside &= (place >= -0.5) & (place <= last + 0.5);
            let clamped = place.max(0.0).min(last);
            // A whole number may count as the end of the cell below it.
            let below = ((clamped - 0.5 + WHOLE) - WHOLE).min(last - 1.0);
            *share = clamped - below;
            *start = *start * edge as u32 + ((below + WHOLE).to_bits() - WHOLE.to_bits());
        }
    }
    let mut pairs = [[V::Pair::default(); BLOCK]; 4];
    let [front, front_lower, back, back_lower] = &mut pairs;
    let fetch = |from: usize| match volume.get(from..from + 2) {
        Some(&[first, second]) => V::pair([first, second]),
        _ => V::Pair::default(),
    };
    for (at, start) in starts.iter().enumerate().take(values.len()) {
        let start = *start as usize;
        front[at] = fetch(start);
        front_lower[at] = fetch(start + edge);
        back[at] = fetch(start + edge * edge);
        back_lower[at] = fetch(start + edge * edge + edge);
    }
    let mut mixed = [0.0_f32; BLOCK];
    for (at, mixed) in mixed.iter_mut().enumerate() {
        let mix = |[a, b]: [f32; 2], share: f32| a + (b - a) * share;
        let [of_z, of_y, of_x] = [shares[0][at], shares[1][at], shares[2][at]];
        let along_x = |pair: V::Pair| mix(V::numbers(pair), of_x);
        let near = mix([along_x(front[at]), along_x(front_lower[at])], of_y);
        let far = mix([along_x(back[at]), along_x(back_lower[at])], of_y);
        *mixed = if inside[at] { mix([near, far], of_z) * (1.0 / V::ONE) } else { lowest };
    }
    values.iter_mut().zip(mixed).for_each(|(value, mixed)| *value = mixed);
}

/// Adds the noise of the voxels that begin with `index`, and takes the power.
#[inline(always)]
fn finish(values: &mut [f32], index: usize, noise: Noise, draw: &Draw) {
    let [mean, deviation] = draw.noise;
    if deviation != 0.0 || mean != 0.0 {
        for (step, value) in values.iter_mut().enumerate() {
            *value += mean + deviation * noise.at(index + step);
        }
    }
    if draw.gamma != 1.0 {
        values.iter_mut().for_each(|value| *value = signed_power(*value, draw.gamma));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(flips: [bool; 3], scales: [f64; 3], degrees: [f64; 3]) -> Draw {
        Draw { flips, scales, degrees, noise: [0.0; 2], noise_seed: 0, gamma: 1.0 }
    }

    fn sampled<V: Voxel>(volume: &[V], edge: usize, draw: &Draw, lowest: f32) -> Vec<f32> {
        let mut cube = vec![0.0; volume.len()];
        let mapping = Mapping::new(draw, edge);
        let sampler = Sampler { volume, mapping, lowest, draw, first: 0, cube: &mut cube, cube_edge: edge };
        pulp::Arch::new().dispatch(sampler);
        cube
    }

    #[test]
    fn flips_and_quarter_turns_move_voxels_whole() {
        let edge = 9;
        let volume: Vec<f32> = (0..edge * edge * edge).map(|index| index as f32).collect();
        let value = |z: usize, y: usize, x: usize| ((z * edge + y) * edge + x) as f32;
        let flipped = sampled(&volume, edge, &draw([true, false, true], [1.0; 3], [0.0; 3]), 0.0);
        assert_eq!(flipped[(edge + 2) * edge + 3], value(edge - 2, 2, edge - 4));
        let turned = sampled(&volume, edge, &draw([false; 3], [1.0; 3], [0.0, 0.0, 90.0]), 0.0);
        assert!((turned[(edge + 2) * edge + 3] - value(2, edge - 2, 3)).abs() < 1e-3);
    }

    #[test]
    fn what_lies_outside_is_the_lowest_value() {
        let volume = vec![u16::MAX; 1000];
        let shrunk = sampled(&volume, 10, &draw([false; 3], [0.5; 3], [0.0; 3]), 0.25);
        assert_eq!((shrunk[0], shrunk[555]), (0.25, 1.0));
        assert!(shrunk.iter().all(|value| [0.25, 1.0].contains(value)));
    }
}
