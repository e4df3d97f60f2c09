//! Planes, windows and images against those of the published pipeline (SPEC section 2).
//!
//! `slices.safetensors` holds the planes and windows in full and every eleventh value of the images.

use std::path::PathBuf;

use pipe_learning::slice::planes::planes;
use pipe_learning::slice::window::{
    CHANNELS, CLIP_MEAN, CLIP_STANDARD_DEVIATION, NO_JITTER, Window, WindowParameters,
};
use pipe_stages::crop::geometry::LpsPoint;
use pipe_stages::crop::{CropParameters, crop};
use safetensors::SafeTensors;

const TOLERANCE: f32 = 1e-4;
const PIXELS: usize = 224 * 224;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn expected(name: &str) -> Vec<f32> {
    let bytes = std::fs::read(fixture("slice/slices.safetensors")).expect("the expected slices");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let data = tensors.tensor(name).expect("an expected tensor").data().to_vec();
    data.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn largest_difference(found: impl ExactSizeIterator<Item = f32>, expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The volume that the reference script computes from a formula, f64 arithmetic stored as f32.
fn formula(edge: usize, phase: f64) -> Vec<f32> {
    let half = (edge / 2) as f64;
    let value = |index: usize| {
        let [z, y, x] = [index / (edge * edge), index / edge % edge, index % edge].map(|axis| axis as f64);
        let wave = libm::sin(0.11 * z + 0.23 * y + phase) * libm::cos(0.17 * x - 0.05 * z);
        let [dz, dy, dx] = [z - half, y - half + 3.0, x - half - 2.0];
        let blob = libm::exp(-(dz * dz + dy * dy + dx * dx) / 60.0);
        (-300.0 + 400.0 * wave + 600.0 * blob) as f32
    };
    (0..edge.pow(3)).map(value).collect()
}

/// The crop of `crop100`, from its scan.
fn crop100() -> Vec<f32> {
    let mut reader = csv::Reader::from_path(fixture("crop/cases.csv")).expect("the table of cases");
    let rows = reader.deserialize::<(String, String, String, f64, f64, f64, usize)>();
    let mut rows = rows.map(|row| row.expect("a case"));
    let (_, _, image, x, y, z, _) = rows.find(|row| row.0 == "crop100").expect("listed");
    let path = fixture("crop").join(image);
    let crops = crop(&path, &[LpsPoint { x, y, z }], &CropParameters::default()).expect("readable");
    crops.into_iter().next().expect("one crop").expect("inside")
}

#[test]
fn planes_windows_and_images_are_those_of_the_reference() {
    let volumes = [
        ("formula64", 64, formula(64, 1.0)),
        ("formula100", 100, formula(100, 0.0)),
        ("crop100", 100, crop100()),
    ];
    for (name, edge, volume) in volumes {
        let planes = planes(&volume, edge, -1000.0, 500.0).expect("a cube");
        let difference = largest_difference(planes.iter().copied(), &expected(&format!("{name}.planes")));
        assert!(difference <= TOLERANCE, "{name}.planes: {difference}");

        let window = Window::new(edge, WindowParameters::default()).expect("fits");
        let cut = |plane| window.cut(&planes, plane, &NO_JITTER).expect("inside");
        let windows: Vec<f32> = (0..9).flat_map(cut).collect();
        let difference = largest_difference(windows.into_iter(), &expected(&format!("{name}.slices50")));
        assert!(difference <= TOLERANCE, "{name}.slices50: {difference}");

        let mut images = vec![0.0; window.image_values()];
        window.images(&planes, &NO_JITTER, &mut images).expect("fits");
        let expected = expected(&format!("{name}.slices224"));
        for channel in 0..CHANNELS {
            let plain = |pixel: usize| {
                let value = images[(pixel / PIXELS * CHANNELS + channel) * PIXELS + pixel % PIXELS];
                value * CLIP_STANDARD_DEVIATION[channel] + CLIP_MEAN[channel]
            };
            let difference = largest_difference((0..9 * PIXELS).step_by(11).map(plain), &expected);
            assert!(difference <= TOLERANCE, "{name}.slices224, channel {channel}: {difference}");
        }
    }
}
