//! A run that is killed, or whose disk fails, fills up or flips bits, at any moment: the next plain run needs no flag,
//! gives the right bytes, and repeats nothing that was finished.
//!
//! `PIPE_FULL=1` goes through every write and two hundred kills; without it a part of them is tried.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic, and tell how far it went")]
#![cfg(debug_assertions)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Ran, Workspace, has_part, wait_until};

/// How much of everything is tried.
fn share(part: usize, full: usize) -> usize {
    if std::env::var_os("PIPE_FULL").is_some() { full } else { part }
}

/// Two whole stages with big and small outputs, and three of items.
fn workspace() -> Workspace {
    let workspace = Workspace::new();
    workspace.write(
        "p.toml",
        "[stage.phantom]\nparams = { patients = 2, shape = [72, 72, 36] }\n\
         [stage.crop]\nparams = { size_mm = 40 }\ninputs = { dataset = \"@phantom\" }\n\
         [stage.report]\ninputs = { dataset = \"@phantom\" }\npublish = \"out/report\"\n\
         [stage.text-encode]\ninputs = { reports = \"@report\" }\npublish = \"out/text\"\n\
         [stage.split]\nparams = { n_splits = 2 }\ninputs = { dataset = \"@phantom\" }\npublish = \"out/split\"\n",
    );
    workspace
}

/// All files below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => waiting.push(entry.path()),
                false => drop(found.insert(entry.path(), fs::read(entry.path()).unwrap())),
            }
        }
    }
    found
}

fn run(workspace: &Workspace) -> Ran {
    workspace.pipe(&["run", "p.toml", "--json"])
}

/// What all stages give, from a run that nothing disturbs.
fn expected(workspace: &Workspace) -> BTreeMap<PathBuf, Vec<u8>> {
    assert_eq!(run(workspace).code, 0);
    let expected = published(workspace);
    assert!(expected.len() > 5);
    reset(workspace);
    expected
}

/// What was published; which runs computed it may differ.
fn published(workspace: &Workspace) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = files(&workspace.path("out"));
    let accounts = found.len();
    found.retain(|path, _| !path.ends_with("provenance.json"));
    assert!(found.is_empty() || found.len() < accounts, "a folder that does not say where it comes from");
    found
}

/// Lets the clock's grain pass and runs again, so that all is noted that can be.
fn settled(workspace: &Workspace) {
    std::thread::sleep(Duration::from_millis(80));
    assert_eq!(run(workspace).count("executed"), 0);
}

