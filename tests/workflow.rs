//! The whole workflow through the program: what runs, what does not run again, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::BufRead as _;

use pipe_cache::{Digest, Store};
use support::{Ran, Workspace};

/// Overrides that make the phantom pipeline small enough for a test.
const SMALL: &[&str] = &[
    "phantom.patients=14",
    "test-phantom.patients=8",
    "phantom.shape=[72,72,36]",
    "test-phantom.shape=[72,72,36]",
    "train.epochs=1",
    "train.architecture.text={width=64, layers=1, vocabulary=49408, context=77}",
    "train.architecture.vision={width=64, layers=1, patch=24, resolution=48}",
    "evaluate.draws=50",
];

fn small(extra: &[&str]) -> Vec<String> {
    SMALL.iter().chain(extra).flat_map(|set| ["--set".to_string(), (*set).to_string()]).collect()
}

fn run_phantom(workspace: &Workspace, cache: &str, extra: &[&str], environment: &[(&str, &str)]) -> Ran {
    let sets = small(extra);
    let mut arguments = vec!["run", "pipelines/phantom.toml", "--json", "--cache", cache];
    arguments.extend(sets.iter().map(String::as_str));
    workspace.pipe_with(&arguments, environment)
}

fn with_pipelines() -> Workspace {
    let workspace = Workspace::new();
    workspace.copy("pipelines", "pipelines");
    workspace
}

