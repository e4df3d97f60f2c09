//! One run of a program: what its arguments and environment are, how it went, and why it failed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pipe_plugin::context::{Cancel, Device, Machine, Report};
use pipe_plugin::input::{Input, InputValue};
use pipe_plugin::requests::sleep_until;
use pipe_plugin::stage::StageError;

use crate::container::{self, IMAGE};
use crate::counted::{programs, started, text};
use crate::declaration::{Declared, all_templates, is_software};
use crate::environment::interpreter;
use crate::failure;
use crate::folder::{Folder, PARAMETERS};
use crate::helper::{Isolation, Order, WORK};
use crate::params::CommandParams;
use crate::program::Program;
use crate::run::{Ran, isolation, run};
use crate::shell::{self, Script};
use crate::tables::{self, Names};
use crate::template::Template;
use crate::variables::{Given, variables};

/// The shell that runs scripts, and how: it stops at the first command that fails, in a pipe too.
const SHELL: [&str; 7] = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c"];

/// A program that is about to run.
pub struct Call<'a> {
    /// What the stage declares.
    pub declared: &'a Declared,
    /// Its parameters.
    pub params: &'a CommandParams,
    /// What it may take of the machine.
    pub machine: &'a Machine<'a>,
    /// Hears what it tells.
    pub reporter: &'a dyn Report,
    /// Whom to ask whether to stop.
    pub cancel: &'a Cancel,
    /// The pipeline's seed.
    pub seed: u64,
    /// The device of the run.
    pub device: Device,
    /// Where to keep what it has left when it fails.
    pub partial: PathBuf,
    /// The item that it runs for, in words.
    pub item: Option<&'a str>,
    /// The image to run it in.
    pub image: Option<PathBuf>,
}

/// What is in a program's folder: what placeholders stand for, and the names in it that stand for cells of tables.
#[derive(Default)]
pub struct Prepared {
    /// What placeholders stand for.
    pub values: BTreeMap<String, String>,
    /// What names in the folder stand for.
    pub names: Names,
}

