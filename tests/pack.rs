//! `pipe pack`: a run in one file, audited where neither its cache nor its project is.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;

use serde_json::Value;
use support::{Ran, Workspace};

const PIPELINE: &str = "[stage.report]\ninputs = { dataset = \"nodules.csv\", dir = \"texts\" }\n\
                        [stage.text-encode]\ninputs = { reports = \"@report\" }\n\
                        [stage.other]\nuses = \"phantom\"\nparams = { patients = 2, shape = [72, 72, 36] }\n\
                        [stage.crop]\nparams = { size_mm = 60 }\ninputs = { dataset = \"@other\" }\n\
                        [stage.slice]\ninputs = { volumes = \"@crop\" }\n";

fn workspace() -> Workspace {
    let workspace = Workspace::with_reports(PIPELINE);
    workspace.pipe_ok(&["run", "p.toml"]);
    // Known from here on: what the first run computed is packed, too.
    workspace.pipe_ok(&["run", "p.toml"]);
    workspace
}

/// An audit in a place where there is nothing but the pack.
fn audit(elsewhere: &Workspace, more: &[&str]) -> Ran {
    elsewhere.pipe(&[&["audit", "run.tar"], more].concat())
}

fn texts(values: &Value) -> Vec<String> {
    values.as_array().unwrap().iter().map(|one| one["text"].as_str().unwrap().to_string()).collect()
}

#[test]
fn a_pack_has_the_same_bytes_each_time_and_is_audited_anywhere() {
    let workspace = workspace();
    let told = workspace.pipe_ok(&["pack", "latest", "--to", "one.tar"]).stdout;
    assert!(told.contains("3 small input files"), "{told}");
    workspace.pipe_ok(&["pack", "latest", "--to", "two.tar"]);
    let pack = fs::read(workspace.path("one.tar")).unwrap();
    assert!(pack == fs::read(workspace.path("two.tar")).unwrap());
    let elsewhere = Workspace::new();
    elsewhere.write("run.tar", &pack);
    let project = workspace.path("");
    drop(workspace);
    assert!(!project.exists());
    let ran = audit(&elsewhere, &["--json"]);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, texts(&told["findings"])), (0, Vec::new()), "{}", ran.stdout);
    let notes = texts(&told["notes"]);
    assert!(notes.iter().any(|note| note.contains("tells their digests only")), "{notes:?}");
    // Small inputs are in it, so that what is made of these alone is bound and computed again.
    let ran = audit(&elsewhere, &["--replay", "report", "text-encode", "other"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout.matches("identical").count(), 3, "{}", ran.stdout);
    assert!(!elsewhere.path(".pipe").exists());
}

#[test]
fn what_is_left_out_is_computed_again_from_the_inputs() {
    let workspace = workspace();
    workspace.pipe_ok(&["pack", "latest", "--to", "none.tar", "--outputs", "none"]);
    workspace.pipe_ok(&["pack", "latest", "--to", "all.tar", "--outputs", "all"]);
    let elsewhere = Workspace::new();
    for (pack, has_all) in [("none.tar", false), ("all.tar", true)] {
        fs::copy(workspace.path(pack), elsewhere.path("run.tar")).unwrap();
        let ran = audit(&elsewhere, &["--replay", "--root", workspace.path("").to_str().unwrap()]);
        assert_eq!(ran.code, 0, "{pack}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("level: computed again. Results of 5 instances"), "{}", ran.stdout);
        assert_eq!(ran.stdout.contains("not in the pack"), !has_all, "{}", ran.stdout);
    }
    // Other inputs than those that were used.
    workspace.write("texts/2_1.txt", "Findings: two.\n\nImpression: third.\n");
    let ran = audit(&elsewhere, &["--root", workspace.path("").to_str().unwrap()]);
    assert!(
        ran.code == 3 && ran.stdout.contains("report: items changed (2_1: dir changed)"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_changed_byte_anywhere_in_a_pack_is_found() {
    let workspace = workspace();
    workspace.pipe_ok(&["pack", "latest", "--to", "run.tar"]);
    let elsewhere = Workspace::new();
    let pack = fs::read(workspace.path("run.tar")).unwrap();
    // Names, headers, bytes and what fills blocks.
    let places =
        (0..pack.len()).step_by(pack.len() / 150).chain([0, 100, 124, 148, 300, 511, pack.len() - 1]);
    for place in places {
        let mut changed = pack.clone();
        changed[place] ^= 1;
        elsewhere.write("run.tar", &changed);
        let ran = audit(&elsewhere, &[]);
        // Where it does not begin as a pack any more, it is a file of which nobody here knows.
        let is_found = ran.code == 3 || (place < 100 && ran.code == 2);
        assert!(is_found, "byte {place}: {}{}", ran.stdout, ran.stderr);
    }
    for changed in [&pack[..pack.len() / 2], &[pack.as_slice(), b"more"].concat()] {
        elsewhere.write("run.tar", changed);
        assert_eq!(audit(&elsewhere, &[]).code, 3);
    }
}

/// Gives the entry at a place in an archive another name.
fn rename(archive: &mut [u8], at: usize, name: &str) {
    archive[at..at + 100].fill(0);
    archive[at..at + name.len()].copy_from_slice(name.as_bytes());
    archive[at + 148..at + 156].fill(b' ');
    let sum: u32 = archive[at..at + 512].iter().map(|byte| u32::from(*byte)).sum();
    archive[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn names_that_lead_out_of_a_pack_are_refused() {
    let workspace = workspace();
    workspace.pipe_ok(&["pack", "latest", "--to", "run.tar"]);
    let pack = fs::read(workspace.path("run.tar")).unwrap();
    let second = 1024;
    assert!(pack[second..].starts_with(b"blobs/"));
    let outside = tempfile::tempdir().unwrap();
    let absolute = outside.path().join("x").display().to_string();
    for name in ["inputs/../../../../escaped", "runs/../../escaped", absolute.as_str(), "unknown/x"] {
        let mut changed = pack.clone();
        rename(&mut changed, second, name);
        let elsewhere = Workspace::new();
        elsewhere.write("run.tar", changed);
        let ran = audit(&elsewhere, &[]);
        assert_eq!(ran.code, 3, "{name}: {}{}", ran.stdout, ran.stderr);
        assert!(!outside.path().join("x").exists());
    }
}
