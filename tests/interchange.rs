//! `pipe export`: a run's provenance in forms that other programs read, by their validators and by checks of what these let pass.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use support::{Workspace, has_part};

const PIPELINE: &str = "[stage.report]\ninputs = { dataset = \"my nodules.csv\", dir = \"texts\" }\n\
                        [stage.text-encode]\ninputs = { reports = \"@report\" }\n\
                        [stage.other]\nuses = \"phantom\"\nparams = { patients = 2, shape = [72, 72, 36] }\n\
                        [stage.crop]\nparams = { size_mm = 60 }\ninputs = { dataset = \"@other\" }\n\
                        [stage.slice]\ninputs = { volumes = \"@crop\" }\n";

/// Two runs, of which the second has computed the text only.
fn small() -> Workspace {
    let workspace = Workspace::with_reports(PIPELINE);
    workspace.write("my nodules.csv", workspace.read("nodules.csv"));
    workspace.pipe_ok(&["run", "p.toml"]);
    workspace.write("texts/2_1.txt", "Findings: two.\n\nImpression: third.\n");
    workspace.pipe_ok(&["run", "p.toml"]);
    workspace
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// All `{"@id": …}` in a value that are not an entity's own name.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("@id") => {
            found.insert(fields["@id"].as_str().unwrap().to_string());
        }
        Value::Object(fields) => fields.values().for_each(|value| references(value, found)),
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn a_crate_is_whole_and_true() {
    let workspace = small();
    workspace.pipe_ok(&["export", "latest", "--format", "ro-crate", "--to", "crate"]);
    let text = workspace.read("crate/ro-crate-metadata.json");
    for never in ["file:///", &*workspace.path("").to_string_lossy(), "null"] {
        assert!(!text.contains(never), "{never}");
    }
    let metadata: Value = serde_json::from_str(&text).unwrap();
    let graph = metadata["@graph"].as_array().unwrap();
    let ids: Vec<&str> = graph.iter().map(|entity| entity["@id"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "each is told once");
    let mut referred = BTreeSet::new();
    references(&metadata["@graph"], &mut referred);
    let known =
        ["https://w3id.org/ro/crate/1.1", "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"];
    let dangling = referred.iter().filter(|id| !ids.contains(&id.as_str()) && !known.contains(&id.as_str()));
    assert_eq!(dangling.collect::<Vec<_>>(), Vec::<&String>::new());
    for entity in graph.iter().filter(|entity| entity["@type"] == "File") {
        let name = entity["name"].as_str().unwrap();
        let bytes = fs::read(workspace.path("crate").join(name)).unwrap();
        assert_eq!(entity["contentSize"], bytes.len().to_string());
        assert_eq!(entity["blake3"], pipe_cache::Digest::of(&bytes).to_string());
        if let Some(sha256) = entity["sha256"].as_str() {
            let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(sha256, found);
        }
    }
    let first = first_run(&workspace);
    let actions: Vec<&Value> = graph.iter().filter(|entity| entity["@type"] == "CreateAction").collect();
    assert_eq!(actions.len(), 6);
    for action in actions {
        assert!(!action["object"].as_array().unwrap().is_empty(), "{action}");
        assert!(!action["result"].as_array().unwrap().is_empty(), "{action}");
        assert!(action["startTime"].as_str().unwrap() <= action["endTime"].as_str().unwrap(), "{action}");
        // What was known is told as the action of the run that computed it.
        if action["name"] == "other" {
            assert_eq!(action["description"], format!("computed in run {first}"));
        }
    }
    let again = workspace.pipe(&["export", "latest", "--format", "ro-crate", "--to", "crate"]);
    assert!(again.code == 2 && again.stderr.contains("crate is not empty"), "{}", again.stderr);
    workspace.pipe_ok(&["export", "latest", "--format", "ro-crate", "--to", "twice"]);
    assert_eq!(text, workspace.read("twice/ro-crate-metadata.json"));
}

#[test]
fn a_crate_is_valid_by_the_validator() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_string());
    let found = Command::new(&python).args(["-c", "import rocrate_validator, rocrate"]).output();
    let test = "a_crate_is_valid_by_the_validator";
    if !has_part("rocrate", found.is_ok_and(|output| output.status.success()), test) {
        return;
    }
    let workspace = small();
    workspace.pipe_ok(&["export", "latest", "--format", "ro-crate", "--to", "crate"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/validate_crate.py");
    let validate =
        |path: &str| Command::new(&python).arg(&script).arg(workspace.path(path)).output().unwrap();
    let told = validate("crate");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
    workspace.pipe_ok(&["export", "latest", "--format", "ro-crate", "--to", "nobody", "--de-identified"]);
    let told = validate("nobody");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
    // It does look.
    let metadata = workspace.read("crate/ro-crate-metadata.json").replace("mainEntity", "mainThing");
    workspace.write("crate/ro-crate-metadata.json", metadata);
    assert!(!validate("crate").status.success());
}

#[test]
fn prov_and_in_toto_tell_the_same_run() {
    let workspace = small();
    workspace.pipe_ok(&["export", "latest", "--format", "prov-json", "--to", "prov"]);
    let prov = json(&workspace.path("prov/prov.json"));
    assert_eq!(prov["activity"].as_object().unwrap().len(), 5);
    let entities: BTreeSet<&String> = prov["entity"].as_object().unwrap().keys().collect();
    for relation in ["used", "wasGeneratedBy"] {
        for (_, told) in prov[relation].as_object().unwrap() {
            assert!(entities.contains(&told["prov:entity"].as_str().unwrap().to_string()), "{told}");
            assert!(!prov["activity"][told["prov:activity"].as_str().unwrap()].is_null(), "{told}");
        }
    }
    workspace.pipe_ok(&["export", "latest", "--format", "in-toto", "--to", "statement"]);
    let statement = json(&workspace.path("statement/statement.json"));
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    workspace.pipe_ok(&["get", "latest", "slice", "--to", "got"]);
    let subjects = statement["subject"].as_array().unwrap();
    let of_slice = |subject: &&Value| subject["name"].as_str().unwrap().starts_with("slice.slices/");
    let got = fs::read_dir(workspace.path("got")).unwrap().count();
    assert_eq!(subjects.iter().filter(of_slice).count(), got);
    for subject in subjects {
        let name = subject["name"].as_str().unwrap();
        if let Some(file) = name.strip_prefix("slice.slices/") {
            let bytes = fs::read(workspace.path("got").join(file)).unwrap();
            let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(subject["digest"]["sha256"], sha256);
            assert_eq!(subject["digest"]["blake3"], pipe_cache::Digest::of(&bytes).to_string());
        }
    }
}

#[test]
fn a_crate_has_the_inputs_that_are_what_they_were_and_no_others() {
    let workspace = small();
    let export = |to: &str| {
        workspace.pipe_ok(&["export", "latest", "--format", "ro-crate", "--to", to]);
        workspace.path(to).join("inputs/my nodules.csv").is_file()
    };
    assert!(export("before"));
    // A column that nothing uses, and the order of the columns, do not count.
    workspace.write("my nodules.csv", "note,nodule_id,pid\nx,1,1\ny,1,2\n");
    assert!(export("same"));
    workspace.write("my nodules.csv", "pid,nodule_id\n1,1\n3,1\n");
    assert!(!export("changed"));
    let metadata = json(&workspace.path("changed/ro-crate-metadata.json"));
    let graph = metadata["@graph"].as_array().unwrap();
    let told = graph.iter().find(|entity| entity["name"] == "my nodules.csv").unwrap();
    assert_eq!(told["@type"], "CreativeWork");
}

#[test]
fn a_signed_statement_is_verified_by_its_key() {
    let has_keygen = Command::new("ssh-keygen").arg("-?").output().is_ok();
    if !has_part("ssh-keygen", has_keygen, "a_signed_statement_is_verified_by_its_key") {
        return;
    }
    let workspace =
        Workspace::with_reports("[stage.report]\ninputs = { dataset = \"nodules.csv\", dir = \"texts\" }\n");
    workspace.run(&[]);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", "key"])
        .current_dir(workspace.path(""))
        .status();
    assert!(made.unwrap().success());
    workspace.pipe_ok(&["export", "latest", "--format", "in-toto", "--to", "signed", "--sign", "key"]);
    let envelope = json(&workspace.path("signed/statement.dsse.json"));
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let (kind, body) = (envelope["payloadType"].as_str().unwrap(), bytes(&envelope["payload"]));
    let statement: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(statement, json(&workspace.path("signed/statement.json")));
    // In OpenSSH's form the key is the last 32 bytes.
    let public = workspace.read("key.pub");
    let public = STANDARD.decode(public.split(' ').nth(1).unwrap()).unwrap();
    let key = VerifyingKey::from_bytes(public.last_chunk().unwrap()).unwrap();
    let signature = Signature::from_slice(&bytes(&envelope["signatures"][0]["sig"])).unwrap();
    let signed = |body: &[u8]| {
        let start = format!("DSSEv1 {} {kind} {} ", kind.len(), body.len());
        [start.as_bytes(), body].concat()
    };
    key.verify_strict(&signed(&body), &signature).unwrap();
    assert!(key.verify_strict(&signed(&[&body[..], b" "].concat()), &signature).is_err());
    let refused =
        workspace.pipe(&["export", "latest", "--format", "prov-json", "--to", "no", "--sign", "key"]);
    assert!(refused.code == 2 && !workspace.path("no").exists(), "{}", refused.stderr);
}

/// The first run of a workspace.
fn first_run(workspace: &Workspace) -> String {
    let mut ids: Vec<String> = fs::read_dir(workspace.path(".pipe/runs"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    ids.sort();
    ids.remove(0)
}