impl Call<'_> {
    /// The names of all placeholders.
    pub fn names(params: &CommandParams) -> BTreeSet<String> {
        let templates = all_templates(params);
        templates.iter().flat_map(|(_, template)| template.names()).map(str::to_string).collect()
    }

    /// The columns that placeholders name.
    pub fn columns(params: &CommandParams) -> BTreeSet<String> {
        let names = Self::names(params);
        names.iter().filter_map(|name| name.strip_prefix("row.")).map(str::to_string).collect()
    }

    /// Runs the program, again if its exit code says so, each time in a fresh folder that `prepare` fills. What `collect` makes of
    /// the folder of the run that ended well is the result.
    ///
    /// # Errors
    /// How it failed.
    pub fn run<T>(
        &self,
        prepare: &dyn Fn(&mut Folder) -> Result<Prepared, StageError>,
        collect: &mut dyn FnMut(&Folder, &Prepared) -> Result<T, StageError>,
    ) -> Result<T, StageError> {
        let isolation = self.isolation()?;
        let retry = &self.params.retry;
        let mut wait = retry.wait_s;
        let mut attempt = 0;
        loop {
            let mut folder = Folder::new(self.machine.scratch, isolation == Isolation::Namespaces)?;
            let mut prepared = prepare(&mut folder)?;
            self.add_own(&folder, &mut prepared)?;
            let order = self.order(&folder, &prepared, isolation)?;
            let ran = run(&order, self.machine.host, self.cancel, self.reporter);
            let outcome = ran.and_then(|ran| match failure::of(self, &order, &ran) {
                None => folder.unlock().and_then(|()| collect(&folder, &prepared)),
                Some(error) if self.tries_again(&ran, attempt) => {
                    self.reporter.log(&format!("{error}; again in {wait} s"));
                    Err(TryAgain.into())
                }
                Some(error) => Err(error),
            });
            match outcome {
                Err(error) if error.source.is::<TryAgain>() => {
                    sleep_until(Instant::now() + Duration::from_secs_f64(wait), self.cancel)?;
                    wait *= 2.0;
                    attempt += 1;
                }
                Err(error) => {
                    if folder.unlock().is_ok() && folder.keep_partial(&self.partial).unwrap_or_default() {
                        self.reporter.log(&format!("what it had written is in {}", self.partial.display()));
                    }
                    return Err(error);
                }
                Ok(made) => return Ok(made),
            }
        }
    }

    fn tries_again(&self, ran: &Ran, attempt: u32) -> bool {
        let code = ran.ending.code;
        attempt < self.params.retry.times && code.is_some_and(|code| self.params.retry.codes.contains(&code))
    }

    /// How far the program is closed off; where it is not, that is told.
    fn isolation(&self) -> Result<Isolation, StageError> {
        if self.image.is_some() {
            if !self.params.network {
                self.reporter.log("in its container the program has the host's network");
            }
            return Ok(Isolation::None);
        }
        let (isolation, why) = isolation(self.machine.host, self.machine.scratch);
        let why = why.unwrap_or_default();
        match isolation {
            Isolation::Namespaces => {}
            Isolation::Landlock => self.reporter.warn(&format!(
                "the program was closed off by Landlock alone: it could not read files that the stage does not declare, and open no \
                 TCP connections, but could reach local sockets and send UDP ({why})"
            )),
            Isolation::None if self.params.strict || self.machine.strict => {
                return Err(StageError::message(format!(
                    "the program cannot be closed off from what it does not declare: {why}"
                ))
                .advise("run where Linux namespaces or Landlock are allowed; or say strict = false"));
            }
            Isolation::None => self.reporter.warn(&format!(
                "the program could read files that the stage does not declare, and use the network: {why}"
            )),
        }
        Ok(isolation)
    }

    /// Adds what every program is given.
    fn add_own(&self, folder: &Folder, prepared: &mut Prepared) -> Result<(), StageError> {
        folder.write_parameters(&self.params.own)?;
        let own = self.params.own.iter().map(|(name, value)| (format!("params.{name}"), text(value)));
        prepared.values.extend(own);
        prepared.values.extend([
            ("params".to_string(), PARAMETERS.to_string()),
            ("seed".to_string(), self.seed.to_string()),
            ("threads".to_string(), self.machine.cpus.max(1).to_string()),
        ]);
        Ok(())
    }

    /// What the helper is to do.
    fn order(&self, folder: &Folder, prepared: &Prepared, isolation: Isolation) -> Result<Order, StageError> {
        let host = self.machine.host;
        let mut argv = self.argv(prepared)?;
        if let Some(image) = &self.image {
            return self.contained(folder, argv, image);
        }
        let named = programs(self.params, None, host)?.into_iter().map(|(_, program)| program);
        let programs: Vec<Program> =
            named.chain(interpreter(self.declared.software, self.params, host)?).collect();
        match (argv.first_mut(), started(self.params, None, host)?.first()) {
            (Some(first), Some((_, program))) => *first = program.path.display().to_string(),
            (Some(first), None) => refuse_script(&folder.work().join(&*first), first)?,
            (None, _) => {}
        }
        let home = host.variable("HOME").map(Path::new);
        let installed = programs.iter().flat_map(|program| program.installation(home));
        let readable = installed.chain(self.params.software.iter().map(PathBuf::from)).collect();
        let work = if isolation == Isolation::Namespaces { PathBuf::from(WORK) } else { folder.work() };
        let given = self.given(&programs, &work);
        Ok(Order {
            work: folder.work(),
            root: folder.root(),
            argv,
            variables: variables(&given, self.machine),
            readable,
            shown: folder.shown.clone(),
            network: self.params.network,
            devices: self.params.gpu,
            isolation,
            memory_bytes: self.machine.memory_bytes,
        })
    }

    /// What the program's environment is made of.
    fn given<'g>(&'g self, programs: &'g [Program], work: &'g Path) -> Given<'g> {
        Given {
            programs,
            software: &self.params.software,
            declared: &self.params.env,
            work,
            device: self.params.gpu.then_some(self.device),
        }
    }

    /// What the helper is to do for a program in a container, which is closed off by that.
    fn contained(&self, folder: &Folder, inner: Vec<String>, image: &Path) -> Result<Order, StageError> {
        let (_, runtime) = container::runtime(&self.params.software, self.machine.host)?;
        let work = folder.work();
        let programs = [runtime];
        let given = self.given(&programs, &work);
        let [runtime] = &programs;
        Ok(Order {
            argv: container::command(runtime, image, &work, self.params.gpu, inner),
            variables: container::variables(&variables(&given, self.machine)),
            root: folder.root(),
            network: true,
            isolation: Isolation::None,
            memory_bytes: self.machine.memory_bytes,
            work,
            ..Order::default()
        })
    }

    fn argv(&self, prepared: &Prepared) -> Result<Vec<String>, StageError> {
        let mut value = |name: &str| {
            let value = prepared.values.get(name).cloned();
            value.ok_or_else(|| StageError::message(format!("nothing is given for `{{{name}}}`")))
        };
        if self.params.run.is_empty() {
            let script = shell::script(&Template::parse(&self.params.shell));
            let Script { text, names } = script.map_err(|_| {
                StageError::message("`shell` has a placeholder where bash would not put it in")
            })?;
            let values: Vec<String> = names.iter().map(|name| value(name)).collect::<Result<_, _>>()?;
            let words = SHELL.iter().map(|word| (*word).to_string()).chain([text, "bash".to_string()]);
            return Ok(words.chain(values).collect());
        }
        let mut argv: Vec<String> = Vec::with_capacity(self.params.run.len());
        for word in &self.params.run {
            argv.push(Template::parse(word).filled(&mut value)?);
        }
        if let Some(program) = argv.first_mut().filter(|program| program.starts_with("in/")) {
            *program = format!("./{program}");
        }
        Ok(argv)
    }

    /// Puts inputs into the folder that are the same for all items.
    ///
    /// # Errors
    /// When one cannot be put there.
    pub fn put_inputs(
        &self,
        folder: &mut Folder,
        inputs: &BTreeMap<String, Vec<Input>>,
        prepared: &mut Prepared,
    ) -> Result<(), StageError> {
        let program = self.params.run.first().map(|first| Template::parse(first));
        let program = program.as_ref().and_then(Template::lone);
        for (name, given) in inputs.iter().filter(|(name, _)| !is_software(name)) {
            let place = match &**given {
                [Input { value: InputValue::Rows(rows), .. }] => {
                    let columns = self.declared.files.get(name.as_str()).map_or(&[][..], Vec::as_slice);
                    let names = tables::put(folder, name, &rows.table, &tables::rows(rows), columns)?;
                    prepared.names.extend(names);
                    tables::table_name(name)
                }
                [only] => put(folder, only, &format!("in/{name}"), program == Some(name.as_str()))?,
                several => {
                    for one in several {
                        put(folder, one, &format!("in/{name}/{}", words(one)), false)?;
                    }
                    format!("in/{name}")
                }
            };
            prepared.values.insert(name.clone(), place);
        }
        Ok(())
    }
}

