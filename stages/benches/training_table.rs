//! The cost of training of ViT-B/32 as a table of ratios: `cargo bench -p pipe-stages --bench training_table`.
//!
//! A batch is four nodules of nine slices and four texts, f32. What is compared is measured in turn, a step of one
//! and a step of the other; a ratio is the median over all turns. Where `python3`, or what `PYTHON` names, has torch,
//! `training_torch.py` is the partner, with as many threads; otherwise candle's own operations are.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures and prints")]

use std::borrow::Cow;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use pipe_learning::clip::architecture::Architecture;
use pipe_learning::clip::dropout::Dropout;
use pipe_learning::clip::initialise;
use pipe_learning::clip::inputs::{Images, Texts};
use pipe_learning::clip::losses::{classification, contrastive};
use pipe_learning::clip::model::{Model, Tuning};
use pipe_learning::clip::optimiser::AdamW;
use pipe_learning::clip::text::Tokens;
use pipe_learning::clip::{Operations, Tensors};
use pipe_learning::training::batches::{Examples, MakePixels, SourceError};
use pipe_learning::training::parameters::TrainParameters;
use pipe_learning::training::run::{FoldData, Trainer, fold_key};
use pipe_numerics::random::{Generator, RandomKey};

/// The program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As the program sets it: freed pages are kept.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

const NODULES: usize = 4;
const TURNS: usize = 7;

#[allow(unsafe_code, reason = "options of the allocator are set by a C function")]
fn main() {
    // SAFETY: it takes two numbers, checks the first and stores the second.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
    if std::env::args().any(|argument| argument == "alone") {
        return alone();
    }
    let mut torch = Torch::start();
    let partner = if torch.is_some() { "PyTorch" } else { "candle's operations" };
    println!("{:<34}{:>10}{:>22}{:>8}{:>12}", "", "time", partner, "ratio", "to reach");
    for (name, tuning, to_reach) in [("ft", Tuning::Ft, "≤ 0.55"), ("lora", Tuning::Lora, "≤ 0.45")] {
        let mut ours = Step::new(tuning, Operations::Fused);
        let ratios = match &mut torch {
            Some(torch) => {
                torch.ask(&format!("load {name}"));
                in_turn(|| ours.run(), || torch.ask("step"))
            }
            None => {
                let mut plain = Step::new(tuning, Operations::Plain);
                in_turn(|| ours.run(), || plain.run())
            }
        };
        let [first, second, ratio] = ratios;
        println!("{:<34}{first:>8.2} s{second:>20.2} s{ratio:>8.3}{to_reach:>12}", format!("{name} step"));
        if tuning == Tuning::Ft {
            memory(torch.as_mut());
        }
    }
    drop(torch);
    epochs();
}

/// The largest memory so far, which that of `ft` is, beside PyTorch's.
fn memory(torch: Option<&mut Torch>) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse().unwrap_or(f64::NAN);
    let ours = kilobytes * 1024.0 / 1e9;
    let Some(torch) = torch else {
        return println!("{:<34}{ours:>7.2} GB", "memory of ft");
    };
    let theirs = torch.ask("memory") / 1e9;
    println!("{:<34}{ours:>7.2} GB{theirs:>19.2} GB{:>8.3}{:>12}", "memory of ft", ours / theirs, "≤ 1");
}

/// An epoch of the heads alone, with known embeddings, beside one of everything: both as training runs them.
fn epochs() {
    let (training, validation) = (Nodules(2 * NODULES), Nodules(NODULES));
    let epoch = |trainer: &mut Trainer<'_>| {
        let start = Instant::now();
        trainer.epoch(&mut |_| ControlFlow::Continue(())).unwrap();
        start.elapsed().as_secs_f64()
    };
    let weights = [1.0; 2 * NODULES];
    let data = FoldData {
        train: &training,
        sample_weights: &weights,
        class_weights: [0.5, 0.5],
        validation: &validation,
        pixels: &training,
    };
    let parameters = |tuning| TrainParameters {
        tuning,
        jitter: 0,
        text_augmentation: Some(false),
        ..TrainParameters::default()
    };
    let [heads, everything] = [Tuning::Pt, Tuning::Ft].map(parameters);
    let mut pt = Trainer::new(&heads, data, Step::new(Tuning::Pt, Operations::Fused).model, 1).unwrap();
    let first = epoch(&mut pt);
    let mut ft = Trainer::new(&everything, data, Step::new(Tuning::Ft, Operations::Fused).model, 1).unwrap();
    let [ft, pt, ratio] = in_turns(3, || epoch(&mut ft), || epoch(&mut pt));
    println!(
        "{:<34}{pt:>8.4} s{:>17} {ft:>5.2} s{ratio:>8.0}{:>12}",
        "pt epoch, embeddings known", "ft", "≥ 20"
    );
    println!("{:<34}{first:>8.2} s", "its first epoch, with embedding");
}

/// Nodules that all look the same.
struct Nodules(usize);

