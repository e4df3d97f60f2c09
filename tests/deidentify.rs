//! `--de-identified`: what leaves a cache names nobody, confirms no guess, and still is audited.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use support::{Workspace, has_part};

/// Names of folders, files, patients, and texts and numbers that nobody outside may read.
const SECRETS: [&str; 13] = [
    "Muster",
    "clinic-north",
    "tumour board",
    "cohort-list",
    "Erika",
    "scanned",
    "Winterstein",
    "4711815",
    "192.168",
    "12.4.50",
    "Klinik-Nord",
    "4711999",
    "Zacharias",
];
const EVALUATE: &str = "[stage.evaluate]\n\
                        params = { draws = 20, name = \"tumour board of the clinic-north, 12.4.50, by Dr. Winterstein\" }\n\
                        inputs = { dataset = \"@other\", slices = \"@other-slice\", models = \"@train\", weights = \"random\", \
                        calibrators = \"@calibrate\" }\npublish = \"results/e\"\n\
                        [stage.several]\nuses = \"evaluate\"\nparams = { draws = 20, subgroups = [\"pid\"] }\n\
                        inputs = { dataset = { Klinik-Nord = \"@other\", 4711999 = \"@other\" }, \
                        slices = { Klinik-Nord = \"@other-slice\", 4711999 = \"@other-slice\" }, models = \"@train\", weights = \"random\" }\n\
                        [vars]\nmrn = 4711815\nserver = \"192.168.178.20\"\ncache = \"clinic-north\"\n\
                        [profile.Zacharias]\nserver = \"x\"\n";

/// A run on patients of a clinic: those of a phantom under other names.
fn workspace() -> Workspace {
    let workspace = Workspace::with_two_folds(6);
    workspace.write("q.toml", Workspace::other_patients(6));
    workspace.pipe_ok(&["run", "q.toml", "--only", "other"]);
    workspace.pipe_ok(&["get", "q.toml", "other", "--to", "phantom"]);
    fs::remove_dir_all(workspace.path(".pipe")).unwrap();
    let (folder, table) = ("clinic-north/Erika", workspace.read("phantom/dataset.csv"));
    let mut renamed = String::new();
    for line in table.lines() {
        renamed +=
            &(line.replace("other-000", "Muster-195").replace("scans/", &format!("{folder}/scanned/"))
                + "\n");
    }
    workspace.write(&format!("{folder}/cohort-list.csv"), &renamed);
    for scan in fs::read_dir(workspace.path("phantom/scans")).unwrap() {
        let scan = scan.unwrap();
        let name = scan.file_name().into_string().unwrap().replace("other-000", "Muster-195");
        workspace.write(&format!("{folder}/scanned/{name}"), fs::read(scan.path()).unwrap());
    }
    let manifest = workspace.read("p.toml");
    let (trained, _) = manifest.split_once("[stage.other]").unwrap();
    let other = Workspace::other_patients(6);
    let (_, other) = other.split_once("[stage.other-crop]").unwrap();
    let other =
        format!("[stage.other-crop]{other}").replace("@other\"", &format!("{folder}/cohort-list.csv\""));
    let evaluate = EVALUATE.replace("@other\"", &format!("{folder}/cohort-list.csv\""));
    workspace.write("p.toml", format!("{trained}{other}{evaluate}"));
    workspace.pipe_ok(&["run", "p.toml", "--profile", "Zacharias"]);
    // Known from here on.
    workspace.pipe_ok(&["run", "p.toml", "--set", "server=192.168.178.20"]);
    workspace
}

/// Everything in a folder. Of an envelope, what is signed and by which key: its base64 spells any short word by chance.
fn bytes_in(path: &Path) -> Vec<u8> {
    if path.is_file() && path.to_string_lossy().ends_with("dsse.json") {
        let envelope: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let mut told = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
        for signature in envelope["signatures"].as_array().unwrap() {
            told.extend(format!("\n{}", signature["keyid"]).bytes());
        }
        return told;
    }
    if path.is_file() {
        return fs::read(path).unwrap();
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        all.extend([path.file_name().unwrap().as_encoded_bytes(), b"\n"].concat());
        all.extend(bytes_in(&path));
    }
    all
}

