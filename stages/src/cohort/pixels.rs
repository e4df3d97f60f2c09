//! Windows of planes as a tower's images, shifted in training.

use pipe_learning::slice::window::{NO_JITTER, Window, WindowError, WindowParameters, draw_jitter};
use pipe_learning::training::batches::{MakePixels, SourceError};
use pipe_numerics::random::Generator;

/// Cuts, enlarges and normalises windows.
pub(crate) struct Pixels {
    window: Window,
    jitter: u16,
}

impl Pixels {
    /// For planes of an edge; `jitter` is the largest shift in training.
    pub(crate) fn new(
        edge: usize,
        crop_size: usize,
        resolution: usize,
        jitter: u16,
    ) -> Result<Self, WindowError> {
        Ok(Self { window: Window::new(edge, WindowParameters { crop_size, resolution })?, jitter })
    }

    /// Voxels of a plane that a window can reach.
    pub(crate) fn reach(crop_size: usize, jitter: u16) -> usize {
        crop_size + 2 * usize::from(jitter)
    }
}

impl MakePixels for Pixels {
    fn write(
        &self,
        planes: &[f32],
        shift: Option<&mut Generator>,
        pixels: &mut [f32],
    ) -> Result<(), SourceError> {
        let jitter = shift.map_or(NO_JITTER, |generator| draw_jitter(generator, self.jitter));
        Ok(self.window.images(planes, &jitter, pixels)?)
    }
}
