//! Runs the program in a temporary folder, as a user would.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

mod require;

#[allow(unused_imports, reason = "each test file uses a part of it")]
pub use require::{has_part, wait_until};

/// A folder to run the program in.
pub struct Workspace {
    folder: tempfile::TempDir,
}

/// What the program did.
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it wrote on stdout.
    pub stdout: String,
    /// What it wrote on stderr.
    pub stderr: String,
}

impl Ran {
    /// The object of the last line of `--json`.
    pub fn finished(&self) -> serde_json::Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}\n{}", self.stderr))
    }

    /// A number of the `finished` event.
    pub fn count(&self, name: &str) -> u64 {
        self.finished()[name].as_u64().unwrap_or_else(|| panic!("no {name} in {}", self.stdout))
    }

    /// The labels of the instances that were executed, sorted.
    pub fn executed(&self) -> Vec<String> {
        let events =
            self.stdout.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let mut labels: Vec<String> = events
            .filter(|event| event["event"] == "stage-finished" && event["executed"] == true)
            .map(|event| event["stage"].as_str().unwrap_or_default().to_string())
            .collect();
        labels.sort();
        labels
    }
}

impl Workspace {
    /// An empty folder.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A folder with a manifest as `p.toml`, two patients in `nodules.csv` and a report of each in `texts`.
    pub fn with_reports(manifest: &str) -> Self {
        let workspace = Self::new();
        workspace.write("nodules.csv", "pid,nodule_id\n1,1\n2,1\n");
        workspace.write("texts/1_1.txt", "Findings: one.\n\nImpression: first.\n");
        workspace.write("texts/2_1.txt", "Findings: two.\n\nImpression: second.\n");
        workspace.write("p.toml", manifest);
        workspace
    }

    /// A folder with `p.toml`: a small phantom cohort and the training of one fold, in seconds.
    pub fn with_training(epochs: usize) -> Self {
        let workspace = Self::new();
        let manifest = format!(
            "[stage.phantom]\nparams = {{ patients = 10, shape = [72, 72, 36] }}\n\
             [stage.crop]\nparams = {{ size_mm = 60 }}\ninputs = {{ dataset = \"@phantom\" }}\n\
             [stage.slice]\ninputs = {{ volumes = \"@crop\" }}\n\
             [stage.report]\ninputs = {{ dataset = \"@phantom\" }}\n\
             [stage.text-encode]\ninputs = {{ reports = \"@report\" }}\n\
             [stage.split]\nparams = {{ n_splits = 2 }}\ninputs = {{ dataset = \"@phantom\" }}\n\
             [stage.train]\ninputs = {{ dataset = \"@phantom\", slices = \"@slice\", text = \"@text-encode\", \
             splits = \"@split\", reports = \"@report\", weights = \"random\" }}\n\
             [stage.train.params]\nfold = 0\nepochs = {epochs}\ntuning = \"lora\"\nes_patience = 100\n\
             architecture.text = {{ width = 64, layers = 1, vocabulary = 49408, context = 77 }}\n\
             architecture.vision = {{ width = 64, layers = 1, patch = 24, resolution = 48 }}\n"
        );
        workspace.write("p.toml", manifest);
        workspace
    }

    /// The same with two folds, calibrated, and so many other patients to test on.
    pub fn with_two_folds(patients: usize) -> Self {
        let workspace = Self::with_training(1);
        let trained = workspace.read("p.toml").replace("fold = 0\n", "").replace(
            "[stage.train]\n",
            "[stage.calibrate]\nforeach = { fold = [0, 1] }\ninputs = { model = \"@train\" }\n\
             [stage.train]\nforeach = { fold = [0, 1] }\n",
        );
        workspace.write("p.toml", trained + &Self::other_patients(patients));
        workspace
    }

    /// The stages of other patients: their table is `@other`, their planes `@other-slice`.
    pub fn other_patients(patients: usize) -> String {
        format!(
            "[stage.other]\nuses = \"phantom\"\n\
             params = {{ stream = \"other\", patients = {patients}, shape = [72, 72, 36] }}\n\
             [stage.other-crop]\nuses = \"crop\"\nparams = {{ size_mm = 60 }}\ninputs = {{ dataset = \"@other\" }}\n\
             [stage.other-slice]\nuses = \"slice\"\ninputs = {{ volumes = \"@other-crop\" }}\n"
        )
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Copies a folder of the repository here.
    pub fn copy(&self, from: &str, to: &str) {
        copy_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join(from), &self.path(to));
    }

    /// Copies a folder within this one.
    pub fn copy_here(&self, from: &str, to: &str) {
        copy_folder(&self.path(from), &self.path(to));
    }

    /// Runs the program.
    pub fn pipe(&self, arguments: &[&str]) -> Ran {
        self.pipe_with(arguments, &[])
    }

    /// Runs the program with environment variables.
    pub fn pipe_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_pipe"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("PIPE_CACHE")
            .env("NO_COLOR", "1")
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        self.ran(&output)
    }

    /// Starts the program and does not wait for it.
    pub fn start(&self, arguments: &[&str]) -> std::process::Child {
        Command::new(env!("CARGO_BIN_EXE_pipe"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("PIPE_CACHE")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Runs the program and insists on success.
    pub fn pipe_ok(&self, arguments: &[&str]) -> Ran {
        let ran = self.pipe(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    /// Runs `p.toml`, insists on success and gives the events.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.pipe_ok(&[&["run", "p.toml", "--json"], arguments].concat())
    }

    fn ran(&self, output: &Output) -> Ran {
        let text = |bytes: &[u8]| {
            let here = fs::canonicalize(self.folder.path()).unwrap();
            String::from_utf8_lossy(bytes).replace(&*here.to_string_lossy(), "[HERE]")
        };
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())).flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
