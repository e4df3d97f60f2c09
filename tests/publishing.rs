//! Published folders: what is refused before any work, and what a folder holds after runs.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::fs;

use support::{Ran, Workspace};

const TABLE: &str = "pid,nodule_id,malignant,mean_diameter\nP1,1,0,8.5\nP2,1,1,12\n";
const REPORT: &str = "[stage.report]\ninputs = { dataset = \"t.csv\" }\n";

/// A workspace whose `p.toml` words reports of a table and publishes them.
fn reporting() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("t.csv", TABLE);
    workspace.write("p.toml", format!("{REPORT}publish = \"out\"\n"));
    workspace
}

/// `check`, `plan` and `run` refuse it in the same words, and nothing is written.
fn refused(workspace: &Workspace, messages: &[&str]) {
    for command in ["check", "plan", "run"] {
        let ran = workspace.pipe(&[command, "p.toml"]);
        assert_eq!(ran.code, 2, "{command}\n{}{}", ran.stdout, ran.stderr);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        for message in messages {
            assert!(told.contains(message), "{command}: no {message:?} in\n{told}");
        }
    }
    assert!(
        !workspace.path(".pipe/runs").exists()
            || fs::read_dir(workspace.path(".pipe/runs")).unwrap().count() == 0
    );
}

fn names(workspace: &Workspace, folder: &str) -> BTreeSet<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    fs::read_dir(workspace.path(folder)).unwrap().map(|entry| name(entry.unwrap())).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_string()).collect()
}

#[test]
fn folders_that_lie_where_they_must_not_are_refused_before_any_work() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("over an input", "publish = \"in\"\n", &["would put files into an input"]),
        ("below an input", "publish = \"in/new\"\n", &["would put files into an input"]),
        ("over the project", "publish = \".\"\n", &["into the project's root or above it"]),
        ("above the project", "publish = \"..\"\n", &["into the project's root or above it"]),
        ("a file", "publish = \"t.csv\"\n", &["is a file, not a folder"]),
        ("home", "publish = \"~/out\"\n", &["begins like a name that a shell puts in", "write the path out"]),
        ("a variable", "publish = \"$HOME/out\"\n", &["begins like a name that a shell puts in"]),
    ];
    for (name, publish, messages) in cases {
        let workspace = Workspace::new();
        for item in ["P1_1", "P2_1"] {
            workspace.write(&format!("in/{item}.txt"), "Impression: a nodule.");
        }
        workspace.write("t.csv", TABLE);
        workspace.write("p.toml", format!("[stage.text-encode]\ninputs = {{ reports = \"in\" }}\n{publish}"));
        refused(&workspace, messages);
        assert_eq!(workspace.read("t.csv"), TABLE, "{name}");
        assert_eq!(names(&workspace, "in"), set(&["P1_1.txt", "P2_1.txt"]), "{name}");
    }
}

#[test]
fn folders_inside_each_other_and_one_for_two_stages_are_refused() {
    for (first, second, message) in [
        ("out", "out/texts", "report"),
        ("out/reports", "out", "report"),
        ("out", "out", "stage `report` is published to the same folder"),
        ("out", "./x/../out", "stage `report` is published to the same folder"),
    ] {
        let workspace = reporting();
        workspace.write(
            "p.toml",
            format!(
                "{REPORT}publish = \"{first}\"\n[stage.text-encode]\ninputs = {{ reports = \"@report\" }}\n\
                 publish = \"{second}\"\n"
            ),
        );
        refused(&workspace, &[message]);
    }
}

#[test]
fn a_path_into_what_the_same_manifest_publishes_is_refused_with_the_edge() {
    let workspace = reporting();
    // The folder is there from an earlier run, so that nothing else is wrong with the path.
    workspace.pipe_ok(&["run", "p.toml"]);
    for path in ["out", "./out/", "link"] {
        #[cfg(unix)]
        if path == "link" {
            std::os::unix::fs::symlink("out", workspace.path("link")).unwrap();
        }
        workspace.write(
            "p.toml",
            format!("{REPORT}publish = \"out\"\n[stage.text-encode]\ninputs = {{ reports = \"{path}\" }}\n"),
        );
        let ran = workspace.pipe(&["run", "p.toml"]);
        assert_eq!(ran.code, 2, "{path}: {}", ran.stderr);
        assert!(ran.stderr.contains("lies in what stage `report` publishes"), "{}", ran.stderr);
        assert!(ran.stderr.contains("give \"@report\""), "{}", ran.stderr);
    }
}

