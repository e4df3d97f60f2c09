//! The network's images: the window at a plane's centre, enlarged and normalised for CLIP.
//!
//! This runs for every nodule of every training batch, so positions and weights of the enlargement
//! are computed once, and enlarging runs along rows and then along columns. Which jitter a training
//! step uses is the caller's choice; [`draw_jitter`] draws one.

use super::planes::PLANES;
use pipe_numerics::random::Generator;

/// Channels of an image, all equal before normalisation.
pub const CHANNELS: usize = 3;
/// CLIP's channel means, as f32.
pub const CLIP_MEAN: [f32; CHANNELS] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// CLIP's channel standard deviations, as f32.
pub const CLIP_STANDARD_DEVIATION: [f32; CHANNELS] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// For each plane the shift of its window in voxels, along rows and along columns.
pub type Jitter = [[i32; 2]; PLANES];

/// No shift: validation and prediction.
pub const NO_JITTER: Jitter = [[0; 2]; PLANES];

/// The size of the window and of the images made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowParameters {
    /// Edge of the window in voxels.
    pub crop_size: usize,
    /// Edge of an image in pixels.
    pub resolution: usize,
}

impl Default for WindowParameters {
    /// 50 voxels, 224 pixels.
    fn default() -> Self {
        Self { crop_size: 50, resolution: 224 }
    }
}

/// Why planes cannot be made into images.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The window is empty or larger than a plane, or the image is empty.
    #[error("a window of {} voxels for images of {} pixels does not fit planes of edge {edge}", parameters.crop_size, parameters.resolution)]
    Size {
        /// Edge of a plane.
        edge: usize,
        /// Sizes asked for.
        parameters: WindowParameters,
    },
    /// A shift takes the window out of its plane.
    #[error(
        "a shift by {shift} takes the window out of plane {plane}, which has {room} voxels to spare on that side"
    )]
    Jitter {
        /// Index of the plane.
        plane: usize,
        /// Shift asked for.
        shift: i32,
        /// The largest possible shift in that direction.
        room: usize,
    },
    /// The planes or the images have the wrong number of values.
    #[error("{what} have {found} values, expected {expected}")]
    Length {
        /// "planes" or "images".
        what: &'static str,
        /// Values given.
        found: usize,
        /// Values expected.
        expected: usize,
    },
}

/// Draws a shift in `[−reach, reach)` for each plane and axis, planes first.
pub fn draw_jitter(generator: &mut Generator, reach: u16) -> Jitter {
    let reach = i32::from(reach);
    let mut jitter = NO_JITTER;
    for shift in jitter.as_flattened_mut() {
        // Below 2^17, so the conversion cannot fail.
        let drawn = i32::try_from(generator.below(2 * reach.unsigned_abs() as usize)).unwrap_or(reach);
        *shift = drawn - reach;
    }
    jitter
}

/// Makes images of planes of one edge.
#[derive(Clone, Debug)]
pub struct Window {
    edge: usize,
    parameters: WindowParameters,
    taps: Vec<Tap>,
}

/// A pixel between two voxels of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tap {
    low: usize,
    high: usize,
    /// Weight of `high`.
    weight: f32,
}

impl Window {
    /// Prepares for planes of the given edge.
    ///
    /// # Errors
    /// [`WindowError::Size`] when the window is empty or larger than a plane.
    pub fn new(edge: usize, parameters: WindowParameters) -> Result<Self, WindowError> {
        let WindowParameters { crop_size, resolution } = parameters;
        if crop_size == 0 || resolution == 0 || crop_size > edge {
            return Err(WindowError::Size { edge, parameters });
        }
        Ok(Self { edge, parameters, taps: taps(crop_size, resolution) })
    }

    /// Number of values of a nodule's images: 9 · 3 · resolution².
    pub fn image_values(&self) -> usize {
        PLANES * CHANNELS * self.parameters.resolution.pow(2)
    }

    /// Writes the CLIP images of nine planes, C order over (plane, channel, row, column).
    ///
    /// `planes` holds `9 · edge²` values, `images` takes [`Window::image_values`].
    ///
    /// # Errors
    /// [`WindowError::Length`] for slices of another length, [`WindowError::Jitter`] for a shift
    /// that takes a window out of its plane.
    pub fn images(&self, planes: &[f32], jitter: &Jitter, images: &mut [f32]) -> Result<(), WindowError> {
        self.check_lengths(planes, images)?;
        let mut starts = [[0; 2]; PLANES];
        for (index, starts) in starts.iter_mut().enumerate() {
            *starts = self.starts(index, jitter)?;
        }
        pulp::Arch::new().dispatch(Stretch { window: self, planes, starts, images });
        Ok(())
    }

