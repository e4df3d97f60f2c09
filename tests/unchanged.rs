//! A run that finds everything as an earlier one left it reads no input, tells the same as one that does, and misses
//! nothing that has changed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Ran, Workspace};

const BASE: &str = "[profile.other]\n\"report.stream\" = \"z\"\n\
                    [stage.report]\ninputs = { dataset = \"nodules.csv\", dir = \"texts\" }\npublish = \"out\"\n\
                    [stage.text-encode]\ninputs = { reports = \"@report\" }\n";

fn workspace() -> Workspace {
    let workspace = Workspace::with_reports("extends = \"base.toml\"\n");
    workspace.write("base.toml", BASE);
    workspace
}

/// Lets the clock's grain pass, and runs until there is nothing to do and the next run sees it without reading inputs.
fn settle(workspace: &Workspace, arguments: &[&str]) {
    std::thread::sleep(std::time::Duration::from_millis(80));
    workspace.run(arguments);
    std::thread::sleep(std::time::Duration::from_millis(80));
    assert_eq!(workspace.run(arguments).count("executed"), 0);
    assert_eq!(workspace.run(arguments).count("executed"), 0);
}

/// What a run told, without what differs each time.
fn told(ran: &Ran) -> Vec<Value> {
    let lines = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut events: Vec<Value> = lines.collect();
    for event in &mut events {
        for name in ["run", "seconds"] {
            event.as_object_mut().unwrap().remove(name);
        }
    }
    events.sort_by_key(Value::to_string);
    events
}

/// A workspace whose models are evaluated, with more inputs of the evaluation.
fn evaluated(inputs: &str) -> Workspace {
    let workspace = Workspace::with_two_folds(10);
    let manifest = workspace.read("p.toml");
    let evaluate = format!(
        "[stage.evaluate]\npublish = \"results\"\nparams = {{ draws = 20 }}\n\
         inputs = {{ dataset = \"@other\", slices = \"@other-slice\", models = \"@train\", \
         calibrators = \"@calibrate\", weights = \"random\"{inputs} }}\n"
    );
    workspace.write("p.toml", manifest + &evaluate);
    workspace
}

#[test]
fn it_tells_the_same_as_a_run_that_reads_each_input() {
    let workspace = evaluated("");
    workspace.run(&[]);
    std::thread::sleep(std::time::Duration::from_millis(80));
    workspace.run(&[]);
    let (short, long) = (workspace.run(&[]), workspace.run(&["--verify"]));
    assert_eq!(told(&short), told(&long));
    assert!(told(&short).iter().any(|event| event["event"] == "headline"));
    let shown = |ran: &Ran| {
        let run = ran.finished()["run"].as_str().unwrap().to_owned();
        let text = workspace.pipe_ok(&["show", &run]).stdout;
        let (_, instances) = text.split_once("\n\n").unwrap();
        // The time that looking took differs.
        let is_time = |word: &&str| word.contains('.') && word.parse::<f64>().is_ok();
        let words =
            |line: &str| line.split_whitespace().filter(|word| !is_time(word)).collect::<Vec<_>>().join(" ");
        // Those that are read end side by side.
        let mut lines: Vec<String> = instances.lines().map(words).collect();
        lines.sort();
        lines
    };
    assert_eq!(shown(&short), shown(&long));
    assert_eq!(
        workspace.pipe_ok(&["run", "p.toml"]).stdout,
        workspace.pipe_ok(&["run", "p.toml", "--verify"]).stdout
    );
    let plan = workspace.pipe_ok(&["plan", "p.toml", "--set", "evaluate.draws=30"]);
    assert!(plan.stdout.contains("evaluate.draws"), "{}", plan.stdout);
}