/// All words of 64 hexadecimal digits, each with what stands before it.
fn digests(bytes: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = BTreeMap::new();
    let mut at = 0;
    for word in text.split(|c: char| !c.is_ascii_hexdigit()) {
        if word.len() == 64 {
            let start = (at.max(20) - 20..=at).find(|start| text.is_char_boundary(*start)).unwrap();
            found.insert(word.to_string(), text[start..at].to_string());
        }
        at += word.len();
        at += text[at..].chars().next().map_or(0, char::len_utf8);
    }
    found
}

/// Where a text has a word that stands alone, and what follows: a host may be called `vm`, which longer words contain.
fn word_in(text: &str, word: &str) -> Option<String> {
    let within = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let mut places = text.match_indices(word).map(|(at, _)| at);
    let at = places.find(|&at| {
        !within(text[..at].chars().next_back()) && !within(text[at + word.len()..].chars().next())
    })?;
    Some(text[at..].chars().take(140).collect())
}

/// No word and no digest may tell whose data it is. Those of code may be told, and those of stages that are given nothing.
fn assert_names_nobody(workspace: &Workspace, leaving: &str) {
    let bytes = bytes_in(&workspace.path(leaving));
    let text = String::from_utf8_lossy(&bytes);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let project = workspace.path("p.toml");
    let project = project.parent().unwrap().file_name().unwrap().to_str().unwrap();
    for secret in SECRETS {
        let at = text.find(secret).map(|at| text[at..].chars().take(140).collect::<String>());
        assert_eq!(at, None, "{leaving}: {secret}");
    }
    for name in [project, host.trim()] {
        assert_eq!(word_in(&text, name), None, "{leaving}: {name}");
    }
    let show: Value = serde_json::from_str(&workspace.pipe_ok(&["show", "latest", "--json"]).stdout).unwrap();
    let instances = show["instances"].as_array().unwrap();
    let phantom = instances.iter().find(|one| one["label"] == "phantom").unwrap();
    let phantom = phantom["fingerprint"].as_str().unwrap();
    let secret = digests(&bytes_in(&workspace.path("open.tar")));
    let told = digests(&bytes).into_iter().filter(|(digest, before)| {
        secret.contains_key(digest)
            && digest != phantom
            && !before.contains("ode\"")
            && !before.contains("code ")
    });
    assert_eq!(told.collect::<Vec<_>>(), [], "{leaving}");
}

#[test]
fn what_leaves_names_nobody_and_confirms_no_guess() {
    let workspace = workspace();
    workspace.pipe_ok(&["pack", "latest", "--to", "open.tar", "--outputs", "all"]);
    let open = bytes_in(&workspace.path("open.tar"));
    let open = String::from_utf8_lossy(&open);
    for secret in SECRETS {
        assert!(open.contains(secret), "{secret}");
    }
    let keygen = ["-q", "-t", "ed25519", "-N", "", "-C", "key", "-f", "key"];
    let made = Command::new("ssh-keygen").args(keygen).current_dir(workspace.path("")).status();
    let has_key = has_part("ssh-keygen", made.is_ok_and(|made| made.success()), "a statement that is signed");
    workspace.pipe_ok(&["pack", "latest", "--to", "run.tar", "--de-identified"]);
    assert_names_nobody(&workspace, "run.tar");
    for format in ["ro-crate", "prov-json", "in-toto", "methods"] {
        let mut export = vec!["export", "latest", "--format", format, "--to", format, "--de-identified"];
        if has_key && format == "in-toto" {
            export.extend(["--sign", "key"]);
        }
        workspace.pipe_ok(&export);
        assert_names_nobody(&workspace, format);
    }
    // The numbers of all cases together are there.
    let metrics = |path: &str| -> Value { serde_json::from_str(&workspace.read(path)).unwrap() };
    let (open, left) =
        (metrics("results/e/metrics.json"), metrics("ro-crate/results/evaluate.metrics/metrics.json"));
    let (_, left) = left["dataset"].as_object().unwrap().iter().next().unwrap();
    let (name, open) = open["dataset"].as_object().unwrap().iter().next().unwrap();
    assert!(name.starts_with("tumour board") && open == left, "{name}");
    assert!(workspace.path("ro-crate/results/several.metrics/metrics.csv").exists());
    assert!(!workspace.path("ro-crate/results/several.metrics/subgroups.csv").exists());
    let statement: Value = serde_json::from_str(&workspace.read("in-toto/statement.json")).unwrap();
    assert!(statement["subject"].as_array().unwrap().len() >= 8);
}