/// Where the image is that is given to a stage.
///
/// # Errors
/// When it is damaged or has changed.
pub fn image(inputs: &BTreeMap<String, Vec<Input>>) -> Result<Option<PathBuf>, StageError> {
    match inputs.get(IMAGE).and_then(|given| given.first()).map(|input| &input.value) {
        Some(InputValue::File(file)) => Ok(Some(file.path()?)),
        _ => Ok(None),
    }
}

/// Puts one artifact into the folder, and gives its name there.
fn put(folder: &mut Folder, input: &Input, place: &str, is_program: bool) -> Result<String, StageError> {
    let place = format!("{place}{}", input.extension);
    match &input.value {
        InputValue::File(file) => folder.put(file, &place, is_program)?,
        InputValue::Files(files) => folder.put_all(files, &place)?,
        InputValue::Keyword(_) | InputValue::Table(_) | InputValue::Rows(_) => {
            return Err(StageError::message(format!("{place} is neither a file nor a folder")));
        }
    }
    Ok(place)
}

/// The foreach values of what made an artifact, as a name: each value has one of its own, whatever it holds.
fn words(input: &Input) -> String {
    let escaped = |value: &str| {
        let signs = [('%', "%25"), ('/', "%2F"), (',', "%2C"), ('=', "%3D")];
        signs.iter().fold(value.to_string(), |value, (sign, code)| value.replace(*sign, code))
    };
    let words: Vec<String> =
        input.selector.iter().map(|(key, value)| format!("{key}={}", escaped(value))).collect();
    words.join(",")
}

/// Refuses a script as the program, when it is an input: what reads it would be found anywhere, and would not count.
fn refuse_script(path: &Path, shown: &str) -> Result<(), StageError> {
    let mut beginning = [0; 2];
    let is_script = std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut beginning))
        .is_ok_and(|()| beginning == *b"#!");
    match is_script {
        false => Ok(()),
        true => Err(StageError::message(format!("{shown} is a script"))
            .advise("name what reads it, which counts: run = [\"python3\", \"{script}\", …]")),
    }
}

/// The program is to be run again.
#[derive(Debug, thiserror::Error)]
#[error("the program is to be run again")]
struct TryAgain;
