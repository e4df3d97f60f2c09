//! No false hit and no needless run: whatever decides a result is changed, one thing at a time, and exactly what
//! depends on it runs; whatever must not matter is changed, and nothing runs.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use support::{Ran, Workspace};

/// The stages that take from the models how the input of others is made.
const OTHERS: &str = "others";

/// The stages of the training workspace with those that build on each.
const BELOW: &[(&str, &[&str])] = &[
    (
        "phantom",
        &["crop", "slice", "report", "text-encode", "split", "train", OTHERS, "calibrate", "evaluate"],
    ),
    ("crop", &["slice", "train", OTHERS, "calibrate", "evaluate"]),
    ("slice", &["train", OTHERS, "calibrate", "evaluate"]),
    ("report", &["text-encode", "train", OTHERS, "calibrate", "evaluate"]),
    ("text-encode", &["train", OTHERS, "calibrate", "evaluate"]),
    ("split", &["train", OTHERS, "calibrate", "evaluate"]),
    ("train", &[OTHERS, "calibrate", "evaluate"]),
    ("calibrate", &["evaluate"]),
    ("evaluate", &[]),
];

/// Values of parameters for which the schema gives no hint, with what they need besides.
const GIVEN: &[(&str, &[&str])] = &[
    ("phantom.shape", &["phantom.shape=[80, 80, 40]"]),
    ("phantom.spacing", &["phantom.spacing=[1.1, 1.1, 2.1]"]),
    ("report.provider", &["report.provider=gemini", "report.model=m"]),
    ("report.model", &["report.provider=gemini", "report.model=m"]),
    ("train.architecture.text.width", &["train.architecture.text.width=128"]),
    ("train.architecture.vision.width", &["train.architecture.vision.width=128"]),
    ("train.lr_warmup", &["train.lr_schedule=cosine", "train.lr_warmup=1"]),
    ("train.random_noise_mean", &["train.random_noise_mean=0.5"]),
    ("train.augmentation", &["train.augmentation=false"]),
];

/// Parameters that are not tried here, and why.
const NOT_TRIED: &[(&str, &str)] = &[
    ("report.base_url", "is for language models; tests/reports.rs changes it"),
    ("train.clip_min", "must be that of the slices; slice.clip_min changes both"),
    ("train.clip_max", "must be that of the slices; slice.clip_max changes both"),
    ("report.request", "is for language models; tests/reports.rs changes it"),
];

fn training() -> Workspace {
    let workspace = Workspace::with_training(2);
    let manifest = workspace
        .read("p.toml")
        .replace("splits = \"@split\",", "splits = \"@split\", volumes = \"@crop\",")
        .replace("[stage.train.params]\n", "[stage.train.params]\naugmentation = true\n");
    assert!(manifest.contains("@crop\",") && manifest.contains("augmentation"));
    let more = "[stage.calibrate]\ninputs = { model = \"@train\" }\n\
                [stage.others]\nuses = \"phantom\"\nparams = { patients = 10, shape = [72, 72, 36], stream = \"o\" }\n\
                [stage.others-crop]\nuses = \"crop\"\ninputs = { dataset = \"@others\", models = \"@train\" }\n\
                [stage.others-slice]\nuses = \"slice\"\ninputs = { volumes = \"@others-crop\", models = \"@train\" }\n\
                [stage.evaluate]\nparams = { draws = 20 }\n\
                inputs = { dataset = \"@others\", slices = \"@others-slice\", models = \"@train\", \
                calibrators = \"@calibrate\", weights = \"random\" }\n";
    workspace.write("p.toml", format!("{manifest}{more}"));
    workspace
}

/// What a plan says would run, and what would follow.
fn planned(text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let stages = |verb: &str| {
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.filter(|words| words.get(1) == Some(&verb)).map(|words| words[0].to_owned()).collect()
    };
    (stages("runs"), stages("follows"))
}