impl Examples for Nodules {
    fn count(&self) -> usize {
        self.0
    }

    fn malignant(&self, row: usize) -> bool {
        row % 2 == 1
    }

    fn planes(&self, _row: usize, _: Option<&mut Generator>) -> Result<Cow<'_, [f32]>, SourceError> {
        Ok(Cow::Borrowed(&[]))
    }

    fn tokens(&self, _row: usize, _: Option<&mut Generator>) -> Result<Vec<u32>, SourceError> {
        Ok(text())
    }
}

impl MakePixels for Nodules {
    fn write(&self, _: &[f32], _: Option<&mut Generator>, pixels: &mut [f32]) -> Result<(), SourceError> {
        pixels.fill(1.0);
        Ok(())
    }
}

/// Forty words between the marks of beginning and end.
fn text() -> Vec<u32> {
    let id = |at: u32| match at {
        0..40 => 1000 + at,
        40 => 49407,
        _ => 0,
    };
    (0..77).map(id).collect()
}

/// Steps without a partner: `-- alone`, for a profiler.
fn alone() {
    for (name, tuning) in [("ft", Tuning::Ft), ("lora", Tuning::Lora)] {
        let mut step = Step::new(tuning, Operations::Fused);
        let mut times: Vec<f64> = (0..4).map(|_| step.run()).collect();
        println!("{name} step {:>8.2} s", median(&mut times));
        if tuning == Tuning::Ft {
            memory(None);
        }
    }
}

/// A model with a batch.
struct Step {
    model: Model,
    optimiser: AdamW,
    images: Images,
    texts: Texts,
}

impl Step {
    fn new(tuning: Tuning, operations: Operations) -> Self {
        let architecture = Architecture::default();
        let parameters = TrainParameters { tuning, ..TrainParameters::default() };
        let settings = parameters.model_settings();
        let towers = initialise::towers(&architecture, &RandomKey::new(7, "train")).unwrap();
        let added = settings.initial(&architecture, parameters.tau, &fold_key(1, 0)).unwrap();
        let device = Device::Cpu;
        let model =
            Model::trainable_with(operations, &architecture, &settings, &towers, &added, &device).unwrap();
        let texts = vec![text(); NODULES];
        Self {
            model,
            optimiser: AdamW::new(1e-5, 0.1),
            images: Images::Pixels(Tensor::ones((NODULES, 9, 3, 224, 224), DType::F32, &device).unwrap()),
            texts: Texts::Tokens(Tokens::new(&texts, &architecture.text, &device).unwrap()),
        }
    }

    /// Seconds of forward, backward and optimiser.
    fn run(&mut self) -> f64 {
        let start = Instant::now();
        let key = RandomKey::new(3, "train");
        let output = self.model.forward(&self.images, &self.texts, Dropout::on(&key)).unwrap();
        let malignant = [true, false, true, false];
        let loss = (contrastive(&output.pair_logits).unwrap()
            + classification(&output.image_logits, &malignant, None).unwrap())
        .unwrap();
        let loss = (loss + classification(&output.text_logits, &malignant, None).unwrap()).unwrap();
        let found = loss.backward().unwrap();
        let gradients: Tensors = self
            .model
            .variables()
            .iter()
            .filter_map(|(name, variable)| Some((name.clone(), found.get(variable.as_tensor())?.detach())))
            .collect();
        drop(found);
        self.optimiser.step(self.model.variables(), &gradients).unwrap();
        black_box(&self.model);
        start.elapsed().as_secs_f64()
    }
}

/// As [`in_turns`], as often as it takes.
fn in_turn(first: impl FnMut() -> f64, second: impl FnMut() -> f64) -> [f64; 3] {
    in_turns(TURNS, first, second)
}

/// Median times of both, and the median of their ratios; the first turn warms up.
fn in_turns(turns: usize, mut first: impl FnMut() -> f64, mut second: impl FnMut() -> f64) -> [f64; 3] {
    let pairs: Vec<(f64, f64)> = (0..=turns).map(|_| (first(), second())).skip(1).collect();
    let mut ratios: Vec<f64> = pairs.iter().map(|(a, b)| a / b).collect();
    let (mut firsts, mut seconds): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    [median(&mut firsts), median(&mut seconds), median(&mut ratios)]
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A Python process that trains the same model with PyTorch, a step at a time.
struct Torch {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Torch {
    /// `None` where Python has no torch.
    fn start() -> Option<Self> {
        let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        let found = Command::new(&python).args(["-c", "import torch"]).output().ok()?;
        if !found.status.success() {
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/training_torch.py");
        let threads = rayon::current_num_threads().to_string();
        let mut process = Command::new(&python)
            .arg(script)
            .arg(threads)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (questions, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Some(Self { process, questions, answers: BufReader::new(answers) })
    }

    /// Asks and waits for the answer, a number of seconds.
    fn ask(&mut self, question: &str) -> f64 {
        writeln!(self.questions, "{question}").unwrap();
        self.questions.flush().unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim().parse().unwrap()
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
