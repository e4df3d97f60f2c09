//! Environments of packages that a stage names by a lock.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use support::{Ran, Workspace, has_part, wait_until};

/// Makes wheels: `greeting` in two versions, with a program of its own, and `polite`, which needs it.
const WHEELS: &str = r#"
import zipfile
def wheel(name, version, code, needs="", scripts=""):
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": scripts,
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(f"wheels/{name}-{version}-py3-none-any.whl", "w") as file:
        for path, text in [*files.items(), (f"{info}/RECORD", record)]:
            file.writestr(path, text)
for version in ("1.0", "2.0"):
    code = f"import sys\nword = 'greeting {version}'\ndef main():\n    open(sys.argv[1], 'w').write(word + ' by itself')\n"
    wheel("greeting", version, code, scripts="[console_scripts]\ngreet = greeting:main\n")
wheel("polite", "1.0", "", needs="Requires-Dist: greeting>=1\n")
"#;

const MANIFEST: &str = r#"
[stage.greet]
uses = "command"
venv = "requirements.txt"
inputs = { script = "greet.py", rows = "rows.csv" }
each = { rows = "rows" }
outputs = { made = "*.txt" }
params = { run = ["python3", "{script}", "{out.made}", "{row.pid}"] }

[stage.itself]
uses = "command"
venv = "requirements.txt"
outputs = { made = "made.txt" }
params = { run = ["greet", "{out.made}"] }
"#;

struct Project(Workspace);

impl Project {
    /// None where Python cannot make environments.
    fn new() -> Option<Self> {
        let found = Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
        let is_there = found.is_ok_and(|output| output.status.success());
        if !has_part("python", is_there, "environments of Python packages") {
            return None;
        }
        let workspace = Workspace::new();
        workspace.write("p.toml", MANIFEST);
        workspace.write("rows.csv", "pid\na\nb\nc\n");
        workspace.write("greet.py", "import sys, greeting\nopen(sys.argv[1], 'w').write(greeting.word)\n");
        fs::create_dir(workspace.path("wheels")).unwrap();
        let made =
            Command::new("python3").args(["-c", WHEELS]).current_dir(workspace.path("")).status().unwrap();
        assert!(made.success());
        let project = Self(workspace);
        project.lock(&["greeting==1.0"]);
        Some(project)
    }

    fn lock(&self, packages: &[&str]) {
        let wheels = self.0.path("wheels");
        let lock = format!("--no-index\n--find-links {}\n{}\n", wheels.display(), packages.join("\n"));
        self.0.write("requirements.txt", lock);
    }

    fn executed(&self, more: &[&str]) -> Vec<String> {
        let ran = self.run(more);
        assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
        ran.executed()
    }

    fn run(&self, more: &[&str]) -> Ran {
        self.0.pipe(&[&["run", "p.toml", "--json"], more].concat())
    }

    fn made(&self, artifact: &str, file: &str) -> String {
        let _ = fs::remove_dir_all(self.0.path("copied"));
        self.0.pipe_ok(&["get", "latest", artifact, "--to", "copied"]);
        self.0.read(&format!("copied/{file}"))
    }

    /// The environments that are whole.
    fn environments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.path(".pipe/environments")).into_iter().flatten().flatten();
        let marks = entries.map(|entry| entry.path());
        let mut found: Vec<PathBuf> = marks
            .filter(|path| path.extension().is_some_and(|extension| extension == "made"))
            .map(|path| path.with_extension(""))
            .collect();
        found.sort();
        found
    }
}

#[test]
fn an_environment_is_made_once_and_counts_by_its_lock() {
    let Some(project) = Project::new() else { return };
    assert_eq!(project.executed(&["--jobs", "4"]), ["greet", "itself"]);
    assert_eq!(project.made("greet.made", "b.txt"), "greeting 1.0");
    assert_eq!(project.made("itself.made", "made.txt"), "greeting 1.0 by itself");
    let [environment] = &*project.environments() else { panic!("one environment for both") };
    // It lies in the cache and is known again in a process of its own.
    let modified = || fs::metadata(environment.join("pyvenv.cfg")).unwrap().modified().unwrap();
    let first = modified();
    assert_eq!(project.executed(&["--force", "greet", "--executor", "process"]), ["greet"]);
    assert_eq!(modified(), first);
    assert!(project.executed(&[]).is_empty());
    // Another lock is another environment; the former one's results are still known.
    project.lock(&["greeting==2.0"]);
    let plan = project.0.pipe_ok(&["plan", "p.toml"]).stdout;
    assert!(plan.contains("input venv changed"), "{plan}");
    assert_eq!(project.environments().len(), 1, "a plan makes nothing");
    assert_eq!(project.executed(&[]), ["greet", "itself"]);
    assert_eq!(project.made("greet.made", "b.txt"), "greeting 2.0");
    assert_eq!(project.environments().len(), 2);
    project.lock(&["greeting==1.0"]);
    assert!(project.executed(&[]).is_empty());
    let audit = project.0.pipe_ok(&["audit", "--replay"]).stdout;
    assert!(audit.contains("level: computed again"), "{audit}");
    // It goes when no kept run may have used it.
    project.0.pipe_ok(&["gc", "--keep-runs", "9", "--grace", "0"]);
    assert_eq!(project.environments().len(), 2);
    let told = project.0.pipe_ok(&["gc", "--keep-runs", "0", "--grace", "0"]).stdout;
    assert!(project.environments().is_empty() && told.contains("2 environments"), "{told}");
    assert!(!environment.exists());
}

