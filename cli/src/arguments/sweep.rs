//! The words of `pipe sweep`.

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

use super::{CacheArguments, OutputArguments, RunArguments};

/// The word before what tells of a sweep that was run; else a manifest is named.
const SHOW: &str = "show";

#[derive(Debug)]
pub(crate) enum SweepArguments {
    Run(Box<RunArguments>),
    Show(SweepShowArguments),
}

// By hand, since a derived group of arguments cannot be left out as a whole.
impl Args for SweepArguments {
    fn augment_args(command: Command) -> Command {
        let about = "Tell what the points of a sweep came to: values, states, metrics";
        RunArguments::augment_args(command)
            // A point that fails never ends the others.
            .mut_arg("keep_going", |argument| argument.hide(true))
            .subcommand(SweepShowArguments::augment_args(Command::new(SHOW)).about(about))
            .args_conflicts_with_subcommands(true)
            .subcommand_negates_reqs(true)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SweepArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        match matches.subcommand() {
            Some((SHOW, matches)) => SweepShowArguments::from_arg_matches(matches).map(Self::Show),
            _ => RunArguments::from_arg_matches(matches).map(|run| Self::Run(Box::new(run))),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[derive(Args, Debug)]
pub(crate) struct SweepShowArguments {
    /// The sweep's run: its id, the beginning of one, or `latest`
    #[arg(default_value = "latest")]
    pub(crate) run: String,
    /// Show this metric, by its whole name or the end of it, such as ensemble/auroc
    #[arg(long, value_name = "NAME")]
    pub(crate) metric: Vec<String>,
    /// Print all values and metrics as CSV
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) cache: CacheArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

impl SweepArguments {
    /// Whether the answer is to be a JSON object.
    pub(crate) fn shows_in_json(&self) -> bool {
        matches!(self, Self::Show(show) if show.output.json)
    }
}
