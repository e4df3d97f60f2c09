//! What models are shown is made as what they were trained on, or refused; and so are cases that they know.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::{Ran, Workspace};

const EVALUATE: &str = "[stage.evaluate]\nparams = { draws = 20 }\ninputs = { dataset = \"@other\", slices = \"@other-slice\", \
                        models = \"@train\", calibrators = \"@calibrate\", weights = \"random\" }\npublish = \"results\"\n";

/// Two folds and their evaluation on other patients.
fn evaluating() -> Workspace {
    let workspace = Workspace::with_two_folds(4);
    workspace.write("p.toml", workspace.read("p.toml") + EVALUATE);
    workspace
}

/// `p.toml` with the test stages taking from the models what they were trained on.
fn following(workspace: &Workspace) {
    let text = workspace
        .read("p.toml")
        .replace(
            "uses = \"crop\"\nparams = { size_mm = 60 }\ninputs = { dataset = \"@other\" }",
            "uses = \"crop\"\ninputs = { dataset = \"@other\", models = \"@train\" }",
        )
        .replace(
            "uses = \"slice\"\ninputs = { volumes = \"@other-crop\" }",
            "uses = \"slice\"\ninputs = { volumes = \"@other-crop\", models = \"@train\" }",
        );
    assert!(text.matches("models = \"@train\"").count() == 3, "{text}");
    workspace.write("p.toml", text);
}

fn told(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

#[test]
fn slices_that_were_made_otherwise_are_refused_before_any_work() {
    for (setting, word, known, given) in [
        ("other-crop.size_mm=50", "size_mm", "60", "50"),
        ("other-crop.sampling=exact", "sampling", "reference", "exact"),
        ("other-crop.pad_hu=-1000", "pad_hu", "0", "-1000"),
        ("other-slice.clip_min=-300", "clip_min", "-1000", "-300"),
        ("slice.clip_max=300", "clip_max", "300", "500"),
    ] {
        let workspace = evaluating();
        for command in ["check", "plan", "run"] {
            let ran = workspace.pipe(&[command, "p.toml", "--set", setting]);
            let told = told(&ran);
            assert_eq!(ran.code, 2, "{command} {setting}\n{told}");
            assert!(
                [word, known, given].iter().all(|part| told.contains(part)),
                "{command} {setting}\n{told}"
            );
        }
        assert!(!workspace.path("results").exists());
    }
}

#[test]
fn test_stages_take_from_the_models_what_the_manifest_leaves_out() {
    let workspace = evaluating();
    following(&workspace);
    let settings = ["crop.sampling=exact", "crop.pad_hu=-1000", "slice.clip_min=-300", "slice.clip_max=300"];
    let sets: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let run = |more: &[&str]| workspace.pipe(&[&["run", "p.toml", "--json"], &sets[..], more].concat());
    let ran = run(&[]);
    assert_eq!(ran.code, 0, "{}", told(&ran));
    // More training does not cut test volumes again, whatever the models have become.
    let longer = run(&["--set", "train.lr=1e-3"]);
    assert!(longer.executed().iter().all(|label| !label.starts_with("other")), "{:?}", longer.executed());
    let against = run(&["--set", "other-crop.sampling=reference"]);
    assert_eq!(against.code, 2, "{}", told(&against));
}

#[test]
fn models_and_slices_in_folders_are_compared_by_what_they_carry() {
    let workspace = evaluating();
    workspace.pipe_ok(&["run", "p.toml"]);
    for (stage, to) in [("train", "models"), ("other-slice", "slices"), ("other", "cohort")] {
        workspace.pipe_ok(&["get", "p.toml", stage, "--to", to]);
    }
    let manifest = |slices: &str| {
        format!(
            "[stage.evaluate]\nparams = {{ draws = 20 }}\ninputs = {{ dataset = \"cohort/dataset.csv\", slices = \"{slices}\", \
             models = \"models\", weights = \"random\" }}\npublish = \"again\"\n"
        )
    };
    workspace.write("q.toml", manifest("slices"));
    workspace.pipe_ok(&["run", "q.toml"]);
    let raw = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(',').take(5).collect::<Vec<_>>().join(",")).collect()
    };
    assert_eq!(
        raw(&workspace.read("again/predictions.csv")),
        raw(&workspace.read("results/predictions.csv"))
    );
    // A fold whose description is lost would be missing.
    std::fs::rename(workspace.path("models/fold_1/model.json"), workspace.path("model.json")).unwrap();
    for command in ["check", "run"] {
        let ran = workspace.pipe(&[command, "q.toml"]);
        assert_eq!(ran.code, 2, "{}", told(&ran));
        assert!(told(&ran).contains("models: fold_1 has checkpoints and no model.json"), "{}", told(&ran));
    }
    std::fs::rename(workspace.path("model.json"), workspace.path("models/fold_1/model.json")).unwrap();
    // What nobody reads may lack it: beside the description of one model, and in hidden folders.
    workspace.copy_here("models/fold_0", "single");
    workspace.copy_here("models/fold_0", "single/backup");
    workspace.copy_here("models/fold_0", "models/.old");
    workspace.copy_here("models/.old", "models/fold_0/old");
    for backup in ["single/backup", "models/.old", "models/fold_0/old"] {
        std::fs::remove_file(workspace.path(&format!("{backup}/model.json"))).unwrap();
    }
    workspace.pipe_ok(&["check", "q.toml"]);
    workspace.pipe_ok(&["run", "q.toml"]);
    std::fs::remove_dir_all(workspace.path("models/fold_0/old")).unwrap();
    workspace.write("single.toml", manifest("slices").replace("\"models\"", "\"single\""));
    workspace.pipe_ok(&["check", "single.toml"]);
    // The same slices of another window: known by what they carry, not by their folder.
    let p = workspace.read("p.toml");
    workspace.write("p.toml", p.split("[stage.evaluate]").next().unwrap());
    workspace.pipe_ok(&["run", "p.toml", "--set", "other-slice.clip_min=-300", "--only", "other-slice"]);
    workspace.pipe_ok(&["get", "latest", "other-slice", "--to", "narrow"]);
    workspace.write("q.toml", manifest("narrow"));
    for command in ["check", "run"] {
        let ran = workspace.pipe(&[command, "q.toml"]);
        assert_eq!(ran.code, 2, "{}", told(&ran));
        assert!(told(&ran).contains("clip_min"), "{}", told(&ran));
    }
}

