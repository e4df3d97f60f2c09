//! What a run tells people and programs while it goes on, and when it cannot.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use serde_json::Value;
use support::{Ran, Workspace};

const STAGES: &str = "[stage.report]\ninputs = { dataset = \"nodules.csv\" }\n\
                      [stage.text-encode]\ninputs = { reports = \"@report\" }\n";

fn workspace() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("nodules.csv", "pid,nodule_id,margin\n1,1,Poorly defined\n2,1,Sharp\n");
    workspace.write("p.toml", STAGES);
    workspace
}

/// A pipeline whose first stage fails.
fn failing() -> Workspace {
    let workspace = workspace();
    workspace.write("x.nii", "no scan");
    workspace.write(
        "scans.csv",
        "pid,nodule_id,image_path,coordX,coordY,coordZ\n1,1,x.nii,0,0,0\n2,1,x.nii,0,0,0\n",
    );
    workspace.write(
        "p.toml",
        "[stage.crop]\ninputs = { dataset = \"scans.csv\" }\n[stage.slice]\ninputs = { volumes = \"@crop\" }\n\
         [stage.again]\nuses = \"slice\"\ninputs = { volumes = \"@crop\" }\n",
    );
    workspace
}

fn lines(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().collect()
}

fn events(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn off_a_terminal_stages_are_told_when_they_begin_and_end() {
    let workspace = workspace();
    let told = workspace.pipe_ok(&["run", "p.toml", "--jobs", "1"]);
    let told = lines(&told);
    let has = |start: &str, end: &str| told.iter().any(|line| line.starts_with(start) && line.ends_with(end));
    assert!(has("  report: begun, 2 items", "2 items"), "{told:?}");
    assert!(has("  report: 2 items, ", " s (1 of 2)"), "{told:?}");
    assert!(has("  text-encode: ", " s (2 of 2)"), "{told:?}");
    let again = workspace.pipe_ok(&["run", "p.toml"]);
    assert!(!again.stderr.contains("known from run"), "{}", again.stderr);
    let verbose = workspace.pipe_ok(&["run", "p.toml", "-v"]);
    assert!(verbose.stderr.contains("  text-encode: known from run 20"), "{}", verbose.stderr);
    assert_eq!(workspace.pipe(&["run", "p.toml", "-v", "-q"]).code, 2);
}

#[test]
fn an_epoch_is_a_line() {
    let workspace = Workspace::with_training(2);
    let told = workspace.pipe_ok(&["run", "p.toml"]);
    let epochs = lines(&told).iter().filter(|line| line.starts_with("  train: epoch ")).count();
    assert_eq!(epochs, 2, "{}", told.stderr);
}

#[test]
fn quiet_runs_tell_errors_warnings_and_results() {
    let workspace = workspace();
    let ran = workspace.pipe_ok(&["run", "p.toml", "-q"]);
    assert_eq!((ran.stderr.as_str(), ran.stdout.as_str()), ("", ""));
    let ran = failing().pipe(&["run", "p.toml", "-q"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.starts_with("2 stages were not run\nerror: crop failed: "), "{}", ran.stderr);
}

#[test]
fn a_failing_run_ends_with_the_error_that_it_failed_of() {
    let ran = failing().pipe(&["run", "p.toml"]);
    let told = lines(&ran);
    let position = |start: &str| {
        told.iter().position(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{told:?}"))
    };
    let (summary, rest, error) =
        (position("failed: "), position("2 stages were not run"), position("error: crop failed: "));
    assert!(summary < rest && rest + 1 == error, "{told:?}");
    assert!(told[error].contains("scans.csv:2"), "{told:?}");
    assert!(told.last().unwrap().starts_with("  log: [HERE]/"), "{told:?}");
    assert!(!told.iter().any(|line| line.contains("was not run")), "{told:?}");
}

#[test]
fn programs_are_told_why_a_run_was_refused() {
    let workspace = workspace();
    workspace.write("p.toml", STAGES.replace("nodules.csv", "nowhere.csv"));
    let ran = workspace.pipe(&["run", "p.toml", "--json"]);
    assert_eq!(ran.code, 2);
    let told = events(&ran);
    let [refused, finished] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&refused["event"], &finished["event"]), (&"refused".into(), &"finished".into()));
    assert_eq!((&finished["status"], &finished["run"]), (&"refused".into(), &Value::Null));
    let [problem] = refused["problems"].as_array().unwrap().as_slice() else { panic!("{refused}") };
    assert_eq!(problem["code"], "missing-file");
    assert!(problem["place"].as_str().unwrap().ends_with("p.toml:2"), "{problem}");
    assert!(
        problem["message"].as_str().unwrap().contains("nowhere.csv") && problem["help"].is_string(),
        "{problem}"
    );
    let ran = workspace.pipe(&["run", "p.toml", "--json", "--executor", "slurm"]);
    assert!(
        events(&ran)[0]["problems"][0]["message"].as_str().unwrap().contains("not built yet"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_file_that_lies_where_the_command_was_started_is_pointed_at() {
    let workspace = workspace();
    workspace.write("sub/p.toml", STAGES);
    let ran = workspace.pipe(&["check", "sub/p.toml"]);
    assert_eq!(ran.code, 2);
    let told = ran.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(
        told.contains("there is no table (CSV file) nodules.csv in [HERE]/sub; there is one in"),
        "{told}"
    );
}

/// Builds without debug assertions do not panic on demand.
#[cfg(debug_assertions)]
#[test]
fn a_panic_is_told_with_its_place_and_backtrace() {
    let workspace = workspace();
    let backtrace_of = |ran: &Ran| -> String {
        let (_, rest) =
            ran.stderr.split_once("with the backtrace in ").unwrap_or_else(|| panic!("{}", ran.stderr));
        let path = rest.lines().next().unwrap().replace("[HERE]", workspace.path("").to_str().unwrap());
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let stage = workspace.pipe_with(&["run", "p.toml"], &[("PIPE_PANIC", "stage")]);
    assert_eq!(stage.code, 1, "{}", stage.stderr);
    let expected = "error: report failed: the stage's code panicked at cli/src/panics.rs:";
    assert!(stage.stderr.contains(expected), "{}", stage.stderr);
    assert!(stage.stderr.contains("logs/panic-0.txt"), "{}", stage.stderr);
    assert!(backtrace_of(&stage).contains("a panic on demand"));
    let temporary = workspace.path("").display().to_string();
    let command = workspace.pipe_with(&["runs"], &[("PIPE_PANIC", "command"), ("TMPDIR", &temporary)]);
    assert_eq!(command.code, 101, "{}", command.stderr);
    assert!(
        command.stderr.starts_with("error: pipe itself went wrong at cli/src/panics.rs:"),
        "{}",
        command.stderr
    );
    assert!(backtrace_of(&command).contains("a panic on demand"));
}