/// All files below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn whatever_has_changed_is_looked_at() {
    type Change = fn(&Workspace);
    let changes: &[(&str, Change, &[&str])] = &[
        ("a comment", |w| w.write("p.toml", "# New.\nextends = \"base.toml\"\n"), &[]),
        (
            "the manifest that it extends",
            |w| w.write("base.toml", BASE.replace("[stage.report]", "[stage.report]\nparams.stream = \"x\"")),
            &["report"],
        ),
        (
            "a file in a folder, of the same length",
            |w| w.write("texts/2_1.txt", "Findings: two.\n\nImpression: thirds.\n"),
            &["report", "text-encode"],
        ),
        ("a new file in a folder", |w| w.write("texts/3_1.txt", "Findings: more."), &[]),
        ("a file written anew", |w| w.write("texts/1_1.txt", "Findings: one.\n\nImpression: first.\n"), &[]),
        ("a row less", |w| w.write("nodules.csv", "pid,nodule_id\n1,1\n"), &["report", "text-encode"]),
        ("a lost published file", |w| fs::remove_file(w.path("out/1_1.txt")).unwrap(), &[]),
        ("the blobs", |w| fs::remove_dir_all(w.path(".pipe/packs")).unwrap(), &["report", "text-encode"]),
        ("a collected cache", |w| drop(w.pipe_ok(&["gc", "--grace", "0", "--keep-runs", "1"])), &[]),
        (
            "lost results",
            |w| fs::remove_dir_all(w.path(".pipe/results")).unwrap(),
            &["report", "text-encode"],
        ),
        (
            "a damaged result",
            |w| {
                for path in walk(&w.path(".pipe/results")) {
                    let mut journal = fs::read(&path).unwrap();
                    // A byte of each record.
                    journal.iter_mut().skip(40).step_by(80).for_each(|byte| *byte ^= 1);
                    fs::write(path, journal).unwrap();
                }
            },
            &["report", "text-encode"],
        ),
        ("a lost record", |w| fs::remove_dir_all(w.path(".pipe/runs")).unwrap(), &[]),
    ];
    let workspace = workspace();
    for (what, change, executed) in changes {
        settle(&workspace, &[]);
        change(&workspace);
        assert_eq!(workspace.run(&[]).executed(), *executed, "{what}");
        let published = workspace.read("out/1_1.txt");
        assert_eq!(published, "Findings: one.\n\nImpression: first.\n", "{what}");
    }
}

#[test]
fn a_run_of_many_items_is_known_to_the_very_next_one() {
    let workspace = workspace();
    let rows: String = (0..1200).map(|row| format!("{row},1\n")).collect();
    workspace.write("nodules.csv", format!("pid,nodule_id\n{rows}"));
    workspace.write("base.toml", BASE.replace(", dir = \"texts\"", ""));
    std::thread::sleep(std::time::Duration::from_millis(80));
    assert_eq!(workspace.run(&[]).count("items_executed"), 1200);
    let ran = workspace.run(&[]);
    assert_eq!((ran.count("cached"), ran.count("items_cached")), (2, 1200));
    let report = workspace.read("out/7_1.txt");
    workspace.write("out/7_1.txt", "other");
    let ran = workspace.pipe(&["run", "p.toml", "--json"]);
    assert_eq!((ran.code, workspace.read("out/7_1.txt").as_str()), (1, "other"), "{}", ran.stdout);
    assert!(ran.stdout.contains("has been changed since it was published"));
    workspace.write("out/7_1.txt", report);
    assert_eq!(workspace.run(&[]).count("executed"), 0);
}

#[test]
fn other_ways_of_asking_are_other_runs() {
    let workspace = workspace();
    settle(&workspace, &[]);
    for (arguments, executed) in [
        (&["--set", "report.stream=y"][..], &["report"][..]),
        (&["--profile", "other"], &["report"]),
        (&["--cache", "other-cache"], &["report", "text-encode"]),
        (&["--only", "report"], &[]),
        (&["--verify"], &[]),
        (&["--force", "report"], &["report"]),
    ] {
        assert_eq!(workspace.run(arguments).executed(), executed, "{arguments:?}");
    }
    settle(&workspace, &["--set", "report.stream=y"]);
    settle(&workspace, &["--cache", "other-cache"]);
    settle(&workspace, &["--keep-going", "--jobs", "1"]);
}