#[test]
fn once_through_then_only_what_changed() {
    let workspace = with_pipelines();
    let first = run_phantom(&workspace, ".pipe", &[], &[]);
    assert_eq!(first.code, 0, "{}\n{}", first.stdout, first.stderr);
    assert_eq!((first.count("executed"), first.count("cached")), (20, 0));
    for name in ["predictions.csv", "metrics.json", "metrics.csv", "summary.txt"] {
        assert!(workspace.path("results/phantom").join(name).is_file(), "{name}");
    }
    let metrics: serde_json::Value =
        serde_json::from_str(&workspace.read("results/phantom/metrics.json")).unwrap();
    let ensemble = &metrics["dataset"]["phantom"]["ensemble"];
    assert!(ensemble["auroc"]["low"].as_f64().unwrap() <= ensemble["auroc"]["value"].as_f64().unwrap());
    assert!(workspace.read("results/phantom/summary.txt").contains("best possible (generator)"));

    let second = run_phantom(&workspace, ".pipe", &[], &[]);
    assert_eq!((second.count("executed"), second.count("items_executed")), (0, 0));
    // What there was to warn of is told again: so few cases say little.
    assert!(first.count("warnings") > 0, "{}", first.stdout);
    assert_eq!(second.count("warnings"), first.count("warnings"));
    let warnings = |ran: &Ran| -> Vec<String> {
        let mut lines: Vec<String> = ran
            .stdout
            .lines()
            .filter(|line| line.contains("\"event\":\"warning\""))
            .map(str::to_string)
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(warnings(&second), warnings(&first));
    let shown = workspace.pipe_ok(&["show", "latest"]).stdout;
    assert_eq!(shown.matches("    warning: ").count() as u64, first.count("warnings"), "{shown}");
    assert!(shown.contains("warning: phantom: "), "{shown}");
    assert!(second.stdout.contains("\"headline\":\"phantom: ensemble AUROC "), "{}", second.stdout);

    let sets = small(&["train.lr=3e-5"]);
    let mut arguments = vec!["plan", "pipelines/phantom.toml"];
    arguments.extend(sets.iter().map(String::as_str));
    let plan = workspace.pipe_ok(&arguments);
    assert!(plan.stdout.contains("train.lr 0.001 → 3e-5 (--set train.lr=3e-5)"), "{}", plan.stdout);

    let third = run_phantom(&workspace, ".pipe", &["train.lr=3e-5"], &[]);
    assert_eq!(third.count("items_executed"), 0);
    let mut expected: Vec<String> = (0..5)
        .flat_map(|fold| [format!("calibrate[fold={fold}]"), format!("train[fold={fold}]")])
        .chain(["evaluate".to_string()])
        .collect();
    expected.sort();
    assert_eq!(third.executed(), expected);
}

#[test]
fn a_reason_names_the_line_of_the_manifest() {
    let workspace = with_pipelines();
    workspace.write(
        "p.toml",
        "[stage.phantom]\nparams = { patients = 2 }\n[stage.split]\ninputs = { dataset = \"@phantom\" }\n",
    );
    workspace.pipe(&["run", "p.toml"]);
    workspace.write(
        "p.toml",
        "[stage.phantom]\nparams = { patients = 3 }\n[stage.split]\ninputs = { dataset = \"@phantom\" }\n",
    );
    let plan = workspace.pipe_ok(&["plan", "p.toml"]);
    assert!(plan.stdout.contains("phantom.patients 2 → 3 (p.toml:2)"), "{}", plan.stdout);
}

/// The blobs of all artifacts; results and records of runs differ by their times.
fn content(workspace: &Workspace, cache: &str) -> BTreeMap<Digest, Vec<u8>> {
    let store = Store::open_existing(&workspace.path(cache)).unwrap().unwrap();
    let results = store.result_blobs().unwrap();
    let blobs = store.blobs().unwrap().into_keys().filter(|digest| !results.contains(digest));
    blobs.map(|digest| (digest, store.read(digest).unwrap())).collect()
}

#[test]
fn one_thread_and_two_give_the_same_bytes_training_included() {
    let workspace = with_pipelines();
    let sets = small(&["train.foreach.fold=[0,1]", "calibrate.foreach.fold=[0,1]"]);
    let run = |cache: &str, threads: &str| {
        let mut arguments = vec!["run", "pipelines/phantom.toml", "--cache", cache, "--jobs", threads];
        arguments.extend(sets.iter().map(String::as_str));
        let threads = [("RAYON_NUM_THREADS", threads), ("CANDLE_NUM_THREADS", threads)];
        workspace.pipe_with(&arguments, &threads)
    };
    let (one, two) = (run("one", "1"), run("two", "2"));
    assert_eq!((one.code, two.code), (0, 0), "{}\n{}", one.stderr, two.stderr);
    let (one, two) = (content(&workspace, "one"), content(&workspace, "two"));
    assert!(one.len() > 50);
    assert!(one.keys().eq(two.keys()), "different blobs");
    assert!(one == two);
}

#[test]
fn testing_on_training_patients_is_refused() {
    let workspace = with_pipelines();
    let ran = run_phantom(
        &workspace,
        ".pipe",
        &["test_dataset=@phantom", "train.foreach.fold=[0]", "calibrate.foreach.fold=[0]"],
        &[],
    );
    assert_eq!(ran.code, 2, "{}", ran.stdout);
    assert!(ran.stdout.contains("is trained on the rows of @phantom.dataset"), "{}", ran.stdout);
}

#[test]
fn a_calibrator_of_another_checkpoint_is_left_out_with_a_warning() {
    let workspace = with_pipelines();
    let folds = ["train.foreach.fold=[0]", "calibrate.foreach.fold=[0]"];
    let ran = run_phantom(&workspace, ".pipe", &["evaluate.checkpoint=last", folds[0], folds[1]], &[]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let problem = "no calibrated values: the calibrators are of checkpoint best_both, but last predicts";
    let warned =
        |ran: &Ran| ran.stdout.lines().any(|line| line.contains("\"warning\"") && line.contains(problem));
    assert!(warned(&ran), "{}", ran.stdout);
    let published = |name: &str| workspace.read(&format!("results/phantom/{name}"));
    assert!(published("summary.txt").contains(problem), "{}", published("summary.txt"));
    assert!(!published("predictions.csv").contains("calibrated"));
    // Without being asked for they are not missed.
    let without = ["evaluate.calibrated=false", "evaluate.checkpoint=last", folds[0], folds[1]];
    let ran = run_phantom(&workspace, ".pipe", &without, &[]);
    assert!(ran.code == 0 && !warned(&ran) && !published("summary.txt").contains(problem), "{}", ran.stdout);
    assert!(!published("predictions.csv").contains("calibrated"));
    let both = ["evaluate.checkpoint=last", "calibrate.checkpoint=last", folds[0], folds[1]];
    assert_eq!(run_phantom(&workspace, ".pipe", &both, &[]).code, 0);
    assert!(published("predictions.csv").contains("calibrated_ensemble"));
}

#[test]
fn a_loss_that_is_not_a_number_stops_the_fold_and_leaves_the_rest() {
    let workspace = with_pipelines();
    let folds = ["train.foreach.fold=[0]", "calibrate.foreach.fold=[0]"];
    // Without it, what else goes on at that moment may or may not be finished.
    let sets = small(&["train.lr=1e30", "train.epochs=5", folds[0], folds[1]]);
    let mut arguments = vec!["run", "pipelines/phantom.toml", "--json", "--keep-going"];
    arguments.extend(sets.iter().map(String::as_str));
    let ran = workspace.pipe(&arguments);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let failure = ran.stdout.lines().find(|line| line.contains("stage-failed")).unwrap();
    assert!(failure.contains("the loss is not finite") && failure.contains("lower `lr`"), "{failure}");
    let again = run_phantom(&workspace, ".pipe", &folds, &[]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(again.count("items_executed"), 0);
}

/// A project with real files: phantoms copied out of the cache.
fn with_files() -> Workspace {
    let workspace = Workspace::new();
    workspace.write(
        "make.toml",
        "[stage.phantom]\nparams = { patients = 4, shape = [72,72,36] }\n\
         [stage.other]\nuses = \"phantom\"\nparams = { patients = 3, stream = \"other\", shape = [72,72,36] }\n",
    );
    workspace.pipe_ok(&["run", "make.toml", "--cache", "make"]);
    workspace.pipe_ok(&["get", "make.toml", "phantom.dataset", "--to", "data", "--cache", "make"]);
    workspace.write(
        "p.toml",
        "[pipeline]\nroot = \"data\"\n[stage.crop]\ninputs = { dataset = \"dataset.csv\" }\nparams = { size_mm = 32 }\n\
         [stage.slice]\ninputs = { volumes = \"@crop\" }\n",
    );
    workspace
}

fn items_of(ran: &Ran) -> (u64, u64, u64) {
    (ran.count("executed"), ran.count("items_executed"), ran.count("items_cached"))
}

#[test]
fn touching_moving_and_relabelling_run_no_crop_and_a_voxel_runs_one() {
    let workspace = with_files();
    let first = workspace.pipe_ok(&["run", "p.toml", "--json"]);
    let nodules = first.count("items_executed") / 2;
    let run = || items_of(&workspace.pipe_ok(&["run", "p.toml", "--json"]));

    let scan = workspace.path("data/scans/phantom-0001.nii.gz");
    let bytes = fs::read(&scan).unwrap();
    fs::write(&scan, &bytes).unwrap();
    assert_eq!(run(), (0, 0, 2 * nodules), "touched");

    let table = workspace.read("data/dataset.csv");
    fs::rename(&scan, workspace.path("data/moved.nii.gz")).unwrap();
    let table = table.replace("scans/phantom-0001.nii.gz", "moved.nii.gz");
    workspace.write("data/dataset.csv", &table);
    assert_eq!(run(), (0, 0, 2 * nodules), "moved");

    let mut lines: Vec<String> = table.lines().map(str::to_string).collect();
    for line in lines.iter_mut().skip(1) {
        let mut cells: Vec<String> = line.split(',').map(str::to_string).collect();
        cells[6] = if cells[6] == "0" { "1".to_string() } else { "0".to_string() };
        *line = cells.join(",");
    }
    workspace.write("data/dataset.csv", lines.join("\n"));
    assert_eq!(run(), (0, 0, 2 * nodules), "relabelled");
}

/// The scans of the crop fixtures, and the text of their table of cases.
fn with_scans() -> (Workspace, String) {
    let workspace = Workspace::new();
    workspace.copy("stages/tests/fixtures/crop/images", "images");
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/stages/tests/fixtures/crop/cases.csv");
    (workspace, fs::read_to_string(cases).unwrap())
}

/// A pipeline that crops and slices these rows, in the folder as `p.toml`.
fn crops_and_slices(workspace: &Workspace, rows: &str, size_mm: usize) {
    workspace.write("cases.csv", format!("pid,nodule_id,image_path,coordX,coordY,coordZ\n{rows}"));
    let crop =
        format!("[stage.crop]\ninputs = {{ dataset = \"cases.csv\" }}\nparams = {{ size_mm = {size_mm} }}\n");
    workspace.write("p.toml", format!("{crop}[stage.slice]\ninputs = {{ volumes = \"@crop\" }}\n"));
}

#[test]
fn a_changed_voxel_near_one_nodule_changes_what_its_bytes_reach() {
    let (workspace, cases) = with_scans();
    let rows: String = cases
        .lines()
        .filter(|line| {
            line.starts_with("big_endian") || line.starts_with("ras_iso") || line.starts_with("uint8")
        })
        .map(|line| format!("{}\n", line.rsplit_once(',').unwrap().0))
        .collect();
    crops_and_slices(&workspace, &rows, 40);
    assert_eq!(items_of(&workspace.pipe_ok(&["run", "p.toml", "--json"])), (2, 6, 0));
    // An uncompressed scan: one voxel in its middle, two bytes.
    let path = workspace.path("images/big_endian.nii");
    let mut bytes = fs::read(&path).unwrap();
    let middle = (bytes.len() / 2) & !1;
    bytes[middle + 1] ^= 0x40;
    fs::write(&path, bytes).unwrap();
    let ran = workspace.pipe_ok(&["run", "p.toml", "--json"]);
    assert_eq!(items_of(&ran), (2, 2, 4));
}

/// A crop counts the whole scan, so that all nodules of a changed scan are cut again; only what has other bytes is
/// sliced again.
#[test]
fn a_changed_voxel_cuts_all_nodules_of_its_scan_and_slices_one() {
    let (workspace, cases) = with_scans();
    let case = cases.lines().find(|line| line.starts_with("big_endian")).unwrap();
    let cells: Vec<&str> = case.split(',').collect();
    let z: f64 = cells[5].parse().unwrap();
    let rows: String = [-14.0, 0.0, 14.0]
        .iter()
        .enumerate()
        .map(|(id, shift)| format!("p,{id},{},{},{},{}\n", cells[2], cells[3], cells[4], z + shift))
        .collect();
    crops_and_slices(&workspace, &rows, 8);
    assert_eq!(items_of(&workspace.pipe_ok(&["run", "p.toml", "--json"])), (2, 6, 0));
    let path = workspace.path("images/big_endian.nii");
    let mut bytes = fs::read(&path).unwrap();
    // The slice through the middle nodule, by the third row of the sform: z = slope · slice + offset.
    let number = |at: usize| f64::from(f32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()));
    let slice = ((z - number(324)) / number(320)).round() as usize;
    let slice_bytes = 60 * 60 * 2;
    for voxel in bytes[352 + slice * slice_bytes..][..slice_bytes].chunks_exact_mut(2) {
        voxel[1] ^= 0x40;
    }
    fs::write(&path, bytes).unwrap();
    let ran = workspace.pipe_ok(&["run", "p.toml", "--json"]);
    assert_eq!(items_of(&ran), (2, 4, 2));
}

#[test]
fn a_killed_run_loses_only_what_was_in_flight() {
    let workspace = with_pipelines();
    let sets = small(&[]);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pipe"));
    command.args(["run", "pipelines/phantom.toml", "--json"]).args(&sets).current_dir(workspace.path("."));
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    // In the middle: crops are done and the rest is not.
    let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let done = |line: &String| line.contains("stage-finished") && line.contains("\"stage\":\"crop\"");
    let cropped = lines.map_while(Result::ok).find(done).expect("the crops end before the run");
    let crops =
        serde_json::from_str::<serde_json::Value>(&cropped).unwrap()["items_executed"].as_u64().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = run_phantom(&workspace, ".pipe", &[], &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(crops > 0 && ran.count("items_cached") >= crops, "finished crops were computed again");
    let fresh = run_phantom(&workspace, "fresh", &[], &[]);
    assert_eq!(fresh.code, 0);
    let published = workspace.read("results/phantom/metrics.json");
    run_phantom(&workspace, ".pipe", &[], &[]);
    assert_eq!(workspace.read("results/phantom/metrics.json"), published);
    let (after, fresh) = (content(&workspace, ".pipe"), content(&workspace, "fresh"));
    assert!(
        fresh.iter().all(|(name, bytes)| after.get(name) == Some(bytes)),
        "a killed run left other bytes"
    );
}

#[test]
fn getting_results_out() {
    let workspace = with_files();
    let get = |to: &str| workspace.pipe(&["get", "make.toml", "phantom", "--to", to, "--cache", "make"]);
    assert_eq!(get("out").code, 0);
    assert_eq!(get("out").code, 0, "files that are there already are no problem");
    workspace.write("out/truth.json", "{}");
    let refused = get("out");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("out/truth.json is there already and differs"), "{}", refused.stderr);
    assert_eq!(workspace.read("out/truth.json"), "{}");
    let latest = workspace.pipe_ok(&["get", "latest", "other.truth", "--to", "two", "--cache", "make"]);
    assert!(latest.stderr.contains("1 files copied"), "{}", latest.stderr);
    let shown = workspace.pipe_ok(&["show", "--cache", "make"]);
    assert!(shown.stdout.contains("phantom  executed"), "{}", shown.stdout);
    assert!(workspace.pipe_ok(&["runs", "--cache", "make"]).stdout.contains("make"));
}

#[test]
fn init_writes_the_shipped_pipelines_and_keeps_what_is_there() {
    let workspace = Workspace::new();
    workspace.write("pipelines/nlst.toml", "mine");
    workspace.pipe_ok(&["init"]);
    assert_eq!(workspace.read("pipelines/nlst.toml"), "mine");
    fs::remove_file(workspace.path("pipelines/nlst.toml")).unwrap();
    workspace.pipe_ok(&["init"]);
    for name in ["phantom", "control"] {
        workspace.pipe_ok(&["check", &format!("pipelines/{name}.toml")]);
    }
    let checked = workspace.pipe_ok(&["check", "pipelines/sample.toml"]).stdout;
    assert!(checked.contains("nothing wrong found"), "{checked}");
    assert!(workspace.path("dataset_csv/README.md").is_file());
}