fn restore(whole: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, bytes) in whole {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn reset(workspace: &Workspace) {
    for folder in [".pipe", "out"] {
        let _ = fs::remove_dir_all(workspace.path(folder));
    }
}

/// Runs again, without any flag: everything is there and right, and nothing is left to do.
fn recovers(workspace: &Workspace, expected: &BTreeMap<PathBuf, Vec<u8>>, what: &str) -> Ran {
    let _ = fs::remove_dir_all(workspace.path("out"));
    let again = run(workspace);
    assert_eq!(again.code, 0, "{what}: {}{}", again.stdout, again.stderr);
    assert!(published(workspace) == *expected, "{what}: other results");
    let third = run(workspace);
    assert_eq!((third.count("executed"), third.count("items_executed")), (0, 0), "{what}");
    assert!(!third.stdout.contains("\"repaired\""), "{what}: {}", third.stdout);
    again
}

/// A run in which the n-th operation of a sort fails.
fn faulty(workspace: &Workspace, fault: &str, at: usize) -> Ran {
    let plan = format!("{fault}@{at}");
    workspace.pipe_with(&["run", "p.toml", "--json"], &[("PIPE_FAULT", &plan)])
}

/// How many operations of a sort a run makes: it dies at each of them, if it is told to by `death`.
fn operations(workspace: &Workspace, death: &str, prepare: &dyn Fn()) -> usize {
    let dies = |at: usize| {
        prepare();
        faulty(workspace, death, at).code != 0
    };
    let (mut some, mut none) = (0, 1);
    while dies(none) {
        (some, none) = (none, none * 2);
    }
    while some + 1 < none {
        let middle = usize::midpoint(some, none);
        if dies(middle) { some = middle } else { none = middle }
    }
    some
}

#[test]
fn any_write_may_fail() {
    let workspace = workspace();
    let expected = expected(&workspace);
    let prepare = || reset(&workspace);
    let last = operations(&workspace, "death", &prepare);
    assert!(last > 50, "{last} writes only");
    for fault in ["error", "short", "full", "death"] {
        let (mut ended, mut tried) = (0, 0);
        for at in (1..=last).step_by(share(11, 1)) {
            prepare();
            let what = format!("{fault}@{at}");
            let ran = faulty(&workspace, fault, at);
            let told = format!("{what}: {} {}{}", ran.code, ran.stdout, ran.stderr);
            assert!(!told.contains("panicked"), "{told}");
            match (fault, ran.code) {
                ("death", code) => assert_eq!(code, -1, "{told}"),
                // What only saves work may fail: nothing is lost, and it is told.
                (_, 0) => {
                    assert!(published(&workspace) == expected, "{what}: other results");
                    // What took longer before is made durable at once, so that runs differ in how much they write.
                    let has_come = !ran.stderr.contains("the program ended before it");
                    assert!(!has_come || ran.stdout.contains("\"event\":\"warning\""), "{told}");
                }
                (_, code) => assert!([1, 2].contains(&code) && told.len() > what.len() + 6, "{told}"),
            }
            recovers(&workspace, &expected, &what);
            (ended, tried) = (ended + usize::from(ran.code != 0), tried + 1);
        }
        assert!(ended * 2 > tried, "{fault}: {ended} of {tried} places only ended the run");
        eprintln!("{fault}: {ended} of the tried places ended the run; it has {last}");
    }
}

#[test]
fn any_reading_may_fail() {
    let workspace = workspace();
    let expected = expected(&workspace);
    run(&workspace);
    settled(&workspace);
    let whole = files(&workspace.path(".pipe"));
    let cold = || reset(&workspace);
    let warm = || {
        reset(&workspace);
        restore(&whole);
    };
    for (name, prepare) in [("cold", &cold as &dyn Fn()), ("warm", &warm)] {
        let last = operations(&workspace, "read-death", prepare);
        assert!(last > 20, "{name}: {last} readings only");
        let mut failed = 0;
        for at in (1..=last).step_by(share(last / 12, 1)) {
            prepare();
            let what = format!("{name}, read-error@{at}");
            let ran = faulty(&workspace, "read-error", at);
            if ran.code == 0 {
                assert!(published(&workspace) == expected, "{what}: other results");
            } else {
                failed += 1;
                assert!([1, 2].contains(&ran.code), "{what}: {} {}{}", ran.code, ran.stdout, ran.stderr);
                let told = ran.stdout + &ran.stderr;
                assert!(told.contains("made by a test") && !told.contains("panicked"), "{what}: {told}");
            }
            recovers(&workspace, &expected, &what);
        }
        assert!(failed > 0, "{name}: no reading matters");
        eprintln!("{name}: {last} readings, {failed} of the tried ones ended the run");
    }
}

/// A real disk without room, in a namespace of its own; skipped where the system allows no such thing.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_room_is_enough_to_go_on() {
    const SCRIPT: &str = "mount -t tmpfs -o size=$1 none small || exit 77\n\
                          $2 run p.toml --cache small/cache; test $? -ne 0 || exit 3\n\
                          mount -o remount,size=200m small\n\
                          rm -rf out; $2 run p.toml --cache small/cache || exit 4\n\
                          $2 run p.toml --cache small/cache --json > second.jsonl || exit 5\n";
    let workspace = workspace();
    let expected = expected(&workspace);
    fs::create_dir(workspace.path("small")).unwrap();
    let mut met = 0;
    for kilobytes in [60, 150, 300, 600, 900, 1200] {
        let output = Command::new("unshare")
            .args(["--mount", "--map-root-user", "sh", "-c", SCRIPT, "sh"])
            .args([&format!("{kilobytes}k"), env!("CARGO_BIN_EXE_pipe")])
            .current_dir(workspace.path("."))
            .env_remove("PIPE_CACHE")
            .output();
        let told = output.as_ref().map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        let cannot_mount = |code: Option<i32>| matches!(code, Some(1 | 77)) && !told.contains("pipe");
        let may_mount = output.as_ref().is_ok_and(|output| met > 0 || !cannot_mount(output.status.code()));
        if !has_part("mount", may_mount, "a_full_disk_is_told_and_room_is_enough_to_go_on") {
            return;
        }
        let output = output.unwrap();
        match output.status.code() {
            Some(0) => met += 1,
            // There was room enough.
            Some(3) => continue,
            code => panic!("{kilobytes} kB: {code:?} {told}"),
        }
        assert!(told.contains("No space left on device"), "{told}");
        assert!(published(&workspace) == expected, "{kilobytes} kB: other results");
        let second = workspace.read("second.jsonl");
        assert!(second.lines().last().unwrap().contains("\"executed\":0"), "{second}");
    }
    assert!(met > 2, "{met}");
}