/// Other values that a parameter might take, as TOML.
fn candidates(schema: &Value, root: &Value, current: &Value) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        return candidates(target, root, current);
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(options) = schema[key].as_array() {
            return options.iter().flat_map(|option| candidates(option, root, current)).collect();
        }
    }
    let words = |value: &Value| value.to_string();
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().filter(|value| *value != current).map(words).collect();
    }
    if let Some(value) = schema.get("const") {
        return if value == current { Vec::new() } else { vec![words(value)] };
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        Value::String(one) => vec![one.as_str()],
        _ => Vec::new(),
    };
    let number = current.as_f64().unwrap_or(1.0);
    let mut found = Vec::new();
    for one in types {
        found.extend(match one {
            "boolean" => vec![(!current.as_bool().unwrap_or(false)).to_string()],
            "integer" => [1.0, -1.0, 7.0, 16.0].map(|step| format!("{}", (number + step) as i64)).to_vec(),
            "number" => [0.5, 1.5, 1.1].map(|factor| format!("{:?}", number * factor + 0.01)).to_vec(),
            "string" => vec!["\"other\"".to_owned()],
            "array" => match current.as_array().filter(|values| values.len() > 1) {
                Some(values) => vec![Value::from(values[1..].to_vec()).to_string()],
                None => vec!["[\"malignant\"]".to_owned(), "[0.9]".to_owned(), "[1]".to_owned()],
            },
            _ => Vec::new(),
        });
    }
    found
}

/// Names, schemas and default values of a kind's parameters, tables taken apart.
fn parameters(kind: &str) -> Vec<(String, Value, Value, Value)> {
    let stage = pipe::STAGES.iter().find(|stage| stage.about().name == kind).unwrap();
    let root = stage.schema();
    let defaults = stage.canonical(json!({})).unwrap();
    let mut found = Vec::new();
    let mut waiting = vec![(String::new(), root.clone(), defaults)];
    while let Some((prefix, schema, value)) = waiting.pop() {
        let schema = match schema["$ref"].as_str() {
            Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap().clone(),
            None => schema,
        };
        match schema["properties"].as_object() {
            Some(fields) => {
                for (name, field) in fields {
                    let full = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    waiting.push((full, field.clone(), value[name].clone()));
                }
            }
            None => found.push((prefix, schema, root.clone(), value)),
        }
    }
    found
}

#[test]
fn every_parameter_makes_its_stage_run_and_nothing_else() {
    let workspace = training();
    workspace.pipe_ok(&["run", "p.toml"]);
    assert!(workspace.pipe_ok(&["plan", "p.toml"]).stdout.starts_with("nothing to do"));
    let mut untried = BTreeSet::new();
    let mut tried = 0;
    for (stage, below) in BELOW {
        for (name, schema, root, current) in parameters(stage) {
            let full = format!("{stage}.{name}");
            if name.is_empty() {
                continue;
            }
            let settings: Vec<Vec<String>> = match GIVEN.iter().find(|(name, _)| *name == full) {
                Some((_, settings)) => vec![settings.iter().map(|one| (*one).to_owned()).collect()],
                None => {
                    let values = candidates(&schema, &root, &current).into_iter();
                    values.map(|value| vec![format!("{full}={value}")]).collect()
                }
            };
            let mut plans = settings.into_iter().map(|settings| {
                let sets = settings.iter().flat_map(|one| ["--set", one.as_str()]);
                let arguments: Vec<&str> = ["plan", "p.toml"].into_iter().chain(sets).collect();
                let plan = workspace.pipe(&arguments);
                (settings, plan)
            });
            let is_other = |plan: &Ran| plan.code == 0 && !plan.stdout.starts_with("nothing to do");
            let Some((value, plan)) = plans.find(|(_, plan)| is_other(plan)) else {
                untried.insert(full);
                continue;
            };
            tried += 1;
            let (runs, follows) = planned(&plan.stdout);
            assert_eq!(runs, BTreeSet::from([(*stage).to_owned()]), "{value:?}: {}", plan.stdout);
            let names = below.iter().flat_map(|stage| match *stage {
                OTHERS => vec!["others-crop", "others-slice"],
                stage => vec![stage],
            });
            let expected: BTreeSet<String> = names.map(str::to_owned).collect();
            assert_eq!(follows, expected, "{value:?}: {}", plan.stdout);
            assert!(plan.stdout.contains(&full), "{full} is not told as the reason: {}", plan.stdout);
        }
    }
    assert!(tried > 60, "{tried}");
    let known: BTreeSet<String> = NOT_TRIED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(untried, known);
}