#[test]
fn rows_that_name_files_which_the_manifest_publishes_are_refused_by_line() {
    let workspace = Workspace::new();
    let phantom = "[stage.phantom]\nparams = { patients = 2, shape = [40, 40, 24], spacing = [2, 2, 4] }\n\
                   publish = \"data\"\n";
    workspace.write("p.toml", phantom);
    workspace.pipe_ok(&["run", "p.toml"]);
    let scan = names(&workspace, "data/scans").into_iter().next().unwrap();
    workspace.write(
        "t.csv",
        format!("pid,nodule_id,image_path,coordX,coordY,coordZ\nP1,1,data/scans/{scan},0,0,0\n"),
    );
    let crop = "[stage.crop]\ninputs = { dataset = \"t.csv\" }\n";
    workspace.write("q.toml", crop);
    assert_eq!(workspace.pipe(&["plan", "q.toml"]).code, 0, "another manifest may read them");
    workspace.write("p.toml", format!("{phantom}{crop}"));
    for _ in 0..2 {
        let ran = workspace.pipe(&["run", "p.toml"]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        let message =
            format!("t.csv:2: `image_path`: data/scans/{scan} lies in what stage `phantom` publishes");
        assert!(ran.stderr.contains(&message), "{}", ran.stderr);
    }
}

#[test]
fn a_folder_holds_what_the_last_run_gave_and_what_others_have_put_there() {
    let workspace = reporting();
    workspace.pipe_ok(&["run", "p.toml"]);
    assert_eq!(names(&workspace, "out"), set(&["P1_1.txt", "P2_1.txt", "provenance.json"]));
    workspace.write("out/notes.md", "mine");
    workspace.write("out/figures/one.txt", "mine, too");
    workspace.write("t.csv", TABLE.replace("P2,1,1,12\n", "P3,1,1,9\n"));
    let ran = workspace.pipe_ok(&["run", "p.toml"]);
    assert!(ran.stderr.contains("1 removed that it no longer gives"), "{}", ran.stderr);
    assert!(ran.stderr.contains("in place of those of run "), "{}", ran.stderr);
    let expected = ["P1_1.txt", "P3_1.txt", "figures", "notes.md", "provenance.json"];
    assert_eq!(names(&workspace, "out"), set(&expected));
    assert_eq!(
        (workspace.read("out/notes.md"), workspace.read("out/figures/one.txt")),
        ("mine".into(), "mine, too".into())
    );
    // Nothing stays beside it.
    assert_eq!(names(&workspace, "."), set(&[".pipe", "out", "p.toml", "t.csv"]));
}

#[test]
fn files_that_pipe_has_not_written_are_never_replaced() {
    let workspace = reporting();
    workspace.write("out/P2_1.txt", "mine");
    let failed = |message: &str, kept: (&str, &str)| {
        let ran = workspace.pipe(&["run", "p.toml"]);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains(message) && ran.stderr.contains(kept.0), "{}", ran.stderr);
        assert_eq!(workspace.read(&format!("out/{}", kept.0)), kept.1);
    };
    failed("out", ("P2_1.txt", "mine"));
    assert_eq!(names(&workspace, "out"), set(&["P2_1.txt"]), "nothing beside it was written");
    fs::remove_file(workspace.path("out/P2_1.txt")).unwrap();
    workspace.pipe_ok(&["run", "p.toml"]);
    // One of its own that somebody has edited since is somebody's.
    let report = workspace.read("out/P1_1.txt");
    workspace.write("out/P1_1.txt", "edited");
    workspace.write("t.csv", TABLE.replace("P1,1,0,8.5", "P1,1,0,7"));
    failed("out", ("P1_1.txt", "edited"));
    workspace.write("out/P1_1.txt", report);
    // An account that cannot be read tells nothing, and is not written over.
    let account = workspace.read("out/provenance.json");
    workspace.write("out/provenance.json", "{");
    failed("out", ("provenance.json", "{"));
    workspace.write("out/provenance.json", account);
    workspace.pipe_ok(&["run", "p.toml"]);
    assert!(workspace.read("out/P1_1.txt").contains('7'));
}

