//! The words of commands about runs that were made: why, what differs, whether it holds, and what others read of it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pipe_cache::Digest;
use pipe_engine::audit::Sample;

use super::{CacheArguments, DeviceArgument, InPlaceOfRun, OutputArguments, parse_device};

#[derive(Args, Debug)]
pub(crate) struct WhyArguments {
    /// A stage or an instance such as train[fold=0]; or a file, published or copied anywhere, or the BLAKE3 digest of one
    pub(crate) target: String,
    /// The run, by id, a unique beginning of it, or `latest`; or a manifest, of which nothing is run
    pub(crate) run: Option<String>,
    #[command(flatten)]
    pub(crate) in_place: InPlaceOfRun,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Args, Debug)]
pub(crate) struct DiffArguments {
    /// The run to compare with, by id, a unique beginning of it, or `latest`
    pub(crate) first: String,
    /// The other run
    pub(crate) second: String,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Args, Debug)]
pub(crate) struct AuditArguments {
    /// A run, by id, a unique beginning of it, or `latest`, which is the default; or a published folder, a file that a run gave, or a
    /// pack
    pub(crate) target: Option<String>,
    /// The head that an earlier audit told: the cache must still have it
    #[arg(long, value_name = "DIGEST")]
    pub(crate) head: Option<Digest>,
    /// People whose signatures count, as ssh-keygen's allowed signers: one of them has to have signed the record
    #[arg(long, value_name = "FILE")]
    pub(crate) trusted: Option<PathBuf>,
    /// Sign the record with this Ed25519 key of ssh-keygen, if nothing is found
    #[arg(long, value_name = "KEY")]
    pub(crate) sign: Option<PathBuf>,
    /// The secret key of a de-identified pack: it must be what this key gives of that run in the cache
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The folder that the manifest's paths are read against now, if the project was moved
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Compute results again from their recorded inputs, past all that is known, and compare: of these stages or instances, or
    /// of all
    #[arg(long, value_name = "STAGE", num_args = 0..)]
    pub(crate) replay: Option<Vec<String>>,
    /// Of stages that work item by item, compute no more items than N again, chosen by SEED, which is random if not given
    #[arg(long, value_name = "N[:SEED]", requires = "replay", value_parser = parse_sample)]
    pub(crate) sample: Option<Sample>,
    /// Rows computed side by side (default: the number of processors)
    #[arg(long, short, value_name = "N", requires = "replay", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
    /// The device to compute on: cpu, cuda or cuda:N (default: the sort that the run computed on)
    #[arg(long, value_name = "DEVICE", requires = "replay", value_parser = parse_device)]
    pub(crate) device: Option<DeviceArgument>,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// A run that leaves its cache, with the manifest and small inputs beside it.
#[derive(Args, Debug)]
pub(crate) struct LeavingRun {
    /// The run, by id, a unique beginning of it, or `latest`
    pub(crate) run: String,
    /// The folder that the manifest's paths are read against now, if the project was moved
    #[arg(long, value_name = "DIR", conflicts_with = "de_identified")]
    pub(crate) root: Option<PathBuf>,
    /// Put keyed hashes in the place of words and digests that could tell whose data it is, and leave out all files but those
    /// that are of all cases together
    #[arg(long)]
    pub(crate) de_identified: bool,
    /// The secret key of the hashes, a file of at least 32 characters (default: de-identified.key in the cache, made when it is
    /// not there)
    #[arg(long, value_name = "FILE", requires = "de_identified")]
    pub(crate) key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Args, Debug)]
pub(crate) struct PackArguments {
    #[command(flatten)]
    pub(crate) leaving: LeavingRun,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// Whose results are put in; of others only the digests are
    #[arg(long, value_enum, default_value_t = PackedOutputs::Last, conflicts_with = "de_identified")]
    pub(crate) outputs: PackedOutputs,
}

#[derive(Args, Debug)]
pub(crate) struct ExportArguments {
    #[command(flatten)]
    pub(crate) leaving: LeavingRun,
    /// The form
    #[arg(long, value_enum)]
    pub(crate) format: ProvenanceForm,
    /// The folder to write to; it must be empty, or not there yet
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Sign the statement with this Ed25519 key of ssh-keygen; for in-toto
    #[arg(long, value_name = "KEY")]
    pub(crate) sign: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProvenanceForm {
    /// A Workflow Run RO-Crate (Provenance Run Crate 0.5) with the manifest, small inputs and the last results
    RoCrate,
    /// W3C PROV as JSON
    ProvJson,
    /// An in-toto statement with SLSA's provenance; signed, in a DSSE envelope
    InToto,
    /// Sentences for the methods and results of a paper, by the items of TRIPOD+AI and CLAIM
    Methods,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PackedOutputs {
    /// Of stages on which nothing builds
    Last,
    /// Of all stages
    All,
    /// Of none
    None,
}

/// Which items are computed again.
fn parse_sample(text: &str) -> Result<Sample, String> {
    let (count, seed) = text.split_once(':').map_or((text, None), |(count, seed)| (count, Some(seed)));
    let count = count.parse().ok().filter(|count| *count > 0);
    let count = count.ok_or_else(|| format!("{text:?} is no number of items, such as 20 or 20:7f3a"))?;
    let random = || format!("{:x}", RandomState::new().build_hasher().finish());
    Ok(Sample { count, seed: seed.map_or_else(random, str::to_owned) })
}