#[test]
fn the_seed_counts_where_it_is_used() {
    let workspace = training();
    workspace.pipe_ok(&["run", "p.toml"]);
    let runs = |set: &[&str]| planned(&workspace.pipe_ok(&[&["plan", "p.toml"], set].concat()).stdout).0;
    assert_eq!(
        runs(&["--set", "pipeline.seed=7"]),
        BTreeSet::from(["others".to_owned(), "phantom".to_owned()])
    );
}

/// Nodules with scans of their own, and the stages that are computed item by item.
fn rows() -> Workspace {
    let workspace = Workspace::new();
    workspace.write("make.toml", "[stage.phantom]\nparams = { patients = 8, shape = [72, 72, 36] }\n");
    workspace.pipe_ok(&["run", "make.toml", "--cache", "scratch"]);
    workspace.pipe_ok(&["get", "latest", "phantom", "--cache", "scratch", "--to", "data"]);
    let table = workspace.read("data/dataset.csv").replace("scans/", "data/scans/");
    workspace.write("data/dataset.csv", table);
    workspace.write("p.toml", ROWS);
    workspace
}

const ROWS: &str = "[stage.crop]\nparams = { size_mm = 40 }\ninputs = { dataset = \"data/dataset.csv\" }\n\
                    [stage.report]\ninputs = { dataset = \"data/dataset.csv\" }\n\
                    [stage.text-encode]\ninputs = { reports = \"@report\" }\n\
                    [stage.split]\nparams = { n_splits = 2 }\ninputs = { dataset = \"data/dataset.csv\" }\n";

