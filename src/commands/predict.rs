//! `pipe predict`: one nodule of one scan, by the models of an experiment.
//!
//! It is `infer.toml` with a table of one row, in a temporary folder, so that its numbers are those of a pipeline.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use pipe_engine::context::Cancel;
use pipe_engine::event::{Event, Observer, Status};
use pipe_engine::manifest::Overrides;
use pipe_engine::record::Surroundings;
use pipe_engine::registry::Registry;
use pipe_engine::run::{ExecutorChoice, RunOptions, run as run_pipeline};
use pipe_engine::session::Session;
use serde_json::{Value, json};

use super::run::{memory_bytes, processors};
use crate::cli::PredictArguments;
use crate::error::{CliError, exit};
use crate::{render, session};

/// A folder with this file is one of the published training's.
const ARGUMENTS: &str = "args.txt";
const RESULTS: &str = "results";

pub(crate) fn predict(arguments: &PredictArguments, registry: &Registry) -> Result<ExitCode, CliError> {
    let devices = session::devices(arguments.device)?;
    let image = absolute(&arguments.image, "the scan")?;
    let model = absolute(&arguments.model, "the models' folder")?;
    let folder =
        tempfile::tempdir().map_err(|error| failed(&format!("cannot make a temporary folder: {error}")))?;
    write(folder.path(), "dataset.csv", &table(&image, arguments.at)?)?;
    write(folder.path(), "predict.toml", &manifest(arguments, &image, &model)?)?;
    let pipeline =
        session::pipeline_at(&folder.path().join("predict.toml"), &Overrides::default(), registry)?;
    let store = session::store(&pipeline, &arguments.cache)?;
    let session = Session::new(registry, &store, devices, true);
    let options = RunOptions {
        jobs: processors(),
        force: Vec::new(),
        only: Vec::new(),
        keep_going: false,
        memory_bytes: memory_bytes(),
        executor: ExecutorChoice::Local,
        secrets: session::secrets(),
        surroundings: Surroundings {
            program: format!("pipe {}", env!("CARGO_PKG_VERSION")),
            host: String::new(),
            git: None,
            command: std::env::args().collect(),
        },
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
    render::out(&match arguments.json {
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
            render::line(&format!("warning: {text}"));
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
