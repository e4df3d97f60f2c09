//! The command line's words.

mod device;
mod provenance;
mod sweep;

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueEnum};
use pipe_engine::manifest::Overrides;

pub use self::device::{DeviceArgument, parse_device};
pub(crate) use self::provenance::{
    AuditArguments, DiffArguments, ExportArguments, LeavingRun, PackArguments, PackedOutputs, ProvenanceForm,
    WhyArguments,
};
pub(crate) use self::sweep::{SweepArguments, SweepShowArguments};
use crate::progress::Verbosity;

/// Runs experiments that a TOML manifest describes, and computes only what has no result yet.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline; stages with a known result are not run again
    Run(RunArguments),
    /// Run all points of a manifest's [sweep], or tell what they came to
    Sweep(SweepArguments),
    /// Look for everything that is wrong with a manifest and its tables, without running it
    Check(CheckArguments),
    /// Tell what a run would do, and why
    Plan(PlanArguments),
    /// Draw a pipeline's stages as text for Mermaid or Graphviz
    Graph(GraphArguments),
    /// Copy a stage's outputs to a folder
    Get(GetArguments),
    /// List the runs
    Runs(RunsArguments),
    /// Tell what a run did
    Show(ShowArguments),
    /// Print what stages wrote while they ran
    Logs(LogsArguments),
    /// Tell why a stage ran or did not, or what the bytes of a file follow from
    Why(WhyArguments),
    /// Tell what differs between two runs: what was asked for, code, inputs, results
    Diff(DiffArguments),
    /// Find out whether a run's results are what its inputs give, and are as they were
    Audit(AuditArguments),
    /// Put a run into one file, which `pipe audit FILE` looks at anywhere
    Pack(PackArguments),
    /// Write a run's provenance in a form that other programs read
    Export(ExportArguments),
    /// Remove from the cache what no recent run and no pin reaches
    Gc(GcArguments),
    /// Count, verify, pin or share what is in the cache
    Cache(CacheCommandArguments),
    /// List the stage kinds, or explain one
    Stages(StagesArguments),
    /// Print the JSON schema of manifests, for editors
    Schema,
    /// Write the shipped pipelines into a folder, to start from
    Init(InitArguments),
    /// Print a completion script for a shell
    Completions(CompletionsArguments),
    /// Do one job of a run; started by executors, not by people
    #[command(hide = true)]
    Worker(WorkerArguments),
}

#[derive(Args, Debug)]
pub(crate) struct WorkerArguments {
    /// The job's file
    pub(crate) job: PathBuf,
    /// Stop when standard input ends
    #[arg(long)]
    pub(crate) attached: bool,
}

/// A manifest and what changes it.
#[derive(Args, Debug)]
pub(crate) struct ManifestArguments {
    /// The pipeline's TOML file
    pub(crate) manifest: PathBuf,
    #[command(flatten)]
    pub(crate) changes: ChangeArguments,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
}

/// What changes a manifest.
#[derive(Args, Debug)]
pub(crate) struct ChangeArguments {
    /// Override a value of the manifest: VAR=…, STAGE.PARAM=…, STAGE.inputs.NAME=…, STAGE.foreach.KEY=…, pipeline.seed=…
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Apply a named set of overrides of the manifest
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Vec<String>,
}

impl ChangeArguments {
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides { set: self.set.clone(), profiles: self.profile.clone() }
    }
}

/// How a manifest is read that is named in place of a run; of a run all of it is known.
#[derive(Args, Debug)]
pub(crate) struct InPlaceOfRun {
    #[command(flatten)]
    pub(crate) changes: ChangeArguments,
    /// The device of a run of the manifest: cpu, cuda or cuda:N (default: cpu)
    #[arg(long, value_name = "DEVICE", value_parser = parse_device)]
    pub(crate) device: Option<DeviceArgument>,
}

