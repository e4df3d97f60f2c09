//! `pipe audit`: what was changed, in the cache, in what was published or among the inputs, is named; nothing else is.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{Workspace, has_part};

const PIPELINE: &str = "[pipeline]\nseed = 1\n\
                        [stage.report]\nparams = { stream = \"a\" }\n\
                        inputs = { dataset = \"nodules.csv\", dir = \"texts\" }\npublish = \"out\"\n\
                        [stage.text-encode]\ninputs = { reports = \"@report\" }\n\
                        [stage.other]\nuses = \"phantom\"\nparams = { patients = 2, shape = [72, 72, 36] }\n\
                        [stage.crop]\nparams = { size_mm = 60 }\ninputs = { dataset = \"@other\" }\n\
                        [stage.slice]\ninputs = { volumes = \"@crop\" }\npublish = \"slices\"\n";

fn workspace() -> Workspace {
    let workspace = Workspace::with_reports(PIPELINE);
    workspace.pipe_ok(&["run", "p.toml"]);
    workspace
}

/// What an audit finds, and its exit code.
fn findings(workspace: &Workspace, target: &[&str]) -> (i32, Vec<String>) {
    let ran = workspace.pipe(&[&["audit", "--json"], target].concat());
    let audit: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
    let findings = audit["findings"].as_array().unwrap_or_else(|| panic!("{audit}"));
    (ran.code, findings.iter().map(|finding| finding["text"].as_str().unwrap().to_string()).collect())
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

/// Changes a byte; size and times stay.
fn change(path: &Path, place: usize) -> Vec<u8> {
    let before = fs::read(path).unwrap();
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = before.clone();
    bytes[place] ^= 1;
    fs::write(path, bytes).unwrap();
    fs::File::options().append(true).open(path).unwrap().set_modified(modified).unwrap();
    before
}

#[test]
fn a_run_as_it_was_has_no_findings_whatever_it_is_named_by() {
    let workspace = workspace();
    workspace.pipe_ok(&["run", "p.toml"]);
    let latest = workspace.pipe_ok(&["audit"]);
    assert!(latest.stdout.contains("level: consistent. "), "{}", latest.stdout);
    assert!(!latest.stdout.contains("finding:") && !latest.stdout.contains("note:"), "{}", latest.stdout);
    for target in ["latest", "out", "slices", "out/1_1.txt", "slices/phantom-0001_0.safetensors"] {
        assert_eq!(findings(&workspace, &[target]), (0, Vec::new()), "{target}");
    }
    // A copy anywhere leads to what gave it.
    fs::copy(workspace.path("slices/phantom-0001_0.safetensors"), workspace.path("copy")).unwrap();
    assert_eq!(findings(&workspace, &["copy"]), (0, Vec::new()));
    workspace.write("copy", "something else");
    let unknown = workspace.pipe(&["audit", "copy"]);
    assert_eq!(unknown.code, 3);
    assert!(
        unknown.stderr.contains("no result in [HERE]/.pipe holds the bytes of copy"),
        "{}",
        unknown.stderr
    );
    let no_account = workspace.pipe(&["audit", "texts"]);
    assert_eq!(no_account.code, 2);
    assert!(no_account.stderr.contains("texts has no provenance.json"), "{}", no_account.stderr);
}

#[test]
fn a_changed_byte_of_any_file_is_named() {
    let workspace = workspace();
    let runs = files(&workspace.path(".pipe/runs"));
    let (published, blobs) =
        ([workspace.path("out"), workspace.path("slices")], workspace.path(".pipe/blobs"));
    let published = published.iter().flat_map(|folder| files(folder));
    let inputs = files(&workspace.path("texts"));
    let named: Vec<PathBuf> = runs.into_iter().chain(published).chain(inputs).collect();
    assert!(named.len() >= 9, "{named:?}");
    for path in named {
        let size = fs::metadata(&path).unwrap().len() as usize;
        for place in [0, size / 3, size / 2, size - 2] {
            let before = change(&path, place);
            let (code, found) = findings(&workspace, &["latest"]);
            let file = path.file_stem().unwrap().to_str().unwrap();
            let is_named = found.iter().any(|finding| finding.contains(file));
            assert!(code == 3 && is_named, "byte {place} of {}: {found:?}", path.display());
            fs::write(&path, before).unwrap();
        }
    }
    for path in files(&blobs) {
        let digest = path.display().to_string().replace(&blobs.display().to_string(), "").replace('/', "");
        let before = change(&path, 100);
        let (code, found) = findings(&workspace, &["latest"]);
        assert!(code == 3 && found.iter().any(|finding| finding.contains(&digest)), "{found:?}");
        fs::write(&path, before).unwrap();
    }
    assert_eq!(findings(&workspace, &["latest"]), (0, Vec::new()));
    // Small blobs, preimages and results lie in packs and a journal: what lies at that place is named.
    for folder in [".pipe/packs", ".pipe/results"] {
        for path in files(&workspace.path(folder)) {
            let size = fs::metadata(&path).unwrap().len() as usize;
            let before = change(&path, size / 2);
            let (code, found) = findings(&workspace, &["latest"]);
            let stages = ["report", "text-encode", "other", "crop", "slice"];
            let is_named = found.iter().any(|finding| stages.iter().any(|stage| finding.contains(stage)));
            assert!(code == 3 && is_named, "{}: {found:?}", path.display());
            fs::write(&path, before).unwrap();
        }
    }
}

#[test]
fn what_has_changed_since_is_told_by_what_it_is() {
    type Change = fn(&Workspace);
    let changes: [(Change, &str); 9] = [
        (
            |w| w.write("texts/2_1.txt", "Findings: two.\n\nImpression: third.\n"),
            "report: items changed (2_1: dir changed) since (nodules.csv, p.toml:5; texts, p.toml:5)",
        ),
        (
            |w| w.write("nodules.csv", "pid,nodule_id\n1,1\n"),
            "report: items changed (1 items are gone) since (nodules.csv, p.toml:5; texts, p.toml:5)",
        ),
        (
            |w| fs::remove_file(w.path("texts/2_1.txt")).unwrap(),
            "report: what it is given cannot be looked at: nodules.csv:3: ",
        ),
        (|w| w.write("out/more.txt", "?"), "out/more.txt is there and was not published"),
        (|w| fs::remove_file(w.path("out/1_1.txt")).unwrap(), "out/1_1.txt is gone since it was published"),
        (|w| fs::remove_dir_all(w.path("out")).unwrap(), "out is gone since it was published"),
        (
            |w| fs::remove_file(w.path("out/provenance.json")).unwrap(),
            "out/provenance.json is gone since it was published",
        ),
        (
            |w| {
                let account = w.read("out/provenance.json").replace("\"seed\": 1", "\"seed\": 2");
                w.write("out/provenance.json", account);
            },
            "out/provenance.json does not say what was published (seed)",
        ),
        (|w| fs::remove_dir_all(w.path(".pipe/results")).unwrap(), "report: what its fingerprint "),
    ];
    for (change, expected) in changes {
        let workspace = workspace();
        change(&workspace);
        let (code, found) = findings(&workspace, &["latest"]);
        let is_it =
            |finding: &String| finding.replace(&*workspace.path("").to_string_lossy(), "").contains(expected);
        assert!(code == 3 && found.iter().any(is_it), "{expected}: {found:?}");
        if expected.starts_with("out") || expected.contains("since") {
            assert_eq!(found.len(), 1, "{found:?}");
        }
    }
}

#[test]
fn records_that_were_cut_off_taken_away_or_put_back_are_missed() {
    let workspace = workspace();
    let head = |run: &str| {
        let audit = workspace.pipe(&["audit", run, "--json"]).stdout;
        let audit: Value = serde_json::from_str(&audit).unwrap();
        audit["record"]["head"].as_str().unwrap().to_string()
    };
    let first_head = head("latest");
    let before = workspace.path("before");
    workspace.copy_here(".pipe", "before");
    workspace.pipe_ok(&["run", "p.toml"]);
    let second_head = head("latest");
    assert_ne!(first_head, second_head);
    let mut ids: Vec<_> = fs::read_dir(workspace.path(".pipe/runs")).unwrap().flatten().collect();
    ids.sort_by_key(fs::DirEntry::file_name);
    let ids: Vec<String> = ids.iter().map(|entry| entry.file_name().into_string().unwrap()).collect();
    let record = format!(".pipe/runs/{}/record.jsonl", ids[0]);
    let text = workspace.read(&record);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    // Without its last line the first run looks as if it had been killed, but the second one saw its end.
    workspace.write(&record, lines[..lines.len() - 1].concat());
    let (code, found) = findings(&workspace, &[&ids[0]]);
    assert!(code == 3 && found[0].contains(&format!("run {} saw lines of it", ids[1])), "{found:?}");
    workspace.write(&record, &text);
    assert_eq!(findings(&workspace, &[&ids[0], "--head", &first_head]), (0, Vec::new()));
    assert_eq!(findings(&workspace, &["--head", &first_head]), (0, Vec::new()));
    // Gone.
    fs::rename(workspace.path(".pipe/runs").join(&ids[0]), workspace.path("gone")).unwrap();
    let (code, found) = findings(&workspace, &["latest"]);
    let expected = format!("run {}, which was there when run {} began, is gone", ids[0], ids[1]);
    assert!(code == 3 && found.contains(&expected), "{found:?}");
    // The whole cache as it was before the second run: only who noted its head can tell.
    fs::remove_dir_all(workspace.path(".pipe")).unwrap();
    fs::rename(before, workspace.path(".pipe")).unwrap();
    assert_eq!(findings(&workspace, &["latest"]), (0, Vec::new()));
    let (code, found) = findings(&workspace, &["--head", &second_head]);
    assert!(
        code == 3 && found[0].starts_with(&format!("the head {second_head} is in no record")),
        "{found:?}"
    );
}

#[test]
fn what_gc_removes_and_what_kills_leave_is_no_alarm() {
    let workspace = workspace();
    let mut child = workspace.start(&["run", "p.toml", "--force", "other", "--jobs", "1"]);
    std::thread::sleep(std::time::Duration::from_millis(60));
    child.kill().unwrap();
    child.wait().unwrap();
    workspace.write("p.toml", PIPELINE.replace("size_mm = 60", "size_mm = 64"));
    workspace.pipe_ok(&["run", "p.toml"]);
    workspace.pipe_ok(&["gc", "--keep-runs", "1", "--grace", "0"]);
    assert_eq!(findings(&workspace, &["latest"]), (0, Vec::new()));
    // Two at once.
    let mut other = workspace.start(&["run", "p.toml", "--force", "crop"]);
    workspace.pipe_ok(&["run", "p.toml", "--force", "slice"]);
    assert!(other.wait().unwrap().success());
    for id in fs::read_dir(workspace.path(".pipe/runs")).unwrap().flatten() {
        let audit = workspace.pipe(&["audit", id.file_name().to_str().unwrap()]);
        let alarms = audit.stdout.lines().filter(|line| line.starts_with("finding:"));
        // The first run's results have been collected, or published over.
        let of_records = alarms.filter(|line| line.contains("record.jsonl") || line.contains("run 2"));
        assert_eq!(of_records.collect::<Vec<&str>>(), Vec::<&str>::new());
    }
}

#[test]
fn a_project_that_was_moved_is_audited_where_it_is() {
    let workspace = workspace();
    let moved = tempfile::tempdir().unwrap();
    let to = moved.path().join("moved");
    fs::rename(workspace.path(""), &to).unwrap();
    fs::create_dir(workspace.path("")).unwrap();
    let audit = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_pipe"))
            .args(["audit", "latest", "--cache"])
            .arg(to.join(".pipe"))
            .args(more)
            .current_dir(workspace.path(""))
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, told) = audit(&["--root", to.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = audit(&[]);
    assert!(code == Some(3) && told.contains("what it is given cannot be looked at"), "{told}");
}

#[test]
fn a_training_gives_the_same_bytes_again() {
    let workspace = Workspace::with_training(1);
    workspace.pipe_ok(&["run", "p.toml"]);
    let audit = workspace.pipe_ok(&["audit", "--replay"]);
    assert!(audit.stdout.contains("level: computed again. "), "{}", audit.stdout);
    assert!(audit.stdout.contains("    train        identical, "), "{}", audit.stdout);
}

#[test]
fn a_run_may_be_named_behind_what_is_computed_again() {
    let workspace = workspace();
    let first = fs::read_dir(workspace.path(".pipe/runs")).unwrap().next().unwrap().unwrap();
    let first = first.file_name().into_string().unwrap();
    workspace.pipe_ok(&["pack", "latest", "--to", "run.tar", "--outputs", "all"]);
    for (words, expected) in [
        (&["--replay", "report", first.as_str()][..], format!("run {first}\n")),
        (&["--replay", first.as_str()], format!("run {first}\n")),
        (&["--replay", "run.tar"], "level: computed again".to_string()),
        (&["--replay", "report"], "again      1 instances".to_string()),
    ] {
        let ran = workspace.pipe(&[&["audit"], words].concat());
        assert_eq!(ran.code, 0, "{words:?}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(&expected), "{words:?}: {}", ran.stdout);
    }
    let ran = workspace.pipe(&["audit", "--replay", "report", "nothing"]);
    assert!(ran.code == 2 && ran.stderr.contains("nothing"), "{}", ran.stderr);
}

#[test]
fn records_are_signed_and_checked_as_ssh_keygen_does() {
    let has_keygen = Command::new("ssh-keygen").arg("-?").output().is_ok();
    if !has_part("ssh-keygen", has_keygen, "records_are_signed_and_checked_as_ssh_keygen_does") {
        return;
    }
    let workspace = Workspace::new();
    workspace.write("nodules.csv", "pid,nodule_id\n1,1\n");
    workspace.write("p.toml", "[stage.report]\ninputs = { dataset = \"nodules.csv\" }\n");
    let keygen = |arguments: &[&str]| {
        let output = Command::new("ssh-keygen")
            .args(arguments)
            .current_dir(workspace.path(""))
            .stdin(fs::File::open(workspace.path("nodules.csv")).unwrap())
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for (name, passphrase) in [("key", ""), ("locked", "secret"), ("other", "")] {
        assert!(keygen(&["-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", name]).0);
    }
    workspace.pipe_ok(&["run", "p.toml", "--sign", "key"]);
    let allowed = format!("who@where namespaces=\"pipe-run\" {}", workspace.read("key.pub"));
    workspace.write("allowed", &allowed);
    let ran = workspace.pipe_ok(&["audit", "--trusted", "allowed", "--json"]);
    let audit: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(audit["level"]["signed"]["by"][0], "who@where");
    // The same by ssh-keygen itself.
    let run = fs::read_dir(workspace.path(".pipe/runs")).unwrap().flatten().next().unwrap().path();
    let signature = files(&run.join("signatures")).pop().unwrap();
    workspace.write("nodules.csv.head", format!("{}\n", audit["record"]["head"].as_str().unwrap()));
    let verify = |head: &str| {
        let output = Command::new("ssh-keygen")
            .args(["-Y", "verify", "-f", "allowed", "-I", "who@where", "-n", "pipe-run", "-s"])
            .arg(&signature)
            .current_dir(workspace.path(""))
            .stdin(fs::File::open(workspace.path(head)).unwrap())
            .output()
            .unwrap();
        output.status.success()
    };
    assert!(verify("nodules.csv.head") && !verify("nodules.csv"));
    // By somebody else, by nobody known, and of something else.
    workspace.write("allowed", format!("who@where {}", workspace.read("other.pub")));
    let (code, found) = findings(&workspace, &["--trusted", "allowed"]);
    assert!(code == 3 && found[0].ends_with("and by nobody whose signature counts"), "{found:?}");
    let unknown = workspace.pipe_ok(&["audit"]).stdout;
    assert!(unknown.contains("note: the record is signed by the key SHA256:"), "{unknown}");
    let before = change(&signature, 150);
    let (code, found) = findings(&workspace, &[]);
    assert!(code == 3 && found[0].ends_with(".sig: it is no signature of this record"), "{found:?}");
    fs::write(&signature, before).unwrap();
    // Until then only.
    workspace.write("allowed", allowed.replace("namespaces", "valid-before=\"20200101\",namespaces"));
    assert_eq!(findings(&workspace, &["--trusted", "allowed"]).0, 3);
    workspace.write("allowed", "who@where nothing");
    let refused = workspace.pipe(&["audit", "--trusted", "allowed"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("allowed:1: it names no key"), "{}", refused.stderr);
    // Keys that cannot be used are refused before the run.
    let refused = workspace.pipe(&["run", "p.toml", "--sign", "locked"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("the key locked needs a passphrase"), "{}", refused.stderr);
    let passphrase = [("PIPE_SIGN_PASSPHRASE", "secret")];
    assert_eq!(workspace.pipe_with(&["audit", "--sign", "locked"], &passphrase).code, 0);
    assert_eq!(files(&run.join("signatures")).len(), 2);
    assert_eq!(workspace.pipe(&["audit", "--sign", "nodules.csv"]).code, 2);
    // What was written after it was signed is not signed.
    let record = run.join("record.jsonl");
    let text = fs::read_to_string(&record).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    fs::write(&record, lines[..lines.len() - 1].concat()).unwrap();
    let (code, found) = findings(&workspace, &[]);
    assert!(code == 3 && found.len() == 2, "{found:?}");
}

/// The runs of a workspace, the first one first.
fn runs(workspace: &Workspace) -> Vec<String> {
    let entries = fs::read_dir(workspace.path(".pipe/runs")).unwrap().flatten();
    let mut ids: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    ids.sort();
    ids
}

#[test]
fn a_record_in_the_place_of_another_and_lines_behind_the_end_are_found() {
    let workspace = workspace();
    workspace.pipe_ok(&["run", "p.toml", "--force", "crop"]);
    workspace.pipe_ok(&["run", "p.toml"]);
    let ids = runs(&workspace);
    let record = |id: &str| workspace.path(".pipe/runs").join(id).join("record.jsonl");
    let (first, second) = (fs::read(record(&ids[0])).unwrap(), fs::read(record(&ids[1])).unwrap());
    fs::write(record(&ids[1]), &first).unwrap();
    let (code, found) = findings(&workspace, &[&ids[1]]);
    let told = format!("it is the record of run {}", ids[0]);
    assert!(code == 3 && found.iter().any(|finding| finding.contains(&told)), "{found:?}");
    // A record that is gone, though its folder is there.
    fs::remove_file(record(&ids[1])).unwrap();
    let (code, found) = findings(&workspace, &["latest"]);
    let told = format!("run {}, which was there when run", ids[1]);
    assert!(code == 3 && found.iter().any(|finding| finding.contains(&told)), "{found:?}");
    fs::write(record(&ids[1]), second).unwrap();
    // A line that goes on from the right seal, as if the run had done more.
    let text = fs::read_to_string(record(&ids[2])).unwrap();
    let head = text.lines().last().unwrap();
    let seal = &head[head.len() - 66..head.len() - 2];
    let object = "{\"record\":\"listing\",\"digest\":\"0\",\"instances\":0";
    let mut hasher = pipe_cache::Hasher::new("pipe record line, version 3");
    let next = hasher.field(seal.parse::<pipe_cache::Digest>().unwrap().as_bytes()).field(object).finish();
    fs::write(record(&ids[2]), format!("{text}{object},\"seal\":\"{next}\"}}\n")).unwrap();
    let (code, found) = findings(&workspace, &["latest", "--head", seal]);
    assert!(code == 3 && found.iter().any(|finding| finding.contains("stands behind the end")), "{found:?}");
    assert!(
        found.iter().any(|finding| finding.contains("the head that was noted is of its first")),
        "{found:?}"
    );
}

#[test]
fn an_account_that_names_another_result_does_not_hide_a_changed_file() {
    let workspace = workspace();
    let account = workspace.read("out/provenance.json");
    let at = account.find("\"fingerprint\": \"").unwrap() + 16;
    let mut forged = account.clone().into_bytes();
    forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
    workspace.write("out/provenance.json", forged);
    workspace.write("out/1_1.txt", "forged");
    for target in ["latest", "out", "out/1_1.txt"] {
        let (code, found) = findings(&workspace, &[target]);
        let names = |name: &str| found.iter().any(|finding| finding.contains(name));
        assert!(
            code == 3 && names("out/1_1.txt has been changed") && names("provenance.json"),
            "{target}: {found:?}"
        );
    }
}

#[test]
fn what_several_runs_and_caches_publish_alike_is_no_finding() {
    let workspace = workspace();
    workspace.pipe_ok(&["run", "p.toml", "--force", "slice"]);
    assert_eq!(findings(&workspace, &["latest"]), (0, Vec::new()));
    workspace.write("q.toml", workspace.read("p.toml"));
    workspace.pipe_ok(&["run", "q.toml"]);
    assert_eq!(findings(&workspace, &["latest"]), (0, Vec::new()));
    // Neither stage that is published draws random numbers.
    workspace.pipe_ok(&["run", "p.toml", "--set", "pipeline.seed=9"]);
    assert_eq!(findings(&workspace, &["latest"]), (0, Vec::new()));
    workspace.pipe_ok(&["run", "p.toml", "--cache", "other"]);
    assert_eq!(findings(&workspace, &["latest", "--cache", "other"]), (0, Vec::new()));
    // What was published over since is compared with the run that did.
    workspace.pipe_ok(&["run", "p.toml", "--set", "report.stream=b"]);
    let first = runs(&workspace).remove(0);
    let told = workspace.pipe_ok(&["audit", &first]).stdout;
    assert!(told.contains("which published there since"), "{told}");
    workspace.write("out/1_1.txt", "forged");
    assert_eq!(findings(&workspace, &[&first]).0, 3);
}

#[test]
fn only_a_whole_run_that_has_ended_is_signed() {
    let has_keygen = Command::new("ssh-keygen").arg("-?").output().is_ok();
    if !has_part("ssh-keygen", has_keygen, "only_a_whole_run_that_has_ended_is_signed") {
        return;
    }
    let workspace = workspace();
    let key = "key";
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", key])
        .current_dir(workspace.path(""))
        .status();
    assert!(made.unwrap().success());
    workspace.pipe_ok(&["pack", "latest", "--to", "run.tar"]);
    for (target, told) in [("out", "only a whole run is signed"), ("run.tar", "a pack cannot be signed")] {
        let refused = workspace.pipe(&["audit", target, "--sign", key]);
        assert!(refused.code == 2 && refused.stderr.contains(told), "{}", refused.stderr);
    }
    // A file that is called like a run does not stand for it.
    fs::create_dir(workspace.path("latest")).unwrap();
    workspace.pipe_ok(&["audit", "--sign", key]);
}
