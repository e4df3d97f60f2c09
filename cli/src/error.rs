//! Why a command ends without doing what it was asked: what people read, and the exit code.

use std::process::ExitCode;

use pipe_engine::audit::TargetError;
use pipe_engine::deidentify::DeidentifyError;
use pipe_engine::interchange::InterchangeError;
use pipe_engine::job::JobError;
use pipe_engine::manifest::ManifestError;
use pipe_engine::pack::PackError;
use pipe_engine::publish::CopyError;
use pipe_engine::record::{RecordError, SignatureError};
use pipe_engine::run::RunError;
use pipe_engine::stage::{Finding, StageError};

/// The exit codes of the command line.
pub mod exit {
    /// A stage failed, or something else did after the first stage began.
    pub const FAILED: u8 = 1;
    /// Something is wrong that was found before the first stage.
    pub const REFUSED: u8 = 2;
    /// An audit found something.
    pub const FOUND: u8 = 3;
    /// The run was interrupted.
    pub const INTERRUPTED: u8 = 130;
}

/// An error of a command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The manifest cannot be run.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] pipe_cache::Error),
    /// The run could not begin.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A run's record cannot be told.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A record cannot be signed, or its signatures not be checked.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A run cannot be written in another form.
    #[error(transparent)]
    Interchange(#[from] InterchangeError),
    /// A run cannot be de-identified.
    #[error(transparent)]
    Deidentify(#[from] DeidentifyError),
    /// A pack cannot be written or read.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// There is nothing to audit.
    #[error(transparent)]
    Audit(#[from] TargetError),
    /// Artifacts cannot be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Planning failed on an input.
    #[error("{0}")]
    Input(StageError),
    /// What the stages are given is wrong.
    #[error("{}", .0.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("\n"))]
    Findings(Vec<Finding>),
    /// A job cannot be done.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Anything else, with the next step and the exit code.
    #[error("{message}")]
    Other {
        /// What is wrong.
        message: String,
        /// What to do about it.
        help: String,
        /// The exit code.
        code: u8,
    },
}

impl CliError {
    /// Something that was asked for and cannot be done.
    pub fn refused(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Other { message: message.into(), help: help.into(), code: exit::REFUSED }
    }

    /// The exit code, as a number.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            CliError::Copy(_) | CliError::Run(RunError::Broken(_)) => exit::FAILED,
            CliError::Other { code, .. } => *code,
            CliError::Interchange(InterchangeError::Write { .. } | InterchangeError::Store(_)) => {
                exit::FAILED
            }
            CliError::Pack(PackError::Damaged { .. }) => exit::FOUND,
            CliError::Pack(PackError::Write { .. }) => exit::FAILED,
            // Of bytes that nothing gave, that is what was found.
            CliError::Audit(TargetError::Unknown { .. }) => exit::FOUND,
            _ => exit::REFUSED,
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.exit_code())
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            CliError::Other { help, .. } => Some(help.clone()),
            CliError::Input(error) => error.advice.clone(),
            CliError::Copy(CopyError::Differs { .. }) => {
                Some("choose another folder with --to, or remove the file".to_string())
            }
            CliError::Cache(pipe_cache::Error::Format { .. }) => {
                Some("use the newer pipe, or another cache with --cache".to_string())
            }
            CliError::Run(RunError::Devices { .. }) => {
                Some("lower `gpu` in the stage's `resources`, or give more with --device cuda".to_string())
            }
            CliError::Run(RunError::Broken(_)) => Some(
                "make room and see that the cache can be written, then run again: what is finished is kept"
                    .to_string(),
            ),
            CliError::Copy(CopyError::Store(error)) if error.lost_blob().is_some() => Some(
                "`pipe run` computes missing files of last stages again, `pipe run --force STAGE` those of any".to_string(),
            ),
            CliError::Copy(error) if error.advice().is_some() => error.advice().map(str::to_string),
            CliError::Cache(pipe_cache::Error::Io { .. }) | CliError::Run(RunError::Store(_)) => {
                Some("the cache must be a folder that can be written to; name another with --cache".to_string())
            }
            CliError::Record(RecordError::Unreadable { path, .. } | RecordError::Empty { path }) => Some(format!(
                "if nobody needs it any more, remove {}; nothing else was changed",
                path.parent().unwrap_or(path).display()
            )),
            CliError::Record(RecordError::Newer { .. }) => {
                Some("use the program that wrote it, or a newer one".to_string())
            }
            CliError::Record(RecordError::Store(_)) => {
                Some("the cache must be a folder that can be read and written".to_string())
            }
            CliError::Record(RecordError::Ambiguous { .. }) => {
                Some("give more of the id; `pipe runs` tells what each of them did".to_string())
            }
            CliError::Signature(SignatureError::Key { .. }) => {
                Some("name a private key that `ssh-keygen -t ed25519` has made".to_string())
            }
            CliError::Signature(SignatureError::Encrypted { .. }) => {
                Some("give its passphrase in PIPE_SIGN_PASSPHRASE".to_string())
            }
            CliError::Signature(SignatureError::Signers { .. }) => Some(
                "each line has principals, options and a key; see ALLOWED SIGNERS in the manual of ssh-keygen".to_string(),
            ),
            CliError::Signature(SignatureError::NoSeal { .. }) => {
                Some("records have seals since pipe 0.1; run it again to have one".to_string())
            }
            CliError::Pack(PackError::Damaged { .. }) => {
                Some("get it once more from whoever made it; `pipe pack` gives the same bytes again".to_string())
            }
            CliError::Deidentify(DeidentifyError::Key { .. }) => {
                Some("name a file with at least 32 random characters, such as `openssl rand -hex 32` gives".to_string())
            }
            CliError::Deidentify(_) => Some("`pipe audit` tells what is lost or damaged".to_string()),
            CliError::Interchange(InterchangeError::NoSubject { .. }) => {
                Some("use --format prov-json or ro-crate".to_string())
            }
            CliError::Interchange(InterchangeError::Key) => Some("use another key".to_string()),
            CliError::Interchange(InterchangeError::NotEmpty { .. }) => {
                Some("name a folder that is empty or not there yet".to_string())
            }
            CliError::Interchange(InterchangeError::Store(error)) if error.lost_blob().is_some() => {
                Some("`pipe audit` tells what is lost, `pipe run` computes it again".to_string())
            }
            CliError::Pack(PackError::Newer { .. }) => Some("use a newer pipe".to_string()),
            CliError::Pack(PackError::Store(error)) if error.lost_blob().is_some() => {
                Some("`pipe audit` tells what is lost; `--outputs none` leaves results out".to_string())
            }
            CliError::Audit(TargetError::Unknown { .. }) => Some(
                "the file was changed, or made by something else, or its result has been collected; \
                 name the cache with --cache"
                    .to_string(),
            ),
            CliError::Audit(TargetError::NoAccount { .. }) => {
                Some("name a run, or a folder that a stage was published to".to_string())
            }
            CliError::Audit(TargetError::OtherCache { .. }) => {
                Some("name the cache that has the run, with --cache".to_string())
            }
            CliError::Record(RecordError::Unknown { .. }) => Some("`pipe runs` lists the runs".to_string()),
            _ => None,
        }
    }
}
