//! The mottled density of lung tissue: smooth noise that can be asked at any point.

use super::geometry::Point;
use pipe_numerics::random::Generator;

/// Lattice points along each axis; the texture repeats after that many.
const PERIOD: usize = 32;
/// Distance of lattice points, mm.
const GRAIN_MM: f64 = 4.5;
/// Standard deviation at the lattice points, HU.
const SPREAD_HU: f64 = 28.0;

/// Trilinear interpolation in a periodic lattice of random densities.
#[derive(Clone, Debug)]
pub struct Texture {
    lattice: Vec<f32>,
}

impl Texture {
    /// Draws the lattice.
    pub fn draw(generator: &mut Generator) -> Self {
        let points = PERIOD * PERIOD * PERIOD;
        Self { lattice: (0..points).map(|_| (SPREAD_HU * generator.normal()) as f32).collect() }
    }

    /// Deviation of the density at a point from the lung's mean, HU.
    pub fn value(&self, point: Point) -> f64 {
        let [x, y, z] = point.map(cell);
        let along_x = |z: usize, y: usize| mix(self.at(z, y, x.0), self.at(z, y, x.1), x.2);
        let along_y = |z: usize| mix(along_x(z, y.0), along_x(z, y.1), y.2);
        mix(along_y(z.0), along_y(z.1), z.2)
    }

    fn at(&self, z: usize, y: usize, x: usize) -> f64 {
        self.lattice.get((z * PERIOD + y) * PERIOD + x).copied().map_or(0.0, f64::from)
    }
}

/// The lattice points on both sides of a coordinate, and how far it is from the first to the second.
fn cell(coordinate: f64) -> (usize, usize, f64) {
    let scaled = coordinate / GRAIN_MM;
    let floor = scaled.floor();
    let first = (floor as i64).rem_euclid(PERIOD as i64) as usize;
    (first, (first + 1) % PERIOD, scaled - floor)
}

fn mix(a: f64, b: f64, share: f64) -> f64 {
    a + (b - a) * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_numerics::random::RandomKey;

    #[test]
    fn it_is_smooth_periodic_and_of_mean_zero() {
        let texture = Texture::draw(&mut RandomKey::new(1, "test").generator());
        let period = PERIOD as f64 * GRAIN_MM;
        let mut sum = 0.0;
        for step in 0..2000 {
            let point = [f64::from(step) * 0.37 - 200.0, f64::from(step) * 0.11, -3.0];
            let moved = [point[0] + period, point[1], point[2] - period];
            let near = [point[0] + 0.01, point[1], point[2]];
            assert!((texture.value(point) - texture.value(moved)).abs() < 1e-6);
            assert!((texture.value(point) - texture.value(near)).abs() < 1.0);
            sum += texture.value(point);
        }
        assert!((sum / 2000.0).abs() < 6.0, "{sum}");
    }
}