/// Whatever the models were trained on, one nodule on the command line is predicted as the pipeline does it.
#[test]
fn predict_gives_the_pipelines_numbers_for_every_input_and_tuning() {
    for (settings, tuning) in [
        (&["crop.size_mm=66"][..], "lora"),
        (&["crop.sampling=exact", "crop.pad_hu=-1000"], "ft"),
        (&["slice.clip_min=-300", "slice.clip_max=300"], "pt"),
    ] {
        let workspace = evaluating();
        following(&workspace);
        let tuning = format!("train.tuning={tuning}");
        let mut sets: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        sets.extend(["--set", &tuning]);
        workspace.pipe_ok(&[&["run", "p.toml"], &sets[..]].concat());
        let get = |stage: &str, to: &str, more: &[&str]| {
            workspace.pipe_ok(&[&["get", "p.toml", stage, "--to", to], more, &sets[..]].concat());
        };
        get("train", "own", &[]);
        get("calibrate", "own-calibrators", &[]);
        get("other", "cohort", &[]);
        get("train", "experiment", &["--format", "experiment"]);
        let table = workspace.read("cohort/dataset.csv");
        let mut rows = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let header = rows.next().unwrap();
        let row = rows.next().unwrap();
        let cell = |name: &str| row[header.iter().position(|column| *column == name).unwrap()];
        let at = [cell("coordX"), cell("coordY"), cell("coordZ")].join(",");
        let scan = format!("cohort/{}", cell("image_path"));
        let predictions = workspace.read("results/predictions.csv");
        let mut lines = predictions.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let columns = lines.next().unwrap();
        let expected = lines.next().unwrap();
        let expected = |name: &str| -> f64 {
            expected[columns.iter().position(|column| *column == name).unwrap()].parse().unwrap()
        };
        assert_eq!(predictions.lines().nth(1).unwrap().split(',').next().unwrap(), cell("pid"));
        for model in ["own", "experiment"] {
            let ran = workspace.pipe_ok(&["predict", &scan, "--at", &at, "--model", model, "--json"]);
            let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
            let close = |name: &str, found: &serde_json::Value| {
                let difference = (found.as_f64().unwrap() - expected(name)).abs();
                assert!(
                    difference < 5e-5,
                    "{tuning} {settings:?} {model}: {name} {found} {}",
                    expected(name)
                );
            };
            close("raw_0", &found["folds"]["0"]["raw"]);
            close("raw_1", &found["folds"]["1"]["raw"]);
            close("ensemble", &found["ensemble"]);
        }
    }
}

