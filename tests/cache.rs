//! `pipe gc` and `pipe cache`: what is kept, what goes, and who may read it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::Workspace;

/// A workspace with two stages, and a way to run them with other words.
fn workspace() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("nodules.csv", "pid,nodule_id,necrosis\n1,1,Absent\n2,1,Present\n");
    workspace.write(
        "p.toml",
        "[stage.report]\ninputs = { dataset = \"nodules.csv\" }\n\
         [stage.text-encode]\ninputs = { reports = \"@report\" }\n",
    );
    workspace
}

fn run(workspace: &Workspace, seed: usize) -> u64 {
    let seed = format!("pipeline.seed={seed}");
    workspace.pipe_ok(&["run", "p.toml", "--json", "--set", &seed]).count("executed")
}

fn gc(workspace: &Workspace, arguments: &[&str]) -> String {
    workspace.pipe_ok(&[&["gc", "--grace", "0"][..], arguments].concat()).stdout
}

#[test]
fn only_what_recent_runs_and_pins_reach_is_kept() {
    let workspace = workspace();
    for seed in 0..4 {
        assert_eq!(run(&workspace, seed), 2);
    }
    let runs = workspace.pipe_ok(&["runs"]).stdout;
    let oldest = runs.lines().last().unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(workspace.pipe_ok(&["cache", "pin", &oldest]).stdout, format!("pinned {oldest}\n"));
    let told = gc(&workspace, &["--keep-runs", "1", "--dry-run"]);
    assert!(told.starts_with("kept 2 runs, ") && told.contains("would remove"), "{told}");
    assert_eq!(run(&workspace, 1), 0, "a dry run removed something");
    run(&workspace, 3);
    // Seed 1 has been used lately, too.
    let told = gc(&workspace, &["--keep-runs", "1"]);
    assert!(told.starts_with("kept 2 runs, ") && !told.contains("removed 0 blobs"), "{told}");
    assert_eq!((run(&workspace, 0), run(&workspace, 3)), (0, 0));
    assert_eq!((run(&workspace, 1), run(&workspace, 2)), (2, 2));
    workspace.pipe_ok(&["cache", "unpin", &oldest]);
    let again = workspace.pipe(&["cache", "unpin", &oldest]);
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("is not pinned"), "{}", again.stderr);
    assert!(gc(&workspace, &["--keep-runs", "1"]).starts_with("kept 1 runs, "));
    assert_eq!((run(&workspace, 2), run(&workspace, 0)), (0, 2));
    assert!(gc(&workspace, &[]).contains("removed 0 blobs, 0 B; 0 results"));
}

#[test]
fn the_least_recent_runs_go_when_there_is_no_room() {
    let workspace = workspace();
    (0..4).for_each(|seed| assert_eq!(run(&workspace, seed), 2));
    assert!(gc(&workspace, &["--max-size", "1GB", "--dry-run"]).starts_with("kept 4 runs"));
    assert!(gc(&workspace, &["--max-size", "1"]).starts_with("kept 1 runs"));
    assert_eq!((run(&workspace, 3), run(&workspace, 2)), (0, 2));
    let wrong = workspace.pipe(&["gc", "--max-size", "much"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("write such as 500MB"), "{}", wrong.stderr);
}

#[test]
fn what_is_young_is_left_alone() {
    let workspace = workspace();
    (0..3).for_each(|seed| assert_eq!(run(&workspace, seed), 2));
    let told = workspace.pipe_ok(&["gc", "--keep-runs", "0"]).stdout;
    assert!(told.contains("removed 0 blobs, 0 B; 0 results"), "{told}");
    assert_eq!(run(&workspace, 0), 0);
}

#[test]
fn every_byte_is_verified_and_damage_is_told() {
    let workspace = workspace();
    run(&workspace, 0);
    let told = workspace.pipe_ok(&["cache", "verify"]).stdout;
    assert!(told.contains("blobs are whole"), "{told}");
    let stats = workspace.pipe_ok(&["cache", "stats"]).stdout;
    assert!(
        stats.contains("runs                    1") && stats.contains("results                 2"),
        "{stats}"
    );
    let packs = fs::read_dir(workspace.path(".pipe/packs")).unwrap().flatten();
    let pack = packs.map(|entry| entry.path()).find(|path| path.extension().unwrap() == "pack").unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let told = workspace.pipe(&["cache", "verify"]);
    assert_eq!(told.code, 1);
    assert!(
        told.stderr.contains("damaged: blob") && told.stdout.contains("blobs are whole"),
        "{}",
        told.stderr
    );
    run(&workspace, 0);
    assert_eq!(workspace.pipe(&["cache", "verify"]).code, 0);
}

/// All files and folders below one, with their rights.
#[cfg(unix)]
fn rights(folder: &Path, found: &mut Vec<(PathBuf, u32)>) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    found.push((folder.to_path_buf(), mode(folder)));
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => rights(&entry.path(), found),
            false => found.push((entry.path(), mode(&entry.path()))),
        }
    }
}