/// How a command answers.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct OutputArguments {
    /// Print one JSON object instead of text; an error is one, too
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    pub(crate) manifest: ManifestArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Args, Debug)]
pub(crate) struct RunsArguments {
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// Where results are kept.
#[derive(Args, Debug)]
pub struct CacheArguments {
    /// The cache folder (default: .pipe in the manifest's root; for commands without a manifest, in this
    /// folder or one above it)
    #[arg(long, value_name = "DIR", env = "PIPE_CACHE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    cache: Option<PathBuf>,
}

impl CacheArguments {
    /// The folder that was named; an empty name, as of an empty variable, is none.
    pub(crate) fn folder(&self) -> Option<&PathBuf> {
        self.cache.as_ref().filter(|folder| !folder.as_os_str().is_empty())
    }
}

#[derive(Args, Debug)]
pub(crate) struct GcArguments {
    /// Keep what so many of the last runs used; runs that go on and pinned ones are kept besides
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) keep_runs: usize,
    /// Keep fewer runs, the least recent ones first to go, until results take no more than this, such as 200GB; the
    /// last run stays
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) max_size: Option<u64>,
    /// Leave alone what is younger than so many minutes, which a running pipeline may be about to use
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    pub(crate) grace: u64,
    /// Only tell what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
}

/// Bytes as people write them.
fn parse_size(text: &str) -> Result<u64, String> {
    let refuse = || format!("{text:?} is no size: write such as 500MB or 200GB");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1.0,
        "KB" | "K" => 1e3,
        "MB" | "M" => 1e6,
        "GB" | "G" => 1e9,
        "TB" | "T" => 1e12,
        _ => return Err(refuse()),
    };
    let bytes = number.parse::<f64>().map_err(|_| refuse())? * unit;
    if bytes.is_finite() { Ok(bytes as u64) } else { Err(refuse()) }
}

#[derive(Args, Debug)]
pub(crate) struct CacheCommandArguments {
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Count what there is
    Stats,
    /// Compare every stored byte with its digest; damaged blobs are set aside, and computed again when needed
    Verify,
    /// Keep a run's results, or an artifact by its digest, from being removed by `pipe gc`
    Pin {
        /// A run's id, the beginning of one, `latest`, or a digest
        name: String,
    },
    /// Take a pin away
    Unpin {
        /// What was pinned
        name: String,
    },
    /// Let the group of the cache's folder read and write it
    Share,
}

#[derive(Args, Debug)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) manifest: ManifestArguments,
    /// Run only this stage, or this instance such as train[fold=0], and what it needs
    #[arg(long, value_name = "STAGE")]
    pub(crate) only: Vec<String>,
    /// Compute this stage or instance anew although its result is known
    #[arg(long, value_name = "STAGE")]
    pub(crate) force: Vec<String>,
    /// After a failure, finish what does not depend on it
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Rows and stages computed side by side (default: the number of processors)
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
    /// The device to train on: cpu, cuda (every one there is, an instance on each) or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = parse_device)]
    pub(crate) device: DeviceArgument,
    /// Where stages run
    #[arg(long, value_enum, default_value_t = ExecutorName::Local)]
    pub(crate) executor: ExecutorName,
    /// Hash every input file anew instead of trusting its size and times
    #[arg(long)]
    pub(crate) verify: bool,
    /// Sign the run's record with this Ed25519 key of ssh-keygen; PIPE_SIGN_PASSPHRASE has the passphrase, if it has one
    #[arg(long, value_name = "KEY")]
    pub(crate) sign: Option<PathBuf>,
    /// Print one JSON object for each event on stdout
    #[arg(long)]
    pub(crate) json: bool,
    /// Show stages with known results and lines of stages' logs, too
    #[arg(long, short, conflicts_with = "quiet")]
    verbose: bool,
    /// Show errors, warnings and results only
    #[arg(long, short)]
    quiet: bool,
}