#[cfg(unix)]
#[test]
fn links_that_lead_elsewhere_are_noticed() {
    let workspace = workspace();
    fs::rename(workspace.path("texts"), workspace.path("first")).unwrap();
    workspace.write("second/1_1.txt", "Findings: one.\n\nImpression: fresh.\n");
    workspace.write("second/2_1.txt", "Findings: two.\n\nImpression: second.\n");
    let lead_to = |folder: &str| {
        let _ = fs::remove_file(workspace.path("texts"));
        std::os::unix::fs::symlink(folder, workspace.path("texts")).unwrap();
    };
    lead_to("first");
    settle(&workspace, &[]);
    lead_to("second");
    assert_eq!(workspace.run(&[]).executed(), ["report", "text-encode"]);
    settle(&workspace, &[]);
    lead_to("first");
    let ran = workspace.run(&[]);
    assert_eq!(
        (ran.count("executed"), workspace.read("out/1_1.txt")),
        (0, "Findings: one.\n\nImpression: first.\n".to_owned())
    );
}

#[test]
fn a_branch_of_the_hub_that_has_moved_is_noticed() {
    let workspace = evaluated(", ceiling = \"hf://someone/something\"");
    let keep = |home: &str, commit: &str, content: &str| {
        let repository = format!("{home}/hub/models--someone--something");
        workspace.write(&format!("{repository}/snapshots/{commit}/model.safetensors"), content);
        workspace.write(&format!("{repository}/refs/main"), commit);
    };
    let (first, second) = ("1".repeat(40), "2".repeat(40));
    let run = |home: &str| {
        std::thread::sleep(std::time::Duration::from_millis(80));
        let home = workspace.path(home).display().to_string();
        let environment = [("HF_HUB_CACHE", ""), ("HF_HOME", home.as_str()), ("HF_HUB_OFFLINE", "1")];
        let ran = workspace.pipe_with(&["run", "p.toml", "--json"], &environment);
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        ran
    };
    keep("home", &first, "{\"auroc\": 0.8}");
    keep("other", &first, "{\"auroc\": 0.7}");
    run("home");
    assert_eq!(run("home").count("executed"), 0);
    assert_eq!(run("home").count("executed"), 0);
    keep("home", &second, "{\"auroc\": 0.9}");
    assert_eq!(run("home").executed(), ["evaluate"]);
    assert_eq!(run("home").count("executed"), 0);
    assert_eq!(run("other").executed(), ["evaluate"]);
}

#[cfg(unix)]
#[test]
fn a_manifest_that_can_be_read_once_only_is_read_once() {
    let workspace = workspace();
    let root = workspace.path(".").display().to_string();
    workspace.write("full.toml", format!("[pipeline]\nroot = {root:?}\n{BASE}"));
    for round in 0..4 {
        std::thread::sleep(std::time::Duration::from_millis(80));
        workspace.write("texts/1_1.txt", format!("Findings: {}.\n\nImpression: first.\n", round / 3));
        let script = "cat full.toml | $1 run /dev/stdin --cache .pipe";
        let output = std::process::Command::new("sh")
            .args(["-c", script, "sh", env!("CARGO_BIN_EXE_pipe")])
            .current_dir(workspace.path("."))
            .output()
            .unwrap();
        assert!(output.status.success(), "{round}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[cfg(unix)]
#[test]
fn nothing_is_published_through_a_link_whoever_looks() {
    let workspace = workspace();
    workspace.write(
        "base.toml",
        format!("{BASE}[stage.split]\ninputs = {{ dataset = \"many.csv\" }}\nparams = {{ n_splits = 2 }}\npublish = \"splits\"\n"),
    );
    let rows: String = (0..20).map(|row| format!("{row},{}\n", row % 2)).collect();
    workspace.write("many.csv", format!("pid,malignant\n{rows}"));
    settle(&workspace, &[]);
    fs::rename(workspace.path("splits/fold_0"), workspace.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", workspace.path("splits/fold_0")).unwrap();
    for _ in 0..2 {
        let ran = workspace.pipe(&["run", "p.toml"]);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("is a link") && ran.stderr.contains("in the link's place"),
            "{}",
            ran.stderr
        );
    }
}
