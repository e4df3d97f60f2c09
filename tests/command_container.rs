//! Programs in a container, by a stand-in for Apptainer that records what it is asked and runs the program here.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use support::{Ran, Workspace};

/// Writes its arguments beside itself, and runs the program in the folder that is bound, with the variables that are given.
const APPTAINER: &str = r#"#!/bin/bash
printf '%s\n' "$@" > "$(dirname "$0")/asked"
while [ "$1" != --bind ]; do shift; done
cd "${2%%:*}"; shift 2
while [[ "$1" != *.sif ]]; do shift; done
shift
given=()
while IFS= read -r line; do given+=("${line#APPTAINERENV_}"); done < <(env | grep '^APPTAINERENV_')
exec env -i PATH=/usr/bin:/bin "${given[@]}" "$@"
"#;

const MANIFEST: &str = r#"
[stage.say]
uses = "command"
container = "image.sif"
inputs = { script = "say.sh" }
outputs = { made = "made.txt" }
env = ["FLAVOUR"]
params = { run = ["bash", "{script}", "{out.made}", "a b, c"] }
"#;

struct Project {
    workspace: Workspace,
    path: String,
}

impl Project {
    fn new() -> Self {
        let workspace = Workspace::new();
        workspace.write("p.toml", MANIFEST);
        workspace.write("image.sif", "an image");
        workspace.write("say.sh", "echo \"$2\" > \"$1\"; echo \"$FLAVOUR $TZ\" >> \"$1\"; pwd");
        workspace.write("bin/apptainer", APPTAINER);
        fs::set_permissions(workspace.path("bin/apptainer"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
        Self { workspace, path }
    }

    fn pipe(&self, arguments: &[&str]) -> Ran {
        self.workspace.pipe_with(arguments, &[("PATH", &self.path), ("FLAVOUR", "sweet, and sour")])
    }

    fn executed(&self, more: &[&str]) -> u64 {
        let ran = self.pipe(&[&["run", "p.toml", "--json"], more].concat());
        assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
        ran.count("executed")
    }
}

#[test]
fn a_program_runs_in_an_image_that_counts_by_content() {
    let project = Project::new();
    assert_eq!(project.executed(&[]), 1);
    project.workspace.pipe_ok(&["get", "latest", "say.made", "--to", "copied"]);
    assert_eq!(project.workspace.read("copied/made.txt"), "a b, c\nsweet, and sour UTC\n");
    let asked = project.workspace.read("bin/asked");
    let words: Vec<&str> = asked.lines().collect();
    assert_eq!(words[..3], ["exec", "--containall", "--cleanenv"]);
    let place = |word: &str| words.iter().position(|known| *known == word).unwrap();
    assert!(words[place("--bind") + 1].ends_with("/work:/pipe"), "{asked}");
    assert_eq!(words[place("--pwd") + 1], "/pipe");
    assert_eq!(words[words.len() - 4..], ["bash", "in/script.sh", "out/made/made.txt", "a b, c"]);
    // Another name is no other image, other content is.
    fs::rename(project.workspace.path("image.sif"), project.workspace.path("other.sif")).unwrap();
    project.workspace.write("p.toml", MANIFEST.replace("image.sif", "other.sif"));
    assert_eq!(project.executed(&[]), 0);
    project.workspace.write("other.sif", "another image");
    let plan = project.pipe(&["plan", "p.toml"]).stdout;
    assert!(plan.contains("input container changed"), "{plan}");
    assert_eq!(project.executed(&["--executor", "process"]), 1);
    assert_eq!(project.executed(&[]), 0);
}

#[test]
fn what_goes_wrong_is_told() {
    let project = Project::new();
    let ran = project.workspace.pipe_with(&["run", "p.toml"], &[("PATH", "/usr/bin:/bin")]);
    assert!(ran.stderr.contains("there is no Apptainer or Singularity on PATH"), "{}", ran.stderr);
    project.workspace.write("p.toml", MANIFEST.replace("env =", "tools = [\"bash --version\"]\nenv ="));
    let ran = project.pipe(&["check", "p.toml"]);
    assert!(ran.stderr.contains("`tools` are asked on the machine"), "{}", ran.stderr);
    project.workspace.write("p.toml", MANIFEST.replace("image.sif", "none.sif"));
    let ran = project.pipe(&["check", "p.toml"]);
    assert!(ran.code == 2 && ran.stderr.contains("there is no file none.sif"), "{}", ran.stderr);
}
