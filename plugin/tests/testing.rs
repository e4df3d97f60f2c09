//! A kind by itself: what it is given is checked as a run checks it, and all that it does is there to look at.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use pipe_plugin::code::CodeStamp;
use pipe_plugin::context::Context;
use pipe_plugin::stage::{About, Column, InputForm, InputSpec, OutputSpec, Stage, StageError, Whole};
use pipe_plugin::table::Table;
use pipe_plugin::testing;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tells what it was given.
struct Tell;

#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
struct TellParams {
    fold: u32,
    wrong: bool,
}

impl Stage for Tell {
    type Params = TellParams;

    const ABOUT: About = About::new("tell", "tells what it was given", CodeStamp { source: "", crates: &[] })
        .inputs(&[
            InputSpec::new("table", InputForm::Table, "pid"),
            InputSpec::new("models", InputForm::Tree, "models").many().optional(),
            InputSpec::new("splits", InputForm::Tree, "a folder for each fold").optional(),
            InputSpec::new("weights", InputForm::File, "weights").optional().keywords(&["random"]),
        ])
        .outputs(&[OutputSpec::tree("told", "what it was given")])
        .random();

    fn check(&self, params: &TellParams) -> Vec<String> {
        if params.wrong { vec!["`wrong` is wrong".to_string()] } else { Vec::new() }
    }

    fn columns(&self, _: &TellParams, _: &str) -> Vec<Column> {
        vec![Column::required("pid")]
    }

    fn files(&self, params: &TellParams, input: &str) -> Option<Vec<String>> {
        (input == "splits").then(|| vec![format!("fold_{}", params.fold)])
    }

    fn check_table(&self, _: &TellParams, _: &str, table: &Table) -> Vec<StageError> {
        let blank = table.rows().iter().find(|row| table.get(row, "pid").is_none());
        let told = |line| StageError::message(format!("{}:{line}: no pid", table.source));
        blank.map(|row| told(row.line)).into_iter().collect()
    }
}

impl Whole for Tell {
    fn run(&self, _: &TellParams, context: &mut Context<'_>) -> Result<(), StageError> {
        context.write("told", "columns.txt", context.table("table")?.columns().join(",").as_bytes())?;
        for model in context.inputs("models") {
            let name = format!("models/{}.txt", model.selector["fold"]);
            context.write("told", &name, b"model")?;
        }
        if let Ok(splits) = context.files("splits") {
            context.write("told", "splits.txt", splits.names().collect::<Vec<_>>().join(",").as_bytes())?;
        }
        context.log("telling");
        context.warn("few cases");
        context.scalar("seed", context.seed() as f64)
    }
}

#[test]
fn a_kind_sees_what_it_declares_and_all_that_it_does_is_told() {
    let model = || [("model.txt", b"x".to_vec())];
    let ran = testing::run(&Tell, TellParams { fold: 1, ..TellParams::default() })
        .table("table", "pid,other\nP1,2\n")
        .files_of("models", &[("fold", "0")], model())
        .files_of("models", &[("fold", "1")], model())
        .files("splits", [("fold_0/a.csv", b"a".to_vec()), ("fold_1/b.csv", b"b".to_vec())])
        .word("weights", "random")
        .seed(7)
        .finish()
        .unwrap();
    let names: Vec<&str> = ran.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["told/columns.txt", "told/models/0.txt", "told/models/1.txt", "told/splits.txt"]);
    assert_eq!(ran.text("told", "columns.txt"), Some("pid"), "only what it declares");
    assert_eq!(ran.text("told", "splits.txt"), Some("fold_1/b.csv"));
    assert_eq!((ran.warnings, ran.log), (vec!["few cases".to_string()], vec!["telling".to_string()]));
    assert_eq!(ran.scalars["seed"], 7.0);
}

#[test]
fn what_a_run_would_refuse_is_refused() {
    let table = "pid\nP1\n";
    let ready = || testing::run(&Tell, TellParams::default()).table("table", table);
    let wrong =
        testing::run(&Tell, TellParams { wrong: true, ..TellParams::default() }).table("table", table);
    for (trial, expected) in [
        (testing::run(&Tell, TellParams::default()), "nothing is given to the input `table`"),
        (wrong, "`wrong` is wrong"),
        (ready().file("weigths", "x"), "there is no input `weigths`"),
        (ready().file("splits", "x"), "the input `splits` takes a tree"),
        (ready().word("weights", "any"), "the input `weights` takes a file or the word \"random\""),
        (ready().table("table", table), "the input `table` takes one artifact"),
        (testing::run(&Tell, TellParams::default()).table("table", "pid,x\n,1\n"), "table.csv:2: no pid"),
        (
            testing::run(&Tell, TellParams::default()).table("table", "id\n1\n"),
            "table.csv: there is no column `pid`; found id",
        ),
    ] {
        assert_eq!(trial.finish().unwrap_err().to_string(), expected);
    }
}