    /// The window of one plane as it is, `crop_size²` values, before enlargement; empty for an index
    /// that is not one of the nine planes.
    ///
    /// # Errors
    /// As [`Window::images`].
    pub fn cut(&self, planes: &[f32], plane: usize, jitter: &Jitter) -> Result<Vec<f32>, WindowError> {
        self.check_planes(planes)?;
        let [top, left] = self.starts(plane, jitter)?;
        let rows = planes.chunks_exact(self.edge).skip(plane * self.edge + top);
        Ok(rows.take(self.parameters.crop_size).flat_map(|row| self.part(row, left)).copied().collect())
    }

    fn check_planes(&self, planes: &[f32]) -> Result<(), WindowError> {
        check_length("planes", planes.len(), PLANES * self.edge.pow(2))
    }

    fn check_lengths(&self, planes: &[f32], images: &[f32]) -> Result<(), WindowError> {
        self.check_planes(planes)?;
        check_length("images", images.len(), self.image_values())
    }

    #[inline(always)]
    fn part<'a>(&self, row: &'a [f32], left: usize) -> &'a [f32] {
        &row[left..left + self.parameters.crop_size]
    }

    /// First row and column of a plane's window.
    fn starts(&self, plane: usize, jitter: &Jitter) -> Result<[usize; 2], WindowError> {
        let shifts = jitter.get(plane).copied().unwrap_or_default();
        let [row, column] = shifts.map(|shift| self.start(plane, shift));
        Ok([row?, column?])
    }

    fn start(&self, plane: usize, shift: i32) -> Result<usize, WindowError> {
        let before = self.edge / 2 - self.parameters.crop_size / 2;
        let after = self.edge - self.parameters.crop_size - before;
        let distance = shift.unsigned_abs() as usize;
        let room = if shift < 0 { before } else { after };
        if distance > room {
            return Err(WindowError::Jitter { plane, shift, room });
        }
        Ok(if shift < 0 { before - distance } else { before + distance })
    }

    /// Stretches each row of the window to the image's width.
    #[inline(always)]
    fn stretch_rows(&self, plane: &[f32], [top, left]: [usize; 2], pixel_rows: &mut Vec<f32>) {
        pixel_rows.clear();
        for row in plane.chunks_exact(self.edge).skip(top).take(self.parameters.crop_size) {
            let part = self.part(row, left);
            pixel_rows.extend(self.taps.iter().map(|tap| tap.mix(part[tap.low], part[tap.high])));
        }
    }

    /// Stretches the columns to the image's height and normalises each channel.
    #[inline(always)]
    fn stretch_columns(&self, pixel_rows: &[f32], image: &mut [f32]) {
        let width = self.parameters.resolution;
        let row_of = |index: usize| &pixel_rows[index * width..][..width];
        let (red, rest) = image.split_at_mut(width * width);
        let (green, blue) = rest.split_at_mut(width * width);
        let rows =
            red.chunks_exact_mut(width).zip(green.chunks_exact_mut(width)).zip(blue.chunks_exact_mut(width));
        for (tap, ((red, green), blue)) in self.taps.iter().zip(rows) {
            let mixed = row_of(tap.low).iter().zip(row_of(tap.high)).map(|(&low, &high)| tap.mix(low, high));
            let channels = red.iter_mut().zip(green).zip(blue);
            for (value, ((red, green), blue)) in mixed.zip(channels) {
                *red = normalised(value, 0);
                *green = normalised(value, 1);
                *blue = normalised(value, 2);
            }
        }
    }
}

/// What is compiled for each kind of processor; none of its operations are fused, so the results are the same.
struct Stretch<'a> {
    window: &'a Window,
    planes: &'a [f32],
    starts: [[usize; 2]; PLANES],
    images: &'a mut [f32],
}

impl pulp::WithSimd for Stretch<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _instructions: S) {
        let Self { window, planes, starts, images } = self;
        let pixels = window.parameters.resolution.pow(2);
        let mut pixel_rows = Vec::with_capacity(window.parameters.crop_size * window.parameters.resolution);
        let each = planes.chunks_exact(window.edge.pow(2)).zip(images.chunks_exact_mut(CHANNELS * pixels));
        for ((plane, image), starts) in each.zip(starts) {
            window.stretch_rows(plane, starts, &mut pixel_rows);
            window.stretch_columns(&pixel_rows, image);
        }
    }
}

impl Tap {
    #[inline(always)]
    fn mix(self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.weight
    }
}

#[inline(always)]
fn normalised(value: f32, channel: usize) -> f32 {
    (value - CLIP_MEAN[channel]) * (1.0 / CLIP_STANDARD_DEVIATION[channel])
}

/// Corner-aligned positions: pixel `i` lies at `i · (window − 1)/(resolution − 1)`.
fn taps(window: usize, resolution: usize) -> Vec<Tap> {
    let tap = |pixel: usize| {
        let (numerator, denominator) = (pixel * (window - 1), (resolution - 1).max(1));
        let low = numerator / denominator;
        let weight = (numerator % denominator) as f64 / denominator as f64;
        Tap { low, high: (low + 1).min(window - 1), weight: weight as f32 }
    };
    (0..resolution).map(tap).collect()
}