#[test]
fn a_broken_environment_is_made_again() {
    let Some(project) = Project::new() else { return };
    project.executed(&[]);
    let environment = project.environments().remove(0);
    let find = |name: &str| {
        let mut folders = vec![environment.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.ends_with(name) {
                    return path;
                }
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                }
            }
        }
        panic!("no {name}");
    };
    fs::remove_file(find("greeting.py")).unwrap();
    assert_eq!(project.executed(&["--force", "greet"]), ["greet"]);
    fs::write(find("greeting.py"), "word = 'something else'").unwrap();
    assert_eq!(project.executed(&["--force", "greet"]), ["greet"]);
    assert_eq!(project.made("greet.made", "a.txt"), "greeting 1.0");
}

#[test]
fn an_environment_that_was_begun_is_made_anew() {
    let Some(project) = Project::new() else { return };
    for at in ["pyvenv.cfg", "bin/pip", "bin/greet"] {
        let mut child = project.0.start(&["run", "p.toml", "--quiet"]);
        let folder = project.0.path(".pipe/environments");
        wait_until(Duration::from_secs(60), at, || {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).any(|path| path.is_dir() && path.join(at).exists())
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(project.executed(&[]), ["greet", "itself"]);
    assert_eq!(project.made("itself.made", "made.txt"), "greeting 1.0 by itself");
}

#[test]
fn what_is_no_whole_lock_is_refused_and_nothing_is_left() {
    let Some(project) = Project::new() else { return };
    project.lock(&["greeting>=1.0"]);
    for command in ["check", "plan", "run"] {
        let ran = project.0.pipe(&[command, "p.toml"]);
        let told = "line 3: `greeting>=1.0` does not say one version";
        assert!(ran.code == 2 && ran.stderr.contains(told), "{command}: {}{}", ran.stdout, ran.stderr);
    }
    for (packages, told) in [
        (&["polite==1.0"][..], "polite 1.0 requires greeting, which is not installed"),
        (&["greeting==3.0"], "No matching distribution found for greeting==3.0"),
    ] {
        project.lock(packages);
        let ran = project.run(&[]);
        assert!(ran.code == 1 && ran.stdout.contains(told), "{packages:?}: {}", ran.stdout);
        assert!(project.environments().is_empty());
    }
    project.lock(&["polite==1.0", "greeting==2.0"]);
    project.executed(&[]);
    project.0.write("p.toml", MANIFEST.replace("[\"greet\"", "[\"cp\", \"/etc/hostname\""));
    let ran = project.run(&[]);
    assert!(ran.stdout.contains("the stage's environment has no program `cp`"), "{}", ran.stdout);
    project.0.write("p.toml", MANIFEST.replace("[\"greet\"", "[\"nosuch\", \"x\""));
    let ran = project.run(&[]);
    assert!(ran.stdout.contains("the stage's environment has no program `nosuch`"), "{}", ran.stdout);
    let more = |words: &str| MANIFEST.replacen("venv =", &format!("{words}\nvenv ="), 1);
    for (words, told) in [
        ("tools = [\"python3 --version\"]", "`tools` are asked on the machine"),
        ("container = \"greet.py\"", "its software by `container` and by `venv`"),
        ("conda = \"greet.py\"", "its software by `venv` and by `conda`"),
    ] {
        project.0.write("p.toml", more(words));
        let ran = project.0.pipe(&["check", "p.toml"]);
        assert!(ran.code == 2 && ran.stderr.contains(told), "{words}: {}", ran.stderr);
    }
}

/// A Python elsewhere than in the system's folders leads an environment there: links to it must hold, whatever begins.
#[test]
fn an_environments_python_is_the_one_that_runs() {
    let Some(project) = Project::new() else { return };
    let python = fs::canonicalize("/usr/bin/python3");
    let python = python.or_else(|_| fs::canonicalize("/usr/local/bin/python3")).unwrap();
    fs::create_dir_all(project.0.path("own/bin")).unwrap();
    std::os::unix::fs::symlink(python, project.0.path("own/bin/python3")).unwrap();
    let path = format!("{}:/usr/bin:/bin", project.0.path("own/bin").display());
    project.0.write("tell.py", "import sys, greeting\nopen(sys.argv[1], 'w').write(sys.prefix)\n");
    let stage = |name: &str, params: &str| {
        format!(
            "[stage.{name}]\nuses = \"command\"\nvenv = \"requirements.txt\"\ninputs = {{ script = \"tell.py\" }}\n\
             outputs = {{ made = \"made.txt\" }}\nparams = {{ {params} }}\n"
        )
    };
    let script = stage("script", r#"shell = "python3 {script} {out.made}""#);
    let console = stage("console", r#"shell = "greet {out.made}; test -s {script}""#);
    project.0.write("p.toml", script + &console);
    let ran = project.0.pipe_with(&["run", "p.toml", "--json"], &[("PATH", &path)]);
    assert_eq!((ran.code, ran.count("executed")), (0, 2), "{}", ran.stdout);
    assert!(project.made("script.made", "made.txt").ends_with(project.environments()[0].to_str().unwrap()));
}

#[test]
fn what_pip_is_told_elsewhere_decides_nothing() {
    let Some(project) = Project::new() else { return };
    let at = |name: &str| project.0.path(name).display().to_string();
    let variables =
        [("PIP_DRY_RUN", "1"), ("PIP_ROOT", &at("root")), ("PIP_USER", "1"), ("PIP_TARGET", &at("target"))];
    let ran = project.0.pipe_with(&["run", "p.toml", "--json"], &variables);
    assert_eq!((ran.code, ran.count("executed")), (0, 2), "{}", ran.stdout);
    // A file of pip's may say where packages come from, and more. What it leads elsewhere is not taken for installed.
    project.lock(&["greeting==2.0"]);
    project.0.write("pip.conf", format!("[install]\ntarget = {}\n", at("target")));
    let ran = project.0.pipe_with(&["run", "p.toml", "--json"], &[("PIP_CONFIG_FILE", &at("pip.conf"))]);
    assert!(ran.code == 1 && ran.stdout.contains("not in the environment: greeting"), "{}", ran.stdout);
    assert_eq!(project.environments().len(), 1, "none is marked as whole");
    assert_eq!(project.executed(&[]), ["greet", "itself"]);
}

#[test]
fn a_shared_cache_keeps_its_programs() {
    let Some(project) = Project::new() else { return };
    project.executed(&[]);
    project.0.pipe_ok(&["cache", "share"]);
    let claims = fs::read_dir(project.0.path(".pipe/environments")).unwrap().flatten();
    let modes: Vec<u32> = claims
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "claim"))
        .map(|entry| entry.metadata().unwrap().permissions().mode() & 0o777)
        .collect();
    assert_eq!(modes, [0o660]);
    let environment = project.environments().remove(0);
    let modified = || fs::metadata(environment.join("pyvenv.cfg")).unwrap().modified().unwrap();
    let first = modified();
    assert_eq!(project.executed(&["--force", "itself"]), ["itself"]);
    assert_eq!(modified(), first);
    // One that is made later is the group's, too.
    project.lock(&["greeting==2.0"]);
    project.executed(&[]);
    for environment in project.environments() {
        let mode = |name: &str| fs::metadata(environment.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("bin/greet"), mode("pyvenv.cfg")), (0o770, 0o660));
    }
}

/// Installs a program that tells the lock which it was given.
const MICROMAMBA: &str = r#"#!/bin/bash
while [ "$1" != --prefix ]; do shift; done
prefix=$2; lock=$4
# As the real one does of what is no environment.
[ -e "$prefix" ] && { echo "Non-conda folder exists at prefix" >&2; exit 1; }
mkdir -p "$prefix/bin" "$prefix/conda-meta"
printf '#!/bin/bash\necho "%s" > "$1"\n' "$(tail -n 1 "$lock")" > "$prefix/bin/hello"
chmod +x "$prefix/bin/hello"
"#;

/// By a stand-in for micromamba: conda's own programs are not at hand where the tests run.
#[test]
fn conda_installs_what_its_lock_names() {
    let workspace = Workspace::new();
    workspace.write(
        "p.toml",
        r#"
[stage.hello]
uses = "command"
conda = "environment.lock"
outputs = { made = "made.txt" }
params = { run = ["hello", "{out.made}"] }
"#,
    );
    let lock = "@EXPLICIT\nhttps://c.example/hello-1-0.conda#0123456789abcdef0123456789abcdef\n";
    workspace.write("environment.lock", lock);
    let path = format!("{}:/usr/bin:/bin", workspace.path("bin").display());
    let run = || workspace.pipe_with(&["run", "p.toml", "--json"], &[("PATH", &path)]);
    let ran = run();
    assert!(ran.code == 1 && ran.stdout.contains("no micromamba, mamba or conda on PATH"), "{}", ran.stdout);
    workspace.write("bin/micromamba", MICROMAMBA);
    fs::set_permissions(workspace.path("bin/micromamba"), fs::Permissions::from_mode(0o755)).unwrap();
    for lock in [lock.to_string(), lock.replace("hello-1", "hello-2")] {
        workspace.write("environment.lock", &lock);
        let ran = run();
        assert_eq!((ran.code, ran.executed()), (0, vec!["hello".to_string()]), "{}", ran.stderr);
        let _ = fs::remove_dir_all(workspace.path("copied"));
        workspace.pipe_ok(&["get", "latest", "hello.made", "--to", "copied"]);
        assert_eq!(workspace.read("copied/made.txt").trim(), lock.lines().last().unwrap());
        assert_eq!(run().count("executed"), 0);
    }
}
