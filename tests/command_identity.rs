//! What the result of a program follows from, and what it does not: one change at a time, as in `matrix.rs`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use support::{Ran, Workspace};

const MANIFEST: &str = r#"
[stage.say]
uses = "command"
inputs = { script = "say.sh", data = "data.csv", folder = "folder" }
outputs = { made = "made.txt" }
env = ["FLAVOUR"]
tools = ["mytool --version"]
params = { run = ["mybash", "{script}", "{out.made}"], threshold = 0.5 }
"#;

/// A project whose program and tool stand in a folder of their own.
struct Project {
    workspace: Workspace,
    path: String,
    flavour: &'static str,
    other: &'static str,
}

impl Project {
    fn new() -> Self {
        let workspace = Workspace::new();
        workspace.write("p.toml", MANIFEST);
        workspace.write("say.sh", "echo made > \"$1\"");
        workspace.write("data.csv", "pid,x\n1,2\n");
        workspace.write("folder/a.txt", "a");
        let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
        let project = Self { workspace, path, flavour: "plain", other: "x" };
        project.executable("bin/mybash", "#!/bin/bash\nexec bash \"$@\"\n");
        project.executable("bin/mytool", "#!/bin/bash\necho tool 1.0\n");
        project
    }

    fn executable(&self, name: &str, text: &str) {
        // In place of the old one: one that is being executed cannot be written to.
        let _ = fs::remove_file(self.workspace.path(name));
        self.workspace.write(name, text);
        fs::set_permissions(self.workspace.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn pipe(&self, arguments: &[&str]) -> Ran {
        let environment = [("PATH", self.path.as_str()), ("FLAVOUR", self.flavour), ("OTHER", self.other)];
        let ran = self.workspace.pipe_with(arguments, &environment);
        assert_eq!(ran.code, 0, "{arguments:?}: {}\n{}", ran.stderr, ran.stdout);
        ran
    }

    fn run(&self, more: &[&str]) -> u64 {
        self.pipe(&[&["run", "p.toml", "--json"], more].concat()).count("executed")
    }

    fn edit(&self, from: &str, to: &str) {
        let text = self.workspace.read("p.toml");
        assert!(text.contains(from), "{from}");
        self.workspace.write("p.toml", text.replace(from, to));
    }
}

type Edit = fn(&mut Project);

#[test]
fn what_a_result_follows_from_and_what_not() {
    let runs_again: [(&str, Edit, &str); 14] = [
        ("script edited", |p| p.workspace.write("say.sh", "echo other > \"$1\""), "input script changed"),
        ("a file of a folder edited", |p| p.workspace.write("folder/a.txt", "b"), "input folder changed"),
        (
            "a file of a folder renamed",
            |p| fs::rename(p.workspace.path("folder/a.txt"), p.workspace.path("folder/b.txt")).unwrap(),
            "input folder changed",
        ),
        ("table edited", |p| p.workspace.write("data.csv", "pid,x\n1,3\n"), "input data changed"),
        ("a parameter", |p| p.edit("0.5", "0.6"), "threshold 0.5 → 0.6"),
        ("an argument", |p| p.edit("\"{out.made}\"]", "\"{out.made}\", \"x\"]"), "run"),
        ("an output's name", |p| p.edit("made.txt", "made.csv"), "outputs.made \"made.txt\" → \"made.csv\""),
        (
            "another program of the name, first on PATH",
            |p| {
                p.executable("first/mybash", "#!/bin/bash\nexec bash \"$@\"\n");
                p.path = format!("{}:{}", p.workspace.path("first").display(), p.path);
            },
            "program mybash",
        ),
        (
            "the program's content",
            |p| p.executable("bin/mybash", "#!/bin/bash\nexec bash \"$@\" \n"),
            "program mybash",
        ),
        (
            "the tool's answer",
            |p| p.executable("bin/mytool", "#!/bin/bash\necho tool 2.0\n"),
            "tool mytool --version tool 1.0 → tool 2.0",
        ),
        (
            "the tool's content",
            |p| p.executable("bin/mytool", "#!/bin/bash\necho tool 1.0 # \n"),
            "program mytool",
        ),
        ("a variable's value", |p| p.flavour = "sweet", "variable FLAVOUR plain → sweet"),
        (
            "the script's extension",
            |p| {
                fs::rename(p.workspace.path("say.sh"), p.workspace.path("say.bash")).unwrap();
                p.edit("say.sh", "say.bash");
            },
            "the extension of input script .sh → .bash",
        ),
        ("the network", |p| p.edit("threshold", "network = true, threshold"), "network false → true"),
    ];
    let known: [(&str, Edit); 10] = [
        ("nothing", |_| {}),
        ("script touched", |p| {
            let bytes = fs::read(p.workspace.path("say.sh")).unwrap();
            fs::write(p.workspace.path("say.sh"), bytes).unwrap();
        }),
        ("input moved", |p| {
            fs::rename(p.workspace.path("say.sh"), p.workspace.path("folder-of-scripts.sh")).unwrap();
            p.edit("say.sh", "folder-of-scripts.sh");
        }),
        ("program touched", |p| p.executable("bin/mybash", "#!/bin/bash\nexec bash \"$@\"\n")),
        ("a variable that is not declared", |p| p.other = "y"),
        ("what Python leaves in an input's folder", |p| p.workspace.write("folder/__pycache__/x.pyc", "y")),
        ("strictness", |p| p.edit("threshold", "strict = true, threshold")),
        ("determinism", |p| p.edit("env =", "deterministic = false\nenv =")),
        ("retries", |p| p.edit("threshold", "retry = { codes = [1] }, threshold")),
        ("resources", |p| p.edit("env =", "resources = { cpus = 2, memory_gb = 1, time = \"1h\" }\nenv =")),
    ];
    for (what, edit, reason) in runs_again {
        let mut project = Project::new();
        assert_eq!(project.run(&[]), 1);
        edit(&mut project);
        let plan = project.pipe(&["plan", "p.toml"]).stdout;
        assert!(plan.contains(reason), "{what}: {plan}");
        assert_eq!(project.run(&[]), 1, "{what}");
        assert_eq!(project.run(&[]), 0, "{what}, again");
        let why = project.pipe(&["why", "say"]).stdout;
        assert!(why.contains(reason.split(' ').next().unwrap()), "{what}: {why}");
    }
    for (what, edit) in known {
        let mut project = Project::new();
        assert_eq!(project.run(&[]), 1);
        edit(&mut project);
        assert_eq!(project.run(&[]), 0, "{what}");
        let json = project.pipe(&["run", "p.toml", "--json", "--verify"]);
        assert_eq!(json.count("executed"), 0, "{what}, by content");
    }
}

#[test]
fn a_result_is_the_same_by_way_of_processes() {
    let project = Project::new();
    assert_eq!(project.run(&["--executor", "process"]), 1);
    assert_eq!(project.run(&[]), 0);
    let audit = project.pipe(&["audit", "latest", "--replay"]).stdout;
    assert!(audit.contains("computed again"), "{audit}");
}

#[test]
fn an_audit_judges_by_what_is_declared() {
    let restless = |declared: &str| {
        let project = Project::new();
        project.workspace.write("say.sh", "head -c 8 /dev/urandom | od -x > \"$1\"");
        project.edit("env =", &format!("deterministic = {declared}\nenv ="));
        project.run(&[]);
        let environment = [("PATH", project.path.as_str()), ("FLAVOUR", project.flavour)];
        project.workspace.pipe_with(&["audit", "latest", "--replay"], &environment)
    };
    let judged = restless("true");
    assert_eq!(judged.code, 3, "{}", judged.stdout);
    let judged = restless("false");
    assert_eq!(judged.code, 0, "{}\n{}", judged.stdout, judged.stderr);
    assert!(judged.stdout.contains("deterministic = false"), "{}", judged.stdout);
}

#[test]
fn a_program_may_be_an_input() {
    let workspace = Workspace::new();
    fs::copy("/bin/cat", workspace.path("mycat")).unwrap();
    workspace.write("data.txt", "content");
    workspace.write(
        "p.toml",
        "[stage.say]\nuses = \"command\"\ninputs = { tool = \"mycat\", data = \"data.txt\" }\noutputs = { made = \"made.txt\" }\n\
         params = { run = [\"{tool}\", \"{data}\"] }\n",
    );
    let ran = workspace.pipe(&["run", "p.toml"]);
    // It ran: what it wrote went to the log, and the output is missing.
    assert!(ran.stderr.contains("its output `made` is not there"), "{}", ran.stderr);
    assert_eq!(workspace.pipe_ok(&["logs", "latest", "say"]).stdout.lines().next(), Some("content"));
    let _: PathBuf = workspace.path("mycat");
}
