//! A manifest over another: what is inherited, taken away and replaced.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use support::Workspace;

const BASE: &str = "[stage.phantom]\nparams = { patients = 2, shape = [72, 72, 36], noise_hu = 9 }\n\
    [stage.crop]\ninputs = { dataset = \"@phantom\" }\nparams = { size_mm = 20 }\n\
    [stage.slice]\ninputs = { volumes = \"@crop\" }\n";

fn project(over: &str) -> Workspace {
    let workspace = Workspace::new();
    workspace.write("base.toml", BASE);
    workspace.write("p.toml", format!("extends = \"base.toml\"\n{over}"));
    workspace
}

#[test]
fn stages_and_keys_are_taken_away_or_replaced() {
    let table = [
        ("", "phantom crop slice", "9"),
        ("[stage.slice]\nremove = true\n", "phantom crop", "9"),
        ("[stage.phantom]\nremove = [\"params.noise_hu\"]\n", "phantom crop slice", "12"),
        (
            "[stage.phantom]\nremove = [\"params.noise_hu\"]\nparams = { patients = 3 }\n",
            "phantom crop slice",
            "12",
        ),
        // Of another kind nothing is inherited: `size_mm` would not be known.
        (
            "[stage.crop]\nuses = \"command\"\ninputs = { data = \"@phantom\" }\noutputs = { v = \"*.safetensors\" }\nparams = { run = [\"true\"] }\n",
            "phantom crop slice",
            "9",
        ),
        // The same kind, said again, is no other.
        ("[stage.crop]\nuses = \"crop\"\nparams = { pad_hu = 3 }\n", "phantom crop slice", "9"),
    ];
    for (over, stages, noise) in table {
        let workspace = project(over);
        let plan = workspace.pipe_ok(&["plan", "p.toml", "--json"]).stdout;
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        let labels: Vec<&str> = plan["instances"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["instance"].as_str().unwrap())
            .collect();
        assert_eq!(labels.join(" "), stages, "{over}");
        workspace.pipe_ok(&["run", "p.toml", "--only", "phantom"]);
        let ran = workspace.pipe_ok(&[
            "run",
            "p.toml",
            "--only",
            "phantom",
            "--set",
            &format!("phantom.noise_hu={noise}"),
            "--json",
        ]);
        assert_eq!(ran.count("executed"), 0, "{over}: noise_hu is {noise}");
    }
}

#[test]
fn what_cannot_be_taken_away_is_told_at_its_place() {
    let table = [
        ("[stage.slcie]\nremove = true\n", "has no stage `slcie`", "did you mean `slice`"),
        ("[stage.slice]\nremove = [\"inputs.volume\"]\n", "has no `inputs.volume`", "did you mean `volumes`"),
        (
            "[stage.slice]\nremove = true\nparams = { size_mm = 3 }\n",
            "is taken away, and has the key `params`",
            "uses",
        ),
        ("[stage.slice]\nremove = 3\n", "`stage.slice.remove`", ""),
        ("[stage.crop]\nremove = true\n", "unknown stage `crop`", ""),
    ];
    for (over, expected, help) in table {
        let ran = project(over).pipe(&["check", "p.toml"]);
        assert_eq!(ran.code, 2, "{over}: {}", ran.stdout);
        assert!(ran.stderr.contains(expected) && ran.stderr.contains(help), "{over}: {}", ran.stderr);
    }
    let workspace = Workspace::new();
    workspace.write("p.toml", format!("{BASE}remove = true\n"));
    let ran = workspace.pipe(&["check", "p.toml"]);
    assert!(ran.stderr.contains("this manifest has no `extends`"), "{}", ran.stderr);
}
