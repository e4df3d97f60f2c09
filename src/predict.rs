//! `pipe predict`: one nodule of one scan, by the models of an experiment.
//!
//! It is `infer.toml` with a table of one row, in a temporary folder, so that its numbers are those of a pipeline.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::{ArgMatches, Args, FromArgMatches as _};
use pipe_cli::verb::{
    CacheArguments, DeviceArgument, devices, exit, line, memory_bytes, out, parse_device, pipeline_at,
    processors, secrets, store, surroundings,
};
use pipe_cli::{CliError, Running};
use pipe_engine::context::Cancel;
use pipe_engine::event::{Event, Observer, Status};
use pipe_engine::manifest::Overrides;
use pipe_engine::record::RecordEnder;
use pipe_engine::run::{ExecutorChoice, RunOptions, run as run_pipeline};
use pipe_engine::session::Session;
use serde_json::{Value, json};

/// A folder with this file is one of the published training's.
const ARGUMENTS: &str = "args.txt";
const RESULTS: &str = "results";

#[derive(Args, Debug)]
struct PredictArguments {
    /// The scan: a NIfTI file, or the folder of a DICOM series
    image: PathBuf,
    /// The nodule's centre in LPS millimetres
    #[arg(long, value_name = "X,Y,Z", allow_hyphen_values = true, value_parser = parse_point)]
    at: [f64; 3],
    /// The models: an experiment folder of the published training, or what `pipe get … train` (and calibrate) gave
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The weights that the models were trained on, where they do not hold them themselves
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Edge of the cube that the models were trained on, in millimetres, for models that do not say; with one that
    /// does it must agree
    #[arg(long, value_name = "MM", value_parser = clap::value_parser!(u16).range(2..=512))]
    size_mm: Option<u16>,
    /// The device to predict on: cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = parse_device)]
    device: DeviceArgument,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArguments,
}

/// The command's words.
pub(crate) fn command() -> clap::Command {
    let about = "Predict one nodule of a scan with the models of an experiment";
    PredictArguments::augment_args(clap::Command::new("predict")).about(about)
}

fn parse_point(text: &str) -> Result<[f64; 3], String> {
    let numbers = text.split(',').map(|number| number.trim().parse::<f64>().ok().filter(|x| x.is_finite()));
    let numbers: Option<Vec<f64>> = numbers.collect();
    numbers
        .and_then(|numbers| <[f64; 3]>::try_from(numbers).ok())
        .ok_or_else(|| "expected three numbers, such as -41.5,88,-120.25".to_string())
}

/// Predicts.
pub(crate) fn run(matches: &ArgMatches, running: &Running) -> Result<ExitCode, CliError> {
    let arguments = &PredictArguments::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
    let devices = devices(arguments.device, running)?;
    let image = absolute(&arguments.image, "the scan")?;
    let model = absolute(&arguments.model, "the models' folder")?;
    let folder =
        tempfile::tempdir().map_err(|error| failed(&format!("cannot make a temporary folder: {error}")))?;
    write(folder.path(), "dataset.csv", &table(&image, arguments.at)?)?;
    write(folder.path(), "predict.toml", &manifest(arguments, &image, &model)?)?;
    let pipeline =
        pipeline_at(&folder.path().join("predict.toml"), &Overrides::default(), running.registry())?;
    let store = store(&pipeline, &arguments.cache)?;
    let session = Session::new(running.registry(), &store, devices, true);
    let options = RunOptions {
        jobs: processors(),
        force: Vec::new(),
        only: Vec::new(),
        keep_going: false,
        memory_bytes: memory_bytes(),
        executor: ExecutorChoice::Local,
        secrets: secrets(),
        surroundings: surroundings(folder.path(), running),
        ender: RecordEnder::default(),
    };
    let cancel = Arc::new(Cancel::default());
    let signalled = Arc::clone(&cancel);
    let _ = ctrlc::set_handler(move || signalled.cancel());
    let failures = Failures::default();
    let summary = run_pipeline(&session, &pipeline, &options, &failures, &cancel)?;
    match summary.status {
        Status::Ok => {}
        Status::Interrupted => return Ok(ExitCode::from(exit::INTERRUPTED)),
        Status::Failed => return Err(failures.error()),
    }
    let read = |name: &str| {
        let path = folder.path().join(RESULTS).join(name);
        std::fs::read_to_string(&path).map_err(|error| failed(&format!("{}: {error}", path.display())))
    };
    let prediction = Prediction::parse(&read("predictions.csv")?)?;
    let remarks = read("summary.txt")?;
    let remarks: Vec<&str> = remarks.lines().skip(1).filter(|line| !line.is_empty()).collect();
    out(&match arguments.json {
        true => prediction.json(arguments, &remarks).to_string(),
        false => prediction.text(arguments, &remarks),
    });
    Ok(ExitCode::SUCCESS)
}

fn failed(message: &str) -> CliError {
    let help = "see that TMPDIR is a folder with room that can be written to";
    CliError::Other { message: message.to_string(), help: help.to_string(), code: exit::FAILED }
}

fn absolute(path: &Path, what: &str) -> Result<PathBuf, CliError> {
    std::fs::canonicalize(path).map_err(|error| {
        CliError::refused(format!("{what} {} cannot be read: {error}", path.display()), "correct the path")
    })
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), CliError> {
    std::fs::write(folder.join(name), text).map_err(|error| failed(&format!("{name}: {error}")))
}

/// A path as text, which tables and manifests are made of.
fn text(path: &Path) -> Result<&str, CliError> {
    path.to_str().ok_or_else(|| {
        CliError::refused(format!("{} is not UTF-8", path.display()), "rename the file or its folder")
    })
}

