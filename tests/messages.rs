//! Every message about a wrong manifest or table, as a user reads it. The wrong files are in `tests/invalid`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;

use support::Workspace;

fn invalid_manifests() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invalid");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_string())
        .filter(|name| name != "unreadable_scan")
        .collect();
    names.sort();
    names
}

#[test]
fn each_wrong_manifest_is_refused_before_any_work() {
    let workspace = Workspace::new();
    workspace.copy("tests/invalid", ".");
    for name in invalid_manifests() {
        let manifest = format!("{name}.toml");
        let checked = workspace.pipe(&["check", &manifest]);
        assert_eq!((checked.code, checked.stdout.as_str()), (2, ""), "{name}: {}", checked.stderr);
        insta::with_settings!({snapshot_suffix => name.clone(), description => manifest.clone(), omit_expression => true}, {
            insta::assert_snapshot!(checked.stderr);
        });
        let ran = workspace.pipe(&["run", &manifest]);
        assert_eq!((ran.code, &ran.stderr), (2, &checked.stderr), "{name}: run and check disagree");
        assert!(!workspace.path(".pipe/runs").exists(), "{name}: a run was begun");
    }
}

#[test]
fn a_scan_that_cannot_be_read_fails_its_row() {
    let workspace = Workspace::new();
    workspace.copy("tests/invalid", ".");
    let ran = workspace.pipe(&["run", "unreadable_scan.toml", "--json"]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let failed = ran.stdout.lines().find(|line| line.contains("stage-failed")).unwrap();
    assert!(failed.contains("tables/good.csv:2"), "{failed}");
    assert!(failed.contains("a.nii.gz"), "{failed}");
}

#[test]
fn a_wrong_override_is_told_with_what_was_typed() {
    let workspace = Workspace::new();
    workspace.write(
        "pipeline.toml",
        "[vars]\nrows = \"a.csv\"\n[stage.split]\ninputs = { dataset = \"${rows}\" }\n",
    );
    let arguments =
        ["check", "pipeline.toml", "--set", "split.n_split=3", "--set", "row=b.csv", "--set", "spilt.x=1"];
    let ran = workspace.pipe(&arguments);
    assert_eq!(ran.code, 2);
    insta::assert_snapshot!(ran.stderr);
}

#[test]
fn unknown_names_on_the_command_line() {
    let workspace = Workspace::new();
    workspace.copy("tests/invalid", ".");
    for (arguments, code, message) in [
        (&["run", "unreadable_scan.toml", "--only", "corp"][..], 2, "there is no stage `corp`; stages: crop"),
        (&["plan", "unreadable_scan.toml", "--force", "corp"], 2, "there is no stage `corp`; stages: crop"),
        (&["run", "unreadable_scan.toml", "--device", "cuda"], 2, "this build of pipe has no CUDA support"),
        (&["run", "unreadable_scan.toml", "--executor", "slurm"], 2, "the Slurm executor is not built yet"),
        (&["run", "nowhere.toml"], 2, "cannot read the manifest nowhere.toml"),
        (&["stages", "corp"], 2, "there is no kind `corp`"),
        (&["get", "unreadable_scan.toml", "crop", "--to", "out"], 1, "crop is not computed"),
        (&["get", "unreadable_scan.toml", "corp", "--to", "out"], 2, "there is no stage `corp`"),
        (&["show", "20200101"], 2, "there is no run `20200101`"),
        (&["run", "unreadable_scan.toml", "--profile", "fast"], 2, "unknown profile `fast`"),
        (&["run"], 2, "required arguments"),
    ] {
        let ran = workspace.pipe(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn commands_without_a_cache_say_so() {
    let workspace = Workspace::new();
    for command in [&["runs"][..], &["show"]] {
        let ran = workspace.pipe(command);
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.contains("there is no cache in [HERE] or above it"), "{}", ran.stderr);
    }
}

/// `/dev/full` takes no byte: a disk without room.
#[cfg(target_os = "linux")]
#[test]
fn output_that_is_lost_is_an_error() {
    for arguments in [&["stages"][..], &["completions", "bash"], &["schema"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pipe"));
        let output = command.args(arguments).stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(told.starts_with("error: cannot write on stdout: "), "{arguments:?}: {told}");
    }
}