#[cfg(unix)]
#[test]
fn a_cache_is_the_owners_alone_until_it_is_shared() {
    use std::os::unix::fs::PermissionsExt as _;

    let workspace = workspace();
    run(&workspace, 0);
    let check = |folder_mode: u32, file_mode: u32| {
        let mut found = Vec::new();
        rights(&workspace.path(".pipe"), &mut found);
        assert!(found.len() > 15);
        for (path, mode) in found {
            let expected = if path.is_dir() { folder_mode } else { file_mode };
            assert_eq!(mode, expected, "{} has {mode:o}", path.display());
        }
    };
    check(0o700, 0o600);
    workspace.pipe_ok(&["cache", "share"]);
    check(0o2770, 0o660);
    run(&workspace, 1);
    check(0o2770, 0o660);
    // Keys stay their owner's.
    workspace.pipe_ok(&["pack", "latest", "--to", "run.tar", "--de-identified"]);
    workspace.pipe_ok(&["cache", "share"]);
    let key = fs::metadata(workspace.path(".pipe/de-identified.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[cfg(unix)]
#[test]
fn nothing_is_written_through_a_link_that_lies_in_the_way() {
    let workspace = Workspace::new();
    workspace.write("nodules.csv", "pid,nodule_id,malignant\n1,1,0\n2,1,1\n3,1,0\n4,1,1\n");
    workspace.write(
        "p.toml",
        "[stage.split]\nparams = { n_splits = 2 }\ninputs = { dataset = \"nodules.csv\" }\n",
    );
    workspace.pipe_ok(&["run", "p.toml"]);
    fs::create_dir_all(workspace.path("elsewhere")).unwrap();
    fs::create_dir_all(workspace.path("out")).unwrap();
    std::os::unix::fs::symlink(workspace.path("elsewhere"), workspace.path("out/fold_0")).unwrap();
    let got = workspace.pipe(&["get", "latest", "split", "--to", "out"]);
    assert_eq!(got.code, 1, "{}", got.stderr);
    assert!(got.stderr.contains("out/fold_0 is a link: nothing is written through it"), "{}", got.stderr);
    assert_eq!(fs::read_dir(workspace.path("elsewhere")).unwrap().count(), 0);
    // The folder itself may be one.
    std::os::unix::fs::symlink(workspace.path("elsewhere"), workspace.path("link")).unwrap();
    workspace.pipe_ok(&["get", "latest", "split", "--to", "link"]);
    assert!(workspace.path("elsewhere/fold_0/train_pid.csv").is_file());
}

#[test]
fn nothing_is_removed_while_a_record_cannot_be_read() {
    let workspace = workspace();
    run(&workspace, 0);
    run(&workspace, 1);
    let newest = workspace.pipe_ok(&["runs"]).stdout.split(' ').next().unwrap().to_owned();
    let record = format!(".pipe/runs/{newest}/record.jsonl");
    let whole = workspace.read(&record);
    workspace.write(&record, whole.replacen("\n{", "\n[", 1));
    let refused = workspace.pipe(&["gc", "--grace", "0", "--keep-runs", "1"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("line 2 is damaged"), "{}", refused.stderr);
    assert!(refused.stderr.contains("if nobody needs it any more, remove"), "{}", refused.stderr);
    workspace.write(&record, &whole);
    // One that was killed while it wrote has told all that it did.
    workspace.write(&record, &whole[..whole.len() - 5]);
    workspace.write(".pipe/runs/20990101-000000-000-new/record.jsonl", "{\"record\":");
    assert!(gc(&workspace, &["--keep-runs", "1"]).contains("removed"));
    assert_eq!(run(&workspace, 1), 0);
}

#[test]
fn equal_runs_of_many_instances_share_a_listing_and_a_lost_one_is_not_taken_for_empty() {
    let workspace = Workspace::new();
    workspace.write("t.csv", "pid,nodule_id\n1,1\n");
    let streams: Vec<String> = (0..120).map(|stream| format!("\"{stream}\"")).collect();
    let streams = streams.join(",");
    workspace.write(
        "p.toml",
        format!("[stage.report]\nforeach = {{ stream = [{streams}] }}\ninputs = {{ dataset = \"t.csv\" }}\n"),
    );
    let run = || {
        std::thread::sleep(std::time::Duration::from_millis(80));
        workspace.pipe_ok(&["run", "p.toml", "--json"]).count("cached")
    };
    // The second has to read the table once more, since the first wrote its results so lately.
    assert_eq!([run(), run(), run(), run()], [0, 120, 120, 120]);
    let listings = || fs::read_dir(workspace.path(".pipe/listings")).unwrap().flatten();
    assert_eq!(listings().count(), 1);
    let ids = workspace.pipe_ok(&["runs"]).stdout;
    let latest = ids.lines().next().unwrap().split(' ').next().unwrap().to_owned();
    let record = workspace.read(&format!(".pipe/runs/{latest}/record.jsonl"));
    assert_eq!(record.lines().count(), 4, "{record}");
    let shown = workspace.pipe_ok(&["show", "latest"]).stdout;
    assert_eq!(shown.matches("report[stream=").count(), 120, "{shown}");
    let listing = listings().next().unwrap().path();
    let whole = fs::read_to_string(&listing).unwrap();
    fs::write(&listing, whole.replacen("stream=7", "stream=8", 1)).unwrap();
    for arguments in [&["gc", "--grace", "0"][..], &["show", "latest"]] {
        let refused = workspace.pipe(arguments);
        assert_eq!(refused.code, 2, "{}", refused.stdout);
        assert!(refused.stderr.contains("is missing or damaged"), "{}", refused.stderr);
    }
    // The next run that finds the same puts it back.
    assert_eq!(run(), 120);
    workspace.pipe_ok(&["show", &latest]);
    workspace.pipe_ok(&["gc", "--grace", "0"]);
    assert_eq!(run(), 120);
}

#[test]
fn records_of_before_there_were_listings_are_read() {
    let workspace = workspace();
    run(&workspace, 0);
    run(&workspace, 0);
    let runs = workspace.pipe_ok(&["runs"]).stdout;
    let ids: Vec<&str> = runs.lines().map(|line| line.split(' ').next().unwrap()).collect();
    let record = format!(".pipe/runs/{}/record.jsonl", ids[0]);
    let lines = workspace.read(&record);
    let is_kept = |line: &&str| !line.contains("\"record\":\"instance\"");
    let mut kept: Vec<&str> = lines.lines().filter(is_kept).collect();
    let unchanged = format!("{{\"record\":\"unchanged\",\"since\":\"{}\"}}", ids[1]);
    kept.insert(kept.len() - 1, &unchanged);
    workspace.write(&record, kept.join("\n") + "\n");
    let shown = workspace.pipe_ok(&["show", ids[0]]).stdout;
    assert!(shown.contains("known"), "{shown}");
    workspace.pipe_ok(&["gc", "--grace", "0"]);
    fs::remove_dir_all(workspace.path(&format!(".pipe/runs/{}", ids[1]))).unwrap();
    for arguments in [&["gc", "--grace", "0"][..], &["show", ids[0]]] {
        let refused = workspace.pipe(arguments);
        assert_eq!(refused.code, 2, "{}", refused.stdout);
        assert!(refused.stderr.contains("which is not there"), "{}", refused.stderr);
    }
    assert_eq!(run(&workspace, 0), 0);
}

#[test]
fn finished_items_of_an_unfinished_stage_are_kept() {
    let workspace = Workspace::new();
    workspace.copy("stages/tests/fixtures/crop/images", "images");
    workspace.write("p.toml", "[stage.crop]\nparams = { size_mm = 10 }\ninputs = { dataset = \"t.csv\" }\n");
    let at = "-1.7648,-10.9597,120.5255";
    workspace.write(
        "t.csv",
        format!(
            "pid,nodule_id,image_path,coordX,coordY,coordZ\n1,1,images/ras_iso.nii.gz,{at}\n2,1,bad.nii.gz,{at}\n"
        ),
    );
    workspace.write("bad.nii.gz", "no scan");
    let failed = workspace.pipe(&["run", "p.toml", "--keep-going", "--json"]);
    assert_eq!((failed.code, failed.count("items_executed")), (1, 1), "{}", failed.stdout);
    gc(&workspace, &["--keep-runs", "1"]);
    fs::copy(workspace.path("images/ras_iso.nii.gz"), workspace.path("bad.nii.gz")).unwrap();
    let ran = workspace.pipe_ok(&["run", "p.toml", "--json"]);
    assert_eq!(ran.count("items_executed"), 1, "{}", ran.stdout);
}

#[cfg(unix)]
#[test]
fn folders_that_are_none_are_told_as_what_they_are() {
    let workspace = workspace();
    std::os::unix::fs::symlink("nowhere", workspace.path(".pipe")).unwrap();
    let refused = workspace.pipe(&["run", "p.toml"]);
    assert!(refused.code == 2 && refused.stderr.contains("a link there leads nowhere"), "{}", refused.stderr);
    fs::remove_file(workspace.path(".pipe")).unwrap();
    let ran = workspace.pipe_with(&["run", "p.toml"], &[("PIPE_CACHE", "")]);
    assert!(ran.code == 0 && workspace.path(".pipe/format").is_file(), "{}", ran.stderr);
    let refused = workspace.pipe(&["get", "latest", "report", "--to", "p.toml"]);
    assert!(refused.code == 1 && refused.stderr.contains("p.toml is no folder"), "{}", refused.stderr);
    workspace.write("q.toml", workspace.read("p.toml") + "publish = \".pipe/blobs\"\n");
    let refused = workspace.pipe(&["run", "q.toml"]);
    assert!(refused.code == 2 && refused.stderr.contains("where the cache is"), "{}", refused.stderr);
    assert!(std::process::Command::new("mkfifo").arg(workspace.path("pipe.csv")).status().unwrap().success());
    let refused = workspace.pipe(&["check", "p.toml", "--set", "report.inputs.dataset=pipe.csv"]);
    assert!(
        refused.code == 2 && refused.stderr.contains("neither a file nor a folder"),
        "{}",
        refused.stderr
    );
}
