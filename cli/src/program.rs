//! A program: the commands, with the kinds and forms that somebody gives them.

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use pipe_engine::export::Export;
use pipe_engine::host::Host;
use pipe_engine::registry::Registry;
use pipe_engine::stage::{Described, Kind, StageError};

use crate::arguments::{Command, CommandLine};
use crate::error::{CliError, exit};
use crate::{commands, panics, refusal, render};

/// A program with the commands of `pipe`. Only kinds are needed; the rest tells people more.
///
/// ```no_run
/// # use pipe_engine::stage::Kind;
/// # static KINDS: &[Kind] = &[];
/// fn main() -> std::process::ExitCode {
///     pipe_cli::Program::new("mine", "0.1.0", pipe_cli::lock_file!("../Cargo.lock")).kinds(KINDS).run()
/// }
/// ```
pub struct Program {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    lock: &'static str,
    kinds: Vec<Kind>,
    pub(crate) exports: Vec<&'static Export>,
    pub(crate) describe_column: fn(&str) -> Option<Described>,
    pub(crate) cuda_devices: fn() -> Result<Vec<usize>, StageError>,
    pub(crate) starters: Vec<Starter>,
    verbs: Vec<Verb>,
}

/// A program that runs: what its commands have in hand.
pub struct Running {
    pub(crate) program: Program,
    registry: Registry,
}

/// A file that `init` writes: its path in the new folder and its text.
pub type Starter = (&'static str, &'static str);

/// A command of a program's own.
pub struct Verb {
    /// Its words; the name is the command's.
    pub command: fn() -> clap::Command,
    /// Does it.
    pub run: fn(&ArgMatches, &Running) -> Result<ExitCode, CliError>,
}

impl Program {
    /// A program without kinds. `lock` is the text of its `Cargo.lock`, see [`lock_file!`](crate::lock_file!): the
    /// versions in it are part of every result's identity.
    pub fn new(name: &'static str, version: &'static str, lock: &'static str) -> Self {
        Self {
            name,
            version,
            lock,
            kinds: Vec::new(),
            exports: Vec::new(),
            describe_column: |_| None,
            cuda_devices: || Err(no_cuda()),
            starters: Vec::new(),
            verbs: Vec::new(),
        }
    }

    /// With these kinds too.
    #[must_use]
    pub fn kinds(mut self, kinds: &[Kind]) -> Self {
        self.kinds.extend(kinds);
        self
    }

    /// With these forms too, for `get --format`.
    #[must_use]
    pub fn exports(mut self, exports: &'static [Export]) -> Self {
        self.exports.extend(exports);
        self
    }

    /// With words for the columns of tables, for `stages`.
    #[must_use]
    pub fn columns(mut self, describe: fn(&str) -> Option<Described>) -> Self {
        self.describe_column = describe;
        self
    }

    /// With graphics processors: `find` gives the numbers of those that there are.
    #[must_use]
    pub fn cuda(mut self, find: fn() -> Result<Vec<usize>, StageError>) -> Self {
        self.cuda_devices = find;
        self
    }

    /// With these files too for `init`; the first is the manifest that it proposes to run.
    #[must_use]
    pub fn starters(mut self, starters: &'static [Starter]) -> Self {
        self.starters.extend(starters);
        self
    }

    /// With a command of its own.
    #[must_use]
    pub fn verb(mut self, verb: Verb) -> Self {
        self.verbs.push(verb);
        self
    }

    /// Does what the command line says, and gives the exit code.
    pub fn run(self) -> ExitCode {
        #[cfg(debug_assertions)]
        arm_fault();
        panics::install();
        let matches = self.command().get_matches();
        let code = match panics::caught(|| self.begin()?.dispatch(&matches)) {
            Err(code) => code,
            Ok(Ok(_)) if render::output_is_lost() => ExitCode::from(exit::FAILED),
            Ok(Ok(code)) => code,
            Ok(Err(error)) => render::error(&error),
        };
        #[cfg(debug_assertions)]
        if !pipe_cache::faults::has_come() {
            render::line("PIPE_FAULT: the program ended before it");
        }
        code
    }

    /// All words that it knows.
    pub(crate) fn command(&self) -> clap::Command {
        let own = self.verbs.iter().map(|verb| (verb.command)());
        CommandLine::command().name(self.name).version(self.version).subcommands(own)
    }

    fn begin(self) -> Result<Running, CliError> {
        panics::panic_on_demand("command");
        let host = Host::new(variables(), std::env::current_exe().ok());
        let registry = Registry::new(self.kinds.clone(), self.lock)
            .map(|registry| registry.on(host))
            .map_err(|error| {
                CliError::refused(
                    error.to_string(),
                    "this is a fault of the program: correct its table of kinds",
                )
            })?;
        Ok(Running { program: self, registry })
    }
}

impl Running {
    /// The kinds.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    fn dispatch(&self, matches: &ArgMatches) -> Result<ExitCode, CliError> {
        if let Some((name, matches)) = matches.subcommand()
            && let Some(verb) = self.program.verbs.iter().find(|verb| (verb.command)().get_name() == name)
        {
            return (verb.run)(matches, self);
        }
        let CommandLine { command } =
            CommandLine::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
        let is_json = command.answers_in_json();
        let outcome = self.obey(command);
        if let (Err(error), true) = (&outcome, is_json) {
            render::json(&refusal::object(error));
        }
        outcome
    }

    fn obey(&self, command: Command) -> Result<ExitCode, CliError> {
        match command {
            Command::Run(options) => commands::run::run(&options, self),
            Command::Sweep(options) => commands::sweep::sweep(&options, self),
            Command::Check(options) => commands::check::check(&options, self.registry()),
            Command::Plan(options) => commands::plan::plan(&options, self),
            Command::Graph(options) => commands::graph::graph(&options, self.registry()),
            Command::Get(options) => commands::get::get(&options, self),
            Command::Pack(options) => commands::pack::write(&options, self),
            Command::Export(options) => commands::export::export(&options, self),
            Command::Gc(options) => commands::gc::gc(&options),
            Command::Cache(options) => commands::cache::cache(&options),
            Command::Runs(options) => commands::runs::runs(&options),
            Command::Show(options) => commands::show::show(&options),
            Command::Logs(options) => commands::logs::show(&options),
            Command::Diff(options) => commands::diff::compare(&options, self.registry()),
            Command::Audit(options) => commands::audit::audit(&options, self),
            Command::Why(options) => commands::why::explain(options, self),
            Command::Stages(options) => commands::stages::stages(&options, self),
            Command::Schema => commands::schema::schema(self.registry()),
            Command::Init(options) => commands::init::init(&options, self),
            Command::Completions(options) => commands::completions::completions(&options, self),
            Command::Worker(options) => commands::worker::worker(&options, self.registry()),
        }
    }
}

/// The environment, as far as it is text.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn no_cuda() -> StageError {
    StageError::message("this program's kinds do not compute on graphics processors")
        .advise("run with --device cpu")
}

/// Lets a write of the cache fail, for tests; see [`pipe_cache::faults`]. Release builds have no such thing.
#[cfg(debug_assertions)]
fn arm_fault() {
    if let Some(plan) = std::env::var("PIPE_FAULT").ok().and_then(|text| text.parse().ok()) {
        pipe_cache::faults::arm(plan);
    }
}