impl Command {
    /// Whether the answer is to be a JSON object. `run` tells events instead.
    pub(crate) fn answers_in_json(&self) -> bool {
        match self {
            Self::Check(options) => options.output.json,
            Self::Plan(options) => options.output.json,
            Self::Get(options) => options.output.json,
            Self::Runs(options) => options.output.json,
            Self::Show(options) => options.output.json,
            Self::Logs(options) => options.output.json,
            Self::Why(options) => options.output.json,
            Self::Diff(options) => options.output.json,
            Self::Audit(options) => options.output.json,
            Self::Pack(options) => options.leaving.output.json,
            Self::Export(options) => options.leaving.output.json,
            Self::Gc(options) => options.output.json,
            Self::Cache(options) => options.output.json,
            Self::Stages(options) => options.output.json,
            Self::Sweep(options) => options.shows_in_json(),
            Self::Run(_)
            | Self::Graph(_)
            | Self::Schema
            | Self::Init(_)
            | Self::Completions(_)
            | Self::Worker(_) => false,
        }
    }
}

impl RunArguments {
    /// How much is shown.
    pub(crate) fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExecutorName {
    /// In this process
    Local,
    /// Each stage instance in a process of its own on this machine, with as many threads as its `cpus` in `resources`, 1 if
    /// not given
    Process,
    /// On a Slurm cluster
    Slurm,
}

#[derive(Args, Debug)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    pub(crate) manifest: ManifestArguments,
    /// Plan as if this stage's result were not known
    #[arg(long, value_name = "STAGE")]
    pub(crate) force: Vec<String>,
    /// The device of the run: cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = parse_device)]
    pub(crate) device: DeviceArgument,
    /// List the stages with known results too
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Args, Debug)]
pub(crate) struct GraphArguments {
    #[command(flatten)]
    pub(crate) manifest: ManifestArguments,
    /// The language of the drawing
    #[arg(long, value_enum, default_value_t = GraphFormat::Mermaid)]
    pub(crate) format: GraphFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// For Markdown pages
    Mermaid,
    /// For Graphviz
    Dot,
}

#[derive(Args, Debug)]
pub(crate) struct GetArguments {
    /// A run's id, the beginning of one, `latest`, or a manifest
    pub(crate) source: String,
    /// A stage or one instance of it, such as train[fold=0]; one output of it as STAGE.OUTPUT
    pub(crate) stage: String,
    /// The folder to copy to; files that are there already are never replaced by others
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Write the results in a form for other programs; an unknown one lists those there are
    #[arg(long, value_name = "FORM")]
    pub(crate) format: Option<String>,
    /// A file that a form needs, as it was given to the stage's input of that name
    #[arg(long, value_name = "NAME=FILE", requires = "format", value_parser = parse_input)]
    pub(crate) input: Vec<(String, PathBuf)>,
    #[command(flatten)]
    pub(crate) in_place: InPlaceOfRun,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
}

#[derive(Args, Debug)]
pub(crate) struct ShowArguments {
    /// A run's id, the beginning of one, or `latest`
    #[arg(default_value = "latest")]
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Args, Debug)]
pub(crate) struct LogsArguments {
    /// A run's id, the beginning of one, or `latest`
    #[arg(default_value = "latest")]
    pub(crate) run: String,
    /// A stage, or one of its instances such as `train[fold=0]`; all if none is named
    pub(crate) stage: Option<String>,
    /// Go on until the run is over
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Args, Debug)]
pub(crate) struct StagesArguments {
    /// The kind to explain
    pub(crate) kind: Option<String>,
    /// Write a page on manifests and one for each kind, in Markdown, into a folder
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["kind", "json"])]
    pub(crate) markdown: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Args, Debug)]
pub(crate) struct InitArguments {
    /// The folder to write to
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

fn parse_input(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.into())),
        _ => Err("expected NAME=FILE, such as weights=ViT-B-32.pt".to_owned()),
    }
}