#[test]
fn what_a_folder_says_of_itself_is_the_same_for_the_same_results_and_no_input() {
    let workspace = reporting();
    workspace.pipe_ok(&["run", "p.toml", "--set", "pipeline.seed=7"]);
    let first = workspace.read("out/provenance.json");
    let account: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(
        (&account["stage"], &account["set"][0], &account["seed"]),
        (&"report".into(), &"pipeline.seed=7".into(), &7.into())
    );
    let file = &account["files"][0];
    let bytes = fs::read(workspace.path("out").join(file["name"].as_str().unwrap())).unwrap();
    assert_eq!(file["bytes"].as_u64().unwrap(), bytes.len() as u64);
    assert_eq!(file["blake3"].as_str().unwrap(), pipe_cache::Digest::of(&bytes).to_string());
    assert_eq!(account["instances"][0]["run"], account["run"]);
    fs::remove_dir_all(workspace.path("out")).unwrap();
    workspace.pipe_ok(&["run", "p.toml", "--set", "pipeline.seed=7"]);
    assert_eq!(workspace.read("out/provenance.json"), first);
    // As an input the folder is its files.
    workspace.write("q.toml", "[stage.text-encode]\ninputs = { reports = \"out\" }\n");
    workspace.pipe_ok(&["run", "q.toml"]);
    workspace.write("out/provenance.json", format!("{first}\n"));
    assert_eq!(workspace.pipe_ok(&["run", "q.toml", "--json"]).count("executed"), 0);
}

#[test]
fn files_without_an_account_are_taken_over_with_a_warning_that_quiet_runs_show() {
    let workspace = reporting();
    workspace.pipe_ok(&["run", "p.toml"]);
    for name in ["provenance.json", "P1_1.txt"] {
        fs::remove_file(workspace.path(&format!("out/{name}"))).unwrap();
    }
    workspace.write("out/old.txt", "of another program");
    let ran = workspace.pipe_ok(&["run", "p.toml", "-q"]);
    assert!(
        ran.stderr.contains("out had no provenance.json: files that equal those given"),
        "{}",
        ran.stderr
    );
    assert_eq!(names(&workspace, "out"), set(&["P1_1.txt", "P2_1.txt", "old.txt", "provenance.json"]));
}

#[test]
fn two_runs_at_once_leave_one_runs_files() {
    let workspace = reporting();
    let rows = |first: usize| -> String {
        let row = |number| format!("P{number},1,0,{}\n", 5 + number % 20);
        format!("pid,nodule_id,malignant,mean_diameter\n{}", (first..first + 60).map(row).collect::<String>())
    };
    for (name, first) in [("a", 0), ("b", 30)] {
        workspace.write(&format!("{name}.csv"), rows(first));
        workspace.write(
            &format!("{name}.toml"),
            format!("[stage.report]\ninputs = {{ dataset = \"{name}.csv\" }}\npublish = \"out\"\n"),
        );
    }
    for _ in 0..5 {
        let both: Vec<Ran> = std::thread::scope(|scope| {
            let run = |name: &'static str| {
                let workspace = &workspace;
                scope.spawn(move || workspace.pipe(&["run", name, "--force", "report"]))
            };
            [run("a.toml"), run("b.toml")].into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert!(both.iter().all(|ran| ran.code == 0), "{}\n{}", both[0].stderr, both[1].stderr);
        let account: serde_json::Value =
            serde_json::from_str(&workspace.read("out/provenance.json")).unwrap();
        let first = if account["manifest"].as_str().unwrap().ends_with("a.toml") { 0 } else { 30 };
        let mut expected: BTreeSet<String> =
            (first..first + 60).map(|number| format!("P{number}_1.txt")).collect();
        expected.insert("provenance.json".into());
        assert_eq!(names(&workspace, "out"), expected);
    }
}
