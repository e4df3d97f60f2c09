//! What both benchmarks measure: synthetic scans in a temporary folder, and the bare inflater.

// Each benchmark uses its own part.
#![allow(dead_code, clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::{Decompress, FlushDecompress};
use pipe_imaging::affine::Affine;
use pipe_imaging::nifti_write::{Volume, write};
use pipe_imaging::orientation::Orientation;
use pipe_imaging::scan::Scan;
use pipe_stages::crop::geometry::{LpsPoint, ScanSpace};
use pipe_stages::crop::reference::Grid;
use pipe_stages::crop::{CropParameters, crop};
use rayon::prelude::*;
use tempfile::TempDir;

/// The program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A scan of a usual size, 16-bit and compressed, with three nodules at different depths.
pub struct Workload {
    _folder: Option<TempDir>,
    pub path: PathBuf,
    /// From the first slices to the last ones.
    pub nodules: Vec<LpsPoint>,
}

impl Workload {
    /// 512 × 512 × 300 voxels of 0.7 × 0.7 × 1 mm.
    pub fn synthetic() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan.nii.gz");
        write_scan(&path, [512, 512, 300], [0.7, 0.7, 1.0], 0);
        let nodules = [(-40.0, -70.0), (55.0, 0.0), (-70.0, 60.0)];
        let nodules = nodules.map(|(x, z)| LpsPoint { x, y: 20.0, z }).to_vec();
        Self { _folder: Some(folder), path, nodules }
    }

    /// A scan that is there; its nodules are put in order of depth.
    pub fn existing(path: PathBuf, nodules: Vec<LpsPoint>) -> Self {
        let mut workload = Self { _folder: None, path, nodules };
        let depths: Vec<u64> = workload.nodules.iter().map(|&nodule| workload.prefix(nodule)).collect();
        let mut order: Vec<usize> = (0..depths.len()).collect();
        order.sort_by_key(|&index| depths[index]);
        workload.nodules = order.into_iter().map(|index| workload.nodules[index]).collect();
        workload
    }

    pub fn middle(&self) -> LpsPoint {
        self.nodules[self.nodules.len() / 2]
    }

    pub fn deepest(&self) -> LpsPoint {
        *self.nodules.last().unwrap()
    }

    /// Crops around these nodules.
    pub fn crop(&self, nodules: &[LpsPoint]) -> Vec<Vec<f32>> {
        let crops = crop(&self.path, nodules, &CropParameters::default()).unwrap();
        crops.into_iter().map(Result::unwrap).collect()
    }

    /// Bytes of the uncompressed file up to the last row that a nodule's crop needs.
    pub fn prefix(&self, nodule: LpsPoint) -> u64 {
        let scan = Scan::open(&self.path).unwrap();
        let affine = scan.affine(Orientation::Auto).unwrap();
        let space = ScanSpace::new(scan.layout().shape, &affine).unwrap();
        let crop_box = Grid::new(&space).crop_box(nodule, CropParameters::default().size_mm);
        let [_, row, slice] = crop_box.region().end;
        scan.layout().row_start(row, slice - 1)
    }

    /// Merely inflates that many bytes, with the inflater that the reader has.
    pub fn inflate(&self, bytes: u64) -> u64 {
        let mut stored = BufReader::with_capacity(64 * 1024, File::open(&self.path).unwrap());
        let mut member = [0; 10];
        stored.read_exact(&mut member).unwrap();
        assert_eq!(member[..4], [0x1f, 0x8b, 8, 0], "a gzip member without a name");
        let (mut inflater, mut out) = (Decompress::new(false), vec![0; 256 * 1024]);
        while inflater.total_out() < bytes {
            let input = stored.fill_buf().unwrap();
            let before = inflater.total_in();
            let wanted = out.len().min((bytes - inflater.total_out()) as usize);
            inflater.decompress(input, &mut out[..wanted], FlushDecompress::None).unwrap();
            stored.consume((inflater.total_in() - before) as usize);
        }
        inflater.total_out()
    }
}

/// Many small scans, each with one nodule in its middle.
pub struct Cohort {
    _folder: TempDir,
    paths: Vec<PathBuf>,
}

impl Cohort {
    /// 200 scans of 160 × 160 × 60 voxels, 20 different ones.
    pub fn synthetic() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> =
            (0..20).map(|index| folder.path().join(format!("{index}.nii.gz"))).collect();
        for (index, path) in paths.iter().enumerate() {
            write_scan(path, [160, 160, 60], [1.2, 1.2, 2.5], index as u32);
        }
        Self { _folder: folder, paths: paths.iter().cycle().take(200).cloned().collect() }
    }

    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Crops every scan's nodule, on as many threads as the pool has.
    pub fn crop(&self, pool: &rayon::ThreadPool) -> usize {
        let nodule = LpsPoint { x: 3.0, y: 4.0, z: 5.0 };
        let parameters = CropParameters::default();
        let voxels = |path: &PathBuf| crop(path, &[nodule], &parameters).unwrap()[0].as_ref().unwrap().len();
        pool.install(|| self.paths.par_iter().map(voxels).sum())
    }
}

pub fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// A cube with structure everywhere, HU.
pub fn cube(edge: usize) -> Vec<f32> {
    (0..edge * edge * edge).map(|index| ((index * 7919) % 1600) as f32 - 1100.0).collect()
}

/// A body of tissue with two lungs, and noise that compresses as CT does (to about a half).
fn write_scan(path: &Path, shape: [usize; 3], spacing: [f64; 3], seed: u32) {
    let mut state = 0x9e37_79b9 ^ seed;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state & 31) as i16 + (state >> 8 & 31) as i16 - 31
    };
    let [width, height, depth] = shape;
    let mut voxels = Vec::with_capacity(width * height * depth);
    for _ in 0..depth {
        for row in 0..height {
            for column in 0..width {
                let [x, y] =
                    [(column, width), (row, height)].map(|(at, of)| 2.0 * at as f32 / of as f32 - 1.0);
                let body = x * x + 2.0 * y * y < 0.8;
                let lung = (x.abs() - 0.42) * (x.abs() - 0.42) * 4.0 + y * y * 3.0 < 0.35;
                let tissue = if !body {
                    -1000
                } else if lung {
                    -850
                } else {
                    40
                };
                voxels.push(tissue + noise());
            }
        }
    }
    let [x, y, z] = spacing;
    let middle = |extent: usize, step: f64| step * (extent as f64 - 1.0) / 2.0;
    let affine = Affine {
        linear: [[-x, 0.0, 0.0], [0.0, -y, 0.0], [0.0, 0.0, z]],
        translation: [middle(width, x), middle(height, y), -middle(depth, z)],
    };
    write(path, &Volume { shape, affine, voxels: &voxels }).unwrap();
}