#[test]
fn patients_and_scans_that_were_trained_on_are_told_under_any_name() {
    let workspace = Workspace::with_two_folds(4);
    let trained = workspace.read("p.toml");
    workspace.write(
        "make.toml",
        "[stage.phantom]\nparams = { patients = 10, shape = [72, 72, 36] }\npublish = \"made\"\n",
    );
    workspace.pipe_ok(&["run", "make.toml"]);
    let table = workspace.read("made/dataset.csv").replace("scans/", "made/scans/");
    let numbered = |name: &dyn Fn(usize) -> String| -> String {
        let mut number = 0;
        let line = |line: &str| match line.split_once(',') {
            Some((pid, rest)) if pid != "pid" => {
                number += 1;
                format!("{},{rest}\n", name(number))
            }
            _ => format!("{line}\n"),
        };
        table.lines().map(line).collect()
    };
    workspace.write("train.csv", numbered(&|number| format!("{number:05}")));
    let test = |dataset: &str| {
        let tested = trained.replace("\"@phantom\"", "\"train.csv\"");
        let tested =
            tested[tested.find("[stage.crop]").unwrap()..].replace("\"@other\"", &format!("\"{dataset}\""));
        let tested: String = tested.split("[stage.other]").collect::<Vec<_>>().join("");
        let other = tested
            .find("uses = \"phantom\"")
            .map(|at| (at, tested[at..].find("[stage.other-crop]").unwrap() + at));
        let tested = match other {
            Some((from, to)) => format!("{}{}", &tested[..from], &tested[to..]),
            None => tested,
        };
        workspace.write("p.toml", tested + &EVALUATE.replace("@other\"", &format!("{dataset}\"")));
        ["check", "run"].map(|command| workspace.pipe(&[command, "p.toml"]))
    };
    // The same voxels in files of other bytes.
    for scan in std::fs::read_dir(workspace.path("made/scans")).unwrap().flatten() {
        let mut voxels = Vec::new();
        let mut packed = flate2::read::MultiGzDecoder::new(std::fs::File::open(scan.path()).unwrap());
        std::io::Read::read_to_end(&mut packed, &mut voxels).unwrap();
        let name = scan.file_name().into_string().unwrap();
        workspace.write(&format!("plain/{}", name.trim_end_matches(".gz")), voxels);
    }
    let renamed = numbered(&|number| format!("case-{}", (b'a' + number as u8) as char));
    for (name, table) in [
        ("stored otherwise", renamed.replace("made/scans/", "plain/").replace(".nii.gz", ".nii")),
        ("the same", numbered(&|number| format!("{number:05}"))),
        ("without zeros", numbered(&|number| number.to_string())),
        ("as numbers", numbered(&|number| format!("{number}.0"))),
        ("renamed", numbered(&|number| format!("case-{}", (b'a' + number as u8) as char))),
    ] {
        workspace.write("test.csv", table);
        for ran in test("test.csv") {
            assert_eq!(ran.code, 2, "{name}\n{}", told(&ran));
        }
    }
}

#[test]
fn rows_of_one_stage_for_training_and_test_are_refused_before_any_work() {
    let workspace = evaluating();
    let manifest = workspace.read("p.toml");
    workspace.write(
        "p.toml",
        manifest.replace("{ dataset = \"@other\", slices", "{ dataset = \"@phantom\", slices"),
    );
    for command in ["check", "run"] {
        let ran = workspace.pipe(&[command, "p.toml"]);
        assert_eq!(ran.code, 2, "{}", told(&ran));
        assert!(told(&ran).contains("is trained on the rows of @phantom.dataset"), "{}", told(&ran));
    }
    // The same patients of another stage are known by what the models carry.
    workspace.write("p.toml", manifest.replace("stream = \"other\", patients = 4", "patients = 10"));
    let ran = workspace.pipe(&["run", "p.toml"]);
    assert_eq!(ran.code, 1, "{}", told(&ran));
    assert!(
        told(&ran).contains("test patients were trained or validated on by @train[fold=0].model"),
        "{}",
        told(&ran)
    );
}