fn check_length(what: &'static str, found: usize, expected: usize) -> Result<(), WindowError> {
    if found == expected { Ok(()) } else { Err(WindowError::Length { what, found, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_numerics::random::RandomKey;

    /// Nine planes whose pixel (row, column) of plane `p` is `100 p + 10 row + column`.
    fn ramps(edge: usize) -> Vec<f32> {
        let pixel = |index: usize| {
            let (plane, row, column) = (index / (edge * edge), index / edge % edge, index % edge);
            (100 * plane + 10 * row + column) as f32
        };
        (0..PLANES * edge * edge).map(pixel).collect()
    }

    fn window(edge: usize, crop_size: usize, resolution: usize) -> Window {
        Window::new(edge, WindowParameters { crop_size, resolution }).expect("fits")
    }

    fn images(window: &Window, planes: &[f32], jitter: &Jitter) -> Vec<f32> {
        let mut images = vec![f32::NAN; window.image_values()];
        window.images(planes, jitter, &mut images).expect("fits");
        images
    }

    fn pixel(images: &[f32], resolution: usize, [plane, channel, row, column]: [usize; 4]) -> f32 {
        let value = images[((plane * CHANNELS + channel) * resolution + row) * resolution + column];
        value * CLIP_STANDARD_DEVIATION[channel] + CLIP_MEAN[channel]
    }

    #[test]
    fn a_ramp_stays_a_ramp_and_corners_stay_corners() {
        let images = images(&window(9, 4, 7), &ramps(9), &NO_JITTER);
        // The window starts at 4 − 2 = 2; a pixel is half a voxel.
        for (at, expected) in [
            ([0, 0, 0, 0], 22.0),
            ([0, 1, 6, 6], 55.0),
            ([3, 2, 1, 0], 327.0),
            ([8, 0, 0, 3], 823.5),
            ([5, 1, 3, 5], 539.5),
        ] {
            let found = pixel(&images, 7, at);
            assert!((found - expected).abs() < 1e-3, "{at:?}: {found} {expected}");
        }
    }

    #[test]
    fn jitter_moves_each_plane_by_itself() {
        let window = window(10, 4, 4);
        let mut jitter = NO_JITTER;
        jitter[2] = [-3, 3];
        let images = images(&window, &ramps(10), &jitter);
        assert!((pixel(&images, 4, [1, 0, 0, 0]) - 133.0).abs() < 1e-3);
        assert!((pixel(&images, 4, [2, 0, 0, 0]) - 206.0).abs() < 1e-3);
        assert_eq!(
            window.cut(&ramps(10), 2, &jitter).expect("fits")[..5],
            [206.0, 207.0, 208.0, 209.0, 216.0]
        );
    }

    #[test]
    fn a_window_may_be_shrunk_or_a_single_pixel() {
        let shrunk = images(&window(9, 9, 3), &ramps(9), &NO_JITTER);
        assert!((pixel(&shrunk, 3, [0, 0, 1, 2]) - 48.0).abs() < 1e-3);
        let single = images(&window(9, 4, 1), &ramps(9), &NO_JITTER);
        assert!((pixel(&single, 1, [0, 0, 0, 0]) - 22.0).abs() < 1e-3);
        let voxel = images(&window(9, 1, 2), &ramps(9), &NO_JITTER);
        assert!((pixel(&voxel, 2, [0, 0, 1, 1]) - 44.0).abs() < 1e-3);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (edge, crop_size, resolution) in [(40, 50, 224), (40, 0, 224), (40, 40, 0)] {
            let parameters = WindowParameters { crop_size, resolution };
            assert_eq!(Window::new(edge, parameters).err(), Some(WindowError::Size { edge, parameters }));
        }
        let window = window(9, 4, 2);
        let mut images = vec![0.0; window.image_values()];
        for (shift, room) in [(-3, 2), (4, 3)] {
            let mut jitter = NO_JITTER;
            jitter[4][1] = shift;
            let found = window.images(&ramps(9), &jitter, &mut images);
            assert_eq!(found, Err(WindowError::Jitter { plane: 4, shift, room }));
        }
        let short = window.images(&ramps(9)[1..], &NO_JITTER, &mut images);
        assert_eq!(short, Err(WindowError::Length { what: "planes", found: 728, expected: 729 }));
        let short = window.images(&ramps(9), &NO_JITTER, &mut images[1..]);
        assert_eq!(short, Err(WindowError::Length { what: "images", found: 107, expected: 108 }));
    }

    #[test]
    fn jitter_is_uniform_in_its_half_open_range() {
        let mut generator = RandomKey::new(1, "test").generator();
        let mut seen = [0_usize; 10];
        for _ in 0..200 {
            for shift in draw_jitter(&mut generator, 5).as_flattened() {
                seen[usize::try_from(shift + 5).expect("not below −5")] += 1;
            }
        }
        assert!(seen.iter().all(|&count| (260..460).contains(&count)), "{seen:?}");
        assert_eq!(draw_jitter(&mut generator, 0), NO_JITTER);
    }
}