fn run(workspace: &Workspace, arguments: &[&str]) -> Ran {
    let ran = workspace.pipe(&[&["run", "p.toml", "--json"], arguments].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    ran
}

/// Runs until the next run would see without reading inputs that there is nothing to do.
fn settle(workspace: &Workspace) {
    std::thread::sleep(std::time::Duration::from_millis(80));
    assert_eq!(run(workspace, &[]).count("executed"), 0);
}

/// The table with one cell changed.
fn change(workspace: &Workspace, column: &str, row: usize, change: impl Fn(&str) -> String) {
    let text = workspace.read("data/dataset.csv");
    let mut lines: Vec<Vec<String>> =
        text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
    let position = lines[0].iter().position(|name| name == column).unwrap();
    lines[row][position] = change(&lines[row][position]);
    let lines: Vec<String> = lines.iter().map(|cells| cells.join(",")).collect();
    workspace.write("data/dataset.csv", lines.join("\n"));
}

#[test]
fn each_input_makes_exactly_its_users_run() {
    let workspace = rows();
    run(&workspace, &[]);
    let number = |cell: &str| format!("{}", cell.parse::<f64>().unwrap() + 0.5);
    let other =
        |a: &'static str, b: &'static str| move |cell: &str| (if cell == a { b } else { a }).to_owned();
    type Change<'a> = Box<dyn Fn() + 'a>;
    let scan = workspace.path("data/scans/phantom-0001.nii.gz");
    let nodules_of_scan =
        workspace.read("data/dataset.csv").matches("scans/phantom-0001.nii.gz").count() as u64;
    let spoil_scan = || {
        // The last byte of the gzip header: other bytes of the same scan are another file.
        let mut bytes = fs::read(&scan).unwrap();
        bytes[9] ^= 1;
        fs::write(&scan, bytes).unwrap();
    };
    let changes: Vec<(&str, Change<'_>, &[&str], u64)> = vec![
        ("a coordinate", Box::new(|| change(&workspace, "coordX", 1, number)), &["crop"], 1),
        ("a scan", Box::new(spoil_scan), &["crop"], nodules_of_scan),
        (
            "a feature",
            Box::new(|| change(&workspace, "necrosis", 2, other("Present", "Absent"))),
            &["report", "text-encode"],
            1,
        ),
        (
            "a diameter",
            Box::new(|| change(&workspace, "mean_diameter", 1, number)),
            &["report", "text-encode"],
            1,
        ),
        ("a label", Box::new(|| change(&workspace, "malignant", 1, other("0", "1"))), &["split"], 0),
    ];
    for (what, make, stages, items) in changes {
        settle(&workspace);
        make();
        let ran = run(&workspace, &[]);
        assert_eq!(ran.executed(), stages, "{what}");
        assert_eq!(ran.count("items_executed"), items, "{what}");
        assert_eq!(run(&workspace, &[]).count("executed"), 0, "{what}, again");
    }
}

#[test]
fn what_must_not_matter_makes_nothing_run() {
    let workspace = rows();
    run(&workspace, &[]);
    let nothing = |what: &str, ran: Ran| {
        assert_eq!((ran.count("executed"), ran.count("items_executed")), (0, 0), "{what}: {}", ran.stdout);
    };
    nothing("nothing", run(&workspace, &[]));
    nothing("jobs", run(&workspace, &["--jobs", "1"]));
    nothing("verify", run(&workspace, &["--verify"]));
    let threads = workspace.pipe_with(&["run", "p.toml", "--json"], &[("RAYON_NUM_THREADS", "1")]);
    nothing("threads", threads);

    let swapped = ROWS.replace(
        "[stage.crop]\nparams = { size_mm = 40 }\ninputs = { dataset = \"data/dataset.csv\" }\n",
        "# A comment.\n[ stage.crop ]\ninputs={dataset=\"./data/../data/dataset.csv\"}\nparams.size_mm = 40\n",
    );
    assert_ne!(swapped, ROWS);
    workspace.write("p.toml", &swapped);
    nothing("comments, order and another way of writing", run(&workspace, &[]));
    workspace.write("p.toml", ROWS.replace("size_mm = 40 }", "size_mm = 40, sampling = \"reference\" }"));
    nothing("a default written out", run(&workspace, &[]));
    let renamed = ROWS.replace("[stage.crop]\n", "publish = \"x\"\n[stage.cut]\nuses = \"crop\"\n");
    let renamed = renamed.trim_start_matches("publish = \"x\"\n");
    workspace.write("p.toml", renamed);
    nothing("a stage's name", run(&workspace, &[]));
    workspace.write("p.toml", ROWS.replace("[stage.split]\n", "[stage.split]\npublish = \"there\"\n"));
    nothing("publishing", run(&workspace, &[]));
    workspace
        .write("p.toml", ROWS.replace("[stage.split]\n", "[stage.split]\nresources = { memory_gb = 1 }\n"));
    nothing("resources", run(&workspace, &[]));
    workspace.write("p.toml", format!("[pipeline]\nname = \"other\"\n{ROWS}"));
    nothing("the pipeline's name", run(&workspace, &[]));
    workspace.write("p.toml", ROWS);

    for name in ["data/dataset.csv", "data/scans/phantom-0000.nii.gz"] {
        let bytes = fs::read(workspace.path(name)).unwrap();
        fs::remove_file(workspace.path(name)).unwrap();
        workspace.write(name, bytes);
    }
    nothing("files written anew", run(&workspace, &[]));
    fs::rename(workspace.path("data/scans/phantom-0000.nii.gz"), workspace.path("moved.nii.gz")).unwrap();
    change(&workspace, "image_path", 1, |_| "moved.nii.gz".to_owned());
    nothing("a scan's place", run(&workspace, &[]));
    let table = workspace.read("data/dataset.csv");
    let noted: Vec<String> =
        table.lines().enumerate().map(|(row, line)| format!("{line},note {row}")).collect();
    workspace.write("data/dataset.csv", noted.join("\n"));
    nothing("a column that nobody reads", run(&workspace, &[]));
    fs::rename(workspace.path(".pipe"), workspace.path("elsewhere")).unwrap();
    nothing("the cache's place", run(&workspace, &["--cache", "elsewhere"]));
    fs::remove_file(workspace.path("elsewhere/facts")).unwrap();
    fs::remove_file(workspace.path("elsewhere/memo")).unwrap();
    nothing("what was noted", run(&workspace, &["--cache", "elsewhere"]));

    fs::create_dir(workspace.path("project")).unwrap();
    for name in ["p.toml", "data", "moved.nii.gz", "elsewhere"] {
        fs::rename(workspace.path(name), workspace.path("project").join(name)).unwrap();
    }
    let moved = workspace.pipe_ok(&["run", "project/p.toml", "--json", "--cache", "project/elsewhere"]);
    nothing("the project's place", moved);
}