#[test]
fn a_pack_that_names_nobody_is_audited_anywhere_and_compared_by_who_has_the_key() {
    let workspace = workspace();
    workspace.pipe_ok(&["pack", "latest", "--to", "run.tar", "--de-identified"]);
    workspace.pipe_ok(&["pack", "latest", "--to", "twice.tar", "--de-identified"]);
    let pack = fs::read(workspace.path("run.tar")).unwrap();
    assert!(pack == fs::read(workspace.path("twice.tar")).unwrap());
    let elsewhere = Workspace::new();
    elsewhere.write("run.tar", &pack);
    let ran = elsewhere.pipe_ok(&["audit", "run.tar"]);
    assert!(ran.stdout.contains("level: consistent, de-identified."), "{}", ran.stdout);
    assert!(ran.stdout.contains("instances  14 with results"), "{}", ran.stdout);
    let ran = elsewhere.pipe(&["audit", "run.tar", "--replay"]);
    assert!(ran.code == 2 && ran.stderr.contains("nothing can be computed again"), "{}", ran.stderr);
    let key = ".pipe/de-identified.key";
    let ran = workspace.pipe_ok(&["audit", "run.tar", "--key", key]);
    assert!(ran.stdout.contains("byte for byte what the key gives"), "{}", ran.stdout);
    // Any other byte is found where the pack is, and any other pack where the key is.
    for place in (1200..pack.len()).step_by(pack.len() / 40) {
        let mut changed = pack.clone();
        changed[place] ^= 1;
        elsewhere.write("run.tar", &changed);
        assert_eq!(elsewhere.pipe(&["audit", "run.tar"]).code, 3, "byte {place}");
    }
    workspace.write("other.key", "0123456789abcdef0123456789abcdef");
    workspace.pipe_ok(&["pack", "latest", "--to", "other.tar", "--de-identified", "--key", "other.key"]);
    workspace.pipe_ok(&["audit", "other.tar", "--key", "other.key"]);
    let ran = workspace.pipe(&["audit", "other.tar", "--key", key]);
    assert!(ran.code == 3 && ran.stdout.contains("is not what the key gives of that run"), "{}", ran.stdout);
    workspace.pipe_ok(&["pack", "latest", "--to", "open.tar"]);
    let ran = workspace.pipe(&["audit", "open.tar", "--key", key]);
    assert!(ran.code == 2 && ran.stderr.contains("--key is of a de-identified pack"), "{}", ran.stderr);
}

#[test]
fn keys_and_words_that_do_not_go_together_are_refused() {
    let workspace =
        Workspace::with_reports("[stage.report]\ninputs = { dataset = \"nodules.csv\", dir = \"texts\" }\n");
    let pack = |more: &[&str]| workspace.pipe(&[&["pack", "latest", "--to", "run.tar"], more].concat());
    workspace.run(&["--quiet"]);
    workspace.write("short.key", "secret\n");
    for (more, told) in [
        (&["--de-identified", "--key", "short.key"][..], "a key has at least 32"),
        (&["--de-identified", "--key", "none.key"], "none.key"),
        (&["--key", "short.key"], "--de-identified"),
        (&["--de-identified", "--root", "."], "--root"),
        (&["--de-identified", "--outputs", "all"], "--outputs"),
    ] {
        let ran = pack(more);
        assert!(ran.code == 2 && ran.stderr.contains(told), "{more:?}: {}{}", ran.stdout, ran.stderr);
        assert!(!workspace.path("run.tar").exists() && !workspace.path(".pipe/de-identified.key").exists());
    }
    let ran = workspace.pipe(&["pack", "nothing", "--to", "run.tar", "--de-identified"]);
    assert!(ran.code == 2 && !workspace.path(".pipe/de-identified.key").exists(), "{}", ran.stderr);
    // A run without files of all cases together has no subject for a statement.
    let ran = workspace.pipe(&["export", "latest", "--format", "in-toto", "--to", "s", "--de-identified"]);
    assert!(ran.code == 2 && ran.stderr.contains("no last result whose files may be told"), "{}", ran.stderr);
}
