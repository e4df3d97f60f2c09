//! That a kind's stamp counts all code that it needs: the crate, cut down to what the stamp counts, compiles.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use pipe_stamp::{Code, Kind};
use serde_json::Value;

/// The compiler as cargo calls it for this package, with the crates that it depends on.
struct Compiler {
    libraries: PathBuf,
    /// Crates by the name that code writes.
    externs: BTreeMap<String, PathBuf>,
    features: Vec<String>,
}

static COMPILER: LazyLock<Compiler> = LazyLock::new(Compiler::find);

fn run(command: &mut Command) -> Output {
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

impl Compiler {
    /// Checks the package, which takes nothing where that has been done, and notes what its crates became.
    fn find() -> Self {
        // TARGET/debug/deps/code_closure-…
        let test = std::env::current_exe().unwrap();
        let target = test.ancestors().nth(3).unwrap();
        let check = run(Command::new(env!("CARGO"))
            .args(["check", "--offline", "--lib", "--package=pipe-stages", "--message-format=json"])
            .env("CARGO_TARGET_DIR", target));
        let packages = dependencies();
        let mut compiler = Self { libraries: PathBuf::new(), externs: BTreeMap::new(), features: Vec::new() };
        for line in String::from_utf8(check.stdout).unwrap().lines() {
            let message: Value = serde_json::from_str(line).unwrap();
            if message["reason"] != "compiler-artifact" {
                continue;
            }
            let files = texts(&message["filenames"]);
            let is_checked = files.iter().all(|file| file.ends_with(".rmeta"));
            let is_macro = message["target"]["kind"][0] == "proc-macro";
            // What a build script uses is there as well, compiled in full.
            if !(is_checked || is_macro) {
                continue;
            }
            let file = PathBuf::from(&files[0]);
            if message["target"]["name"] == "pipe_stages" {
                compiler.libraries = file.parent().unwrap().to_path_buf();
                compiler.features = texts(&message["features"]);
            } else if let Some(name) = packages.get(message["package_id"].as_str().unwrap()) {
                compiler.externs.insert(name.clone(), file);
            }
        }
        compiler
    }

    fn compile(&self, source: &str, folder: &Path) -> Result<(), String> {
        let root = folder.join("lib.rs");
        std::fs::write(&root, source).unwrap();
        let mut command = rustc();
        command
            .args(["--crate-name=pipe_stages", "--crate-type=lib", "--edition=2024", "--emit=metadata"])
            .args(["--cap-lints=allow", "--out-dir"])
            .arg(folder)
            .arg(format!("-Ldependency={}", self.libraries.display()))
            .args(self.externs.iter().map(|(name, file)| format!("--extern={name}={}", file.display())))
            .args(self.features.iter().map(|feature| format!("--cfg=feature={feature:?}")))
            .env("OUT_DIR", env!("OUT_DIR"))
            .arg(&root);
        let output = command.output().unwrap();
        let succeeded = output.status.success();
        succeeded.then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The packages that this one depends on, each with the name that code writes.
fn dependencies() -> BTreeMap<String, String> {
    let version = String::from_utf8(run(rustc().arg("-vV")).stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = run(Command::new(env!("CARGO")).args([
        "metadata",
        "--offline",
        "--format-version=1",
        "--filter-platform",
        host,
    ]));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let own =
        metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == "pipe-stages");
    let id = &own.unwrap()["id"];
    let node = metadata["resolve"]["nodes"].as_array().unwrap().iter().find(|node| node["id"] == *id);
    let edges = node.unwrap()["deps"].as_array().unwrap().iter();
    // A dependency that is only for tests has kinds other than the ordinary one, which is null.
    let ordinary =
        edges.filter(|edge| edge["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null()));
    ordinary
        .map(|edge| (edge["pkg"].as_str().unwrap().to_string(), edge["name"].as_str().unwrap().to_string()))
        .collect()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_string()).collect()
}

fn code() -> (Code, Vec<Kind>) {
    let mut code = Code::read(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let kinds = code.kinds(&["src/kinds"]).unwrap();
    assert!(!kinds.is_empty());
    (code, kinds)
}

#[test]
fn the_code_that_a_stamp_counts_is_all_that_a_kind_needs() {
    let (code, kinds) = code();
    for kind in &kinds {
        let folder = tempfile::tempdir().unwrap();
        let source = code.cut_down(kind, None).unwrap();
        if let Err(error) = COMPILER.compile(&source, folder.path()) {
            panic!("the stamp of `{}` leaves out something that it needs:\n{error}", kind.name);
        }
    }
}

/// That the test above can fail.
#[test]
fn a_module_that_is_left_out_is_missed() {
    let (code, kinds) = code();
    for kind in &kinds {
        let stamp = code.stamp(kind, &|_| false).unwrap();
        let computing = |path: &&String| path.starts_with("pipe_stages::") && !path.contains("::kinds::");
        let is_missed = |module: &String| {
            let folder = tempfile::tempdir().unwrap();
            let source = code.cut_down(kind, Some(module)).unwrap();
            COMPILER.compile(&source, folder.path()).is_err()
        };
        assert!(stamp.modules.iter().filter(computing).any(is_missed), "`{}` needs no module", kind.name);
    }
}

#[test]
fn a_kind_is_stamped_without_the_other_kinds() {
    let (code, kinds) = code();
    for kind in &kinds {
        let stamp = code.stamp(kind, &|_| false).unwrap();
        let of_kinds: Vec<_> = stamp.modules.iter().filter(|path| path.contains("::kinds")).collect();
        assert_eq!(of_kinds, [&format!("pipe_stages::kinds::{}", kind.name)]);
        assert!(stamp.modules.iter().any(|path| path == "pipe_plugin::table"), "{:?}", stamp.modules);
        assert!(
            !stamp.modules.iter().any(|path| path.starts_with("pipe_plugin::stage")),
            "{:?}",
            stamp.modules
        );
    }
}