#[test]
fn calibrators_of_some_folds_are_refused_before_any_work() {
    let workspace = evaluating();
    let manifest = workspace.read("p.toml");
    let fewer = manifest.replace(
        "[stage.calibrate]\nforeach = { fold = [0, 1] }",
        "[stage.calibrate]\nforeach = { fold = [0] }",
    );
    assert_ne!(manifest, fewer);
    workspace.write("p.toml", fewer);
    for command in ["check", "run"] {
        let ran = workspace.pipe(&[command, "p.toml"]);
        assert_eq!(ran.code, 2, "{}", told(&ran));
        assert!(told(&ran).contains("has calibrators of 1 of 2 folds: none of 1"), "{}", told(&ran));
    }
}

#[test]
fn ready_crops_are_looked_at_before_they_are_taken_over() {
    let workspace = Workspace::new();
    let fixture = |name: &str| {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("stages/torch/tests/fixtures/torch");
        std::fs::read(folder.join(name)).unwrap()
    };
    workspace.write("p.toml", "[stage.import-crops]\ninputs = { crops = \"crops\" }\n");
    workspace.write("crops/P1_1.pt", fixture("f32.pt"));
    workspace.write("crops/P2_1.pt", fixture("monai.pt"));
    assert_eq!(workspace.pipe(&["check", "p.toml"]).code, 0);
    for (name, message) in
        [("numpy.pt", "it holds a NumPy array"), ("not_cubic.pt", "must be a cube (P, P, P)")]
    {
        workspace.write("crops/P3_1.pt", fixture(name));
        let ran = workspace.pipe(&["check", "p.toml"]);
        assert_eq!(ran.code, 2, "{}", told(&ran));
        assert!(told(&ran).contains("P3_1.pt") && told(&ran).contains(message), "{}", told(&ran));
    }
}

#[test]
fn a_calibrator_serves_the_model_that_it_was_fitted_to_and_no_other() {
    let workspace = evaluating();
    workspace.pipe_ok(&["run", "p.toml"]);
    for (stage, to) in
        [("train", "models"), ("calibrate", "calibrators"), ("other-slice", "slices"), ("other", "cohort")]
    {
        workspace.pipe_ok(&["get", "p.toml", stage, "--to", to]);
    }
    let manifest = "[stage.evaluate]\nparams = { draws = 20 }\ninputs = { dataset = \"cohort/dataset.csv\", \
                    slices = \"slices\", models = \"models\", weights = \"random\" }\n";
    let one = manifest.replace("weights", "calibrators = \"calibrators/fold_0/calibrator.json\", weights");
    workspace.write("q.toml", one);
    let refused = workspace.pipe(&["run", "q.toml"]);
    assert_eq!(refused.code, 1, "{}", told(&refused));
    assert!(told(&refused).contains("is one calibrator, but there are 2 models"), "{}", told(&refused));
    let place = |fold: usize, of: usize| {
        let calibrator = workspace.read(&format!("calibrators/fold_{of}/calibrator.json"));
        workspace.write(&format!("models/fold_{fold}/calibrator.json"), calibrator);
    };
    workspace.write("q.toml", manifest);
    place(0, 0);
    place(1, 1);
    workspace.pipe_ok(&["run", "q.toml"]);
    // A copy of a fold that somebody kept would be one more model.
    workspace.copy_here("models/fold_1", "models/fold_1_old");
    let refused = workspace.pipe(&["run", "q.toml"]);
    assert!(refused.code == 1 && told(&refused).contains("are the same model"), "{}", told(&refused));
    std::fs::remove_dir_all(workspace.path("models/fold_1_old")).unwrap();
    place(0, 1);
    place(1, 0);
    let refused = workspace.pipe(&["run", "q.toml"]);
    assert_eq!(refused.code, 1, "{}", told(&refused));
    assert!(told(&refused).contains("was fitted to predictions of another model"), "{}", told(&refused));
}