#[test]
fn a_run_may_be_killed_at_any_moment() {
    let workspace = workspace();
    let expected = expected(&workspace);
    let started = Instant::now();
    let all_items = run(&workspace).count("items_executed");
    let whole = started.elapsed();
    for round in 0..share(20, 200) {
        reset(&workspace);
        let mut child = Command::new(env!("CARGO_BIN_EXE_pipe"))
            .args(["run", "p.toml", "--json"])
            .current_dir(workspace.path("."))
            .env_remove("PIPE_CACHE")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Spread over the run, at places that do not come again.
        let part = (round as f64 * 0.618_034).fract();
        std::thread::sleep(whole.mul_f64(part).max(Duration::from_millis(1)));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let again = recovers(&workspace, &expected, &format!("killed after {part:.2} of a run"));
        for finished in told.lines().filter(|line| line.contains("\"stage-finished\"")) {
            let stage = finished.split("\"stage\":\"").nth(1).unwrap().split('"').next().unwrap();
            assert!(!again.executed().contains(&stage.to_owned()), "{stage} was finished and ran again");
        }
        let done: u64 = told.lines().filter_map(progress).fold(BTreeMap::new(), latest).values().sum();
        let executed = again.count("items_executed");
        assert!(executed + done <= all_items, "{done} items were done: {}", again.stdout);
    }
}

/// The stage and number of finished items of a line that tells of progress.
fn progress(line: &str) -> Option<(String, u64)> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    let is_progress = event["event"] == "progress" && ["crop", "report"].contains(&event["stage"].as_str()?);
    is_progress.then(|| (event["stage"].as_str().unwrap().to_owned(), event["done"].as_u64().unwrap()))
}

fn latest(mut done: BTreeMap<String, u64>, (stage, count): (String, u64)) -> BTreeMap<String, u64> {
    let known = done.entry(stage).or_default();
    *known = count.max(*known);
    done
}

#[test]
fn any_byte_of_the_cache_may_be_wrong() {
    let workspace = workspace();
    let expected = expected(&workspace);
    run(&workspace);
    settled(&workspace);
    let whole = files(&workspace.path(".pipe"));
    let mut random = 1u64;
    for round in 0..share(3, 30) {
        for (path, bytes) in whole.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = (random >> 33) as usize % bytes.len();
            let mut damaged = bytes.clone();
            match round % 3 {
                0 => damaged[place] ^= 1 << (random >> 61),
                1 => damaged.truncate(place),
                _ => damaged[place..].fill(0),
            }
            fs::write(path, damaged).unwrap();
        }
        recovers(&workspace, &expected, &format!("everything is damaged, round {round}"));
        let told = workspace.pipe(&["cache", "verify"]);
        let again = workspace.pipe(&["run", "p.toml", "--json", "--verify"]);
        assert_eq!(again.code, 0, "{}{}", told.stderr, again.stdout);
        reset(&workspace);
        restore(&whole);
    }
}

#[test]
fn each_file_of_the_cache_may_be_damaged_alone() {
    let workspace = workspace();
    let expected = expected(&workspace);
    run(&workspace);
    settled(&workspace);
    let whole = files(&workspace.path(".pipe"));
    let step = share(4, 1);
    for (number, (path, bytes)) in whole.iter().filter(|(_, bytes)| !bytes.is_empty()).enumerate() {
        if number % step != 0 {
            continue;
        }
        let mut damaged = bytes.clone();
        let place = number * 7_919 % bytes.len();
        damaged[place] ^= 0x10;
        fs::write(path, damaged).unwrap();
        let name = path.strip_prefix(workspace.path(".pipe")).unwrap().display().to_string();
        recovers(&workspace, &expected, &format!("{name}, byte {place}"));
        if !path.exists() || fs::read(path).unwrap() != *bytes {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_ends_a_run_within_two_seconds() {
    let workspace = Workspace::new();
    // One step of a whole stage that does not listen.
    workspace.write("p.toml", "[stage.phantom]\nparams = { patients = 4000, shape = [160, 160, 120] }\n");
    let took = |signal: &str| {
        let _ = fs::remove_dir_all(workspace.path(".pipe"));
        let mut child = workspace.start(&["run", "p.toml"]);
        let is_claimed =
            || fs::read_dir(workspace.path(".pipe/claims")).is_ok_and(|mut it| it.next().is_some());
        wait_until(Duration::from_secs(60), "the stage is begun", is_claimed);
        std::thread::sleep(Duration::from_millis(300));
        let interrupted = Instant::now();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let took = interrupted.elapsed();
        // The record tells that it was no crash.
        let runs = workspace.pipe_ok(&["runs"]).stdout;
        assert!(runs.contains("  interrupted  "), "{runs}");
        took
    };
    for signal in ["-INT", "-TERM"] {
        // A machine that is busy may be slow once.
        let quickest = (0..3).map(|_| took(signal)).find(|took| *took < Duration::from_secs(2));
        assert!(quickest.is_some(), "{signal}: three times more than two seconds");
    }
}