/// The one row.
fn table(image: &Path, [x, y, z]: [f64; 3]) -> Result<String, CliError> {
    let image = text(image)?.replace('"', "\"\"");
    Ok(format!("pid,nodule_id,image_path,coordX,coordY,coordZ\nnodule,1,\"{image}\",{x:?},{y:?},{z:?}\n"))
}

/// The stages from the scan to probabilities. Texts of JSON are texts of TOML.
fn manifest(arguments: &PredictArguments, image: &Path, model: &Path) -> Result<String, CliError> {
    let quoted = |path: &Path| text(path).map(|path| Value::from(path).to_string());
    let (scans, series) = match image.is_dir() {
        true => ("@dicom", "[stage.dicom]\ninputs = { dataset = \"dataset.csv\" }\n"),
        false => ("dataset.csv", ""),
    };
    let weights = match &arguments.weights {
        Some(weights) => format!(", weights = {}", quoted(&absolute(weights, "the weights")?)?),
        None => String::new(),
    };
    // What a model says of its input is taken from it, and a size that is given is compared with that.
    let size = arguments.size_mm.map_or(String::new(), |size| format!("params = {{ size_mm = {size} }}\n"));
    let (models, import, crop_size) = match model.join(ARGUMENTS).is_file() {
        true => (
            "\"@import-experiment\"".to_string(),
            format!("[stage.import-experiment]\ninputs = {{ experiment = {} }}\n{size}", quoted(model)?),
            String::new(),
        ),
        false => (quoted(model)?, String::new(), size),
    };
    Ok(format!(
        "[pipeline]\nname = \"predict\"\n{series}{import}[stage.crop]\n\
         inputs = {{ dataset = \"{scans}\", models = {models} }}\n{crop_size}[stage.slice]\n\
         inputs = {{ volumes = \"@crop\", models = {models} }}\n[stage.evaluate]\n\
         inputs = {{ dataset = \"{scans}\", slices = \"@slice\", models = {models}{weights} }}\n\
         publish = \"{RESULTS}\"\n"
    ))
}

/// Keeps what went wrong, for the end, and shows what there is to warn of.
#[derive(Default)]
struct Failures(Mutex<Option<(String, Option<String>)>>);

impl Observer for Failures {
    fn event(&self, event: &Event) {
        if let Event::Warning { text, .. } = event {
            line(&format!("warning: {text}"));
        }
        if let Event::StageFailed { error, advice, .. } = event
            && let Ok(mut first) = self.0.lock()
        {
            first.get_or_insert((error.clone(), advice.clone()));
        }
    }
}

impl Failures {
    fn error(self) -> CliError {
        let known = self.0.into_inner().ok().flatten();
        let (message, advice) = known.unwrap_or_else(|| ("the prediction failed".to_string(), None));
        // The row is not the user's.
        let message = message.strip_prefix("dataset.csv:2: ").unwrap_or(&message).to_string();
        let help = advice.unwrap_or_else(|| "look at the scan and the models".to_string());
        CliError::Other { message, help, code: exit::FAILED }
    }
}

/// The columns of a table of predictions with their values, of its one row.
struct Prediction(Vec<(String, f64)>);

impl Prediction {
    fn parse(table: &str) -> Result<Self, CliError> {
        let mut lines = table.lines();
        let (header, row) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let cells = header.split(',').zip(row.split(',')).skip(2);
        let value = |(name, cell): (&str, &str)| {
            let number =
                cell.parse().map_err(|_| failed(&format!("`{name}` is {cell}, not a probability")))?;
            Ok((name.to_string(), number))
        };
        cells.map(value).collect::<Result<_, _>>().map(Self)
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// Keys of the folds, in order.
    fn folds(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|(name, _)| name.strip_prefix("raw_"))
    }

    /// What a row of the text says: a name, the probability and, if there is one, the calibrated one.
    fn rows(&self) -> Vec<(String, Option<f64>, Option<f64>)> {
        let fold = |key: &str| {
            (format!("fold {key}"), self.get(&format!("raw_{key}")), self.get(&format!("calibrated_{key}")))
        };
        let ensemble = ("ensemble".to_string(), self.get("ensemble"), self.get("calibrated_ensemble"));
        self.folds().map(fold).chain([ensemble]).collect()
    }

    fn text(&self, arguments: &PredictArguments, remarks: &[&str]) -> String {
        let [x, y, z] = arguments.at;
        let mut text = format!("{} at ({x}, {y}, {z}) LPS\n", arguments.image.display());
        let rows = self.rows();
        let calibrated = rows.iter().any(|(_, _, calibrated)| calibrated.is_some());
        let width = rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
        // Writing to a string cannot fail.
        let _ = write!(text, "{:width$}  malignant", "");
        text.push_str(if calibrated { "  calibrated\n" } else { "\n" });
        for (name, raw, calibrated) in rows {
            let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.4}"));
            let line = format!("{name:width$}  {:>9}  {:>10}", number(raw), number(calibrated));
            let _ = writeln!(text, "{}", line.trim_end());
        }
        for remark in remarks {
            let _ = writeln!(text, "{remark}");
        }
        text
    }

    fn json(&self, arguments: &PredictArguments, remarks: &[&str]) -> Value {
        let fold = |key: &str| {
            let values = json!({
                "raw": self.get(&format!("raw_{key}")), "calibrated": self.get(&format!("calibrated_{key}")),
            });
            (key.to_string(), values)
        };
        json!({
            "image": arguments.image.display().to_string(),
            "at": arguments.at,
            "folds": self.folds().map(fold).collect::<serde_json::Map<_, _>>(),
            "ensemble": self.get("ensemble"),
            "calibrated_ensemble": self.get("calibrated_ensemble"),
            "remarks": remarks,
        })
    }
}
