//! That a kind's stamp counts all code that it needs: its crate and those beside it, cut down to what the stamp counts,
//! compile.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use pipe_stamp::{Code, Cut, Kind};
use serde_json::Value;

/// The compiler as cargo calls it for this package, with the crates that it depends on.
struct Compiler {
    libraries: PathBuf,
    /// Crates by the name that code writes.
    externs: BTreeMap<String, PathBuf>,
    /// The features of the packages beside, by library.
    features: BTreeMap<String, Vec<String>>,
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
        let mut compiler =
            Self { libraries: PathBuf::new(), externs: BTreeMap::new(), features: BTreeMap::new() };
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
            let library = message["target"]["name"].as_str().unwrap().to_string();
            if library == "pipe_stages" {
                compiler.libraries = file.parent().unwrap().to_path_buf();
            }
            if library.starts_with("pipe_") {
                compiler.features.insert(library, texts(&message["features"]));
            }
            if let Some(name) = packages.get(message["package_id"].as_str().unwrap()) {
                compiler.externs.insert(name.clone(), file);
            }
        }
        compiler
    }

    /// Compiles crates that are cut down, each with those before it.
    fn compile(&self, cuts: &[Cut], folder: &Path) -> Result<(), String> {
        let mut externs = self.externs.clone();
        // First what is cut down, and the whole of the others.
        let mut libraries: Vec<PathBuf> = vec![self.libraries.clone()];
        for Cut { library, source } in cuts {
            let folder = folder.join(library);
            std::fs::create_dir(&folder).unwrap();
            let root = folder.join("lib.rs");
            std::fs::write(&root, source).unwrap();
            let mut command = rustc();
            command
                .args([
                    "--crate-type=lib",
                    "--edition=2024",
                    "--emit=metadata",
                    "--cap-lints=allow",
                    "--out-dir",
                ])
                .arg(&folder)
                .arg(format!("--crate-name={library}"))
                .args(libraries.iter().map(|folder| format!("-Ldependency={}", folder.display())))
                .args(externs.iter().map(|(name, file)| format!("--extern={name}={}", file.display())))
                .args(self.features[library].iter().map(|feature| format!("--cfg=feature={feature:?}")))
                .env("OUT_DIR", env!("OUT_DIR"))
                .arg(&root);
            let output = command.output().unwrap();
            if !output.status.success() {
                return Err(format!("{library}: {}", String::from_utf8_lossy(&output.stderr)));
            }
            libraries.insert(0, folder.clone());
            externs.insert(library.clone(), folder.join(format!("lib{library}.rmeta")));
        }
        Ok(())
    }
}

/// The packages that this one and those beside it depend on, each with the name that code writes.
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
    let is_beside = |package: &&Value| package["name"].as_str().unwrap().starts_with("pipe-");
    let packages = metadata["packages"].as_array().unwrap().iter().filter(is_beside);
    let ids: Vec<&Value> = packages.map(|package| &package["id"]).collect();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap().iter();
    let edges =
        nodes.filter(|node| ids.contains(&&node["id"])).flat_map(|node| node["deps"].as_array().unwrap());
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
        let cuts = code.cut_down(kind, None).unwrap();
        if let Err(error) = COMPILER.compile(&cuts, folder.path()) {
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
        let libraries: Vec<String> =
            code.cut_down(kind, None).unwrap().into_iter().map(|cut| cut.library).collect();
        let is_missed = |module: &String| {
            let folder = tempfile::tempdir().unwrap();
            let cuts = code.cut_down(kind, Some(module)).unwrap();
            COMPILER.compile(&cuts, folder.path()).is_err()
        };
        for library in libraries {
            let within = format!("{library}::");
            let computing = |path: &&String| path.starts_with(&within) && !path.contains("::kinds::");
            let mut modules = stamp.modules.iter().filter(computing).peekable();
            let is_empty = modules.peek().is_none();
            assert!(is_empty || modules.any(is_missed), "`{}` needs no module of {library}", kind.name);
        }
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
