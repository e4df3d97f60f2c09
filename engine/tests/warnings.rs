//! What a stage warns of stays with its result: it is told when the result is computed, and by every run that finds it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use pipe_engine::event::Event;
use pipe_engine::record::read_run;
use support::{Outcome, Project};

const JOINED: &str = "without a separator the texts run into one another";
const EMPTY: &str = "2: nothing is left of the text";

/// The stages that warned, with what.
fn told(outcome: &Outcome) -> Vec<(String, String)> {
    let mut told: Vec<(String, String)> = outcome
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Warning { stage: Some(stage), text } => Some((stage.clone(), text.clone())),
            _ => None,
        })
        .collect();
    told.sort();
    told
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(stage, text)| ((*stage).to_string(), (*text).to_string())).collect()
}

/// The warnings in a run's record, by instance.
fn recorded(project: &Project, outcome: &Outcome) -> Vec<(String, String)> {
    let run = read_run(&project.store(), &outcome.summary.run).unwrap();
    let instances = run.instances.iter();
    let mut all: Vec<(String, String)> = instances
        .flat_map(|record| record.warnings.iter().map(|text| (record.label.clone(), text.clone())))
        .collect();
    all.sort();
    assert_eq!(run.head.summary.unwrap()["warnings"], all.len());
    all
}

#[test]
fn a_known_result_warns_like_a_new_one() {
    let project = Project::with_rows();
    let set = ["join.separator="];
    let expected = pairs(&[("join", JOINED)]);
    for executed in [3, 0, 0] {
        let outcome = project.run(&set);
        assert_eq!(outcome.summary.executed, executed);
        assert_eq!((told(&outcome), outcome.summary.warnings), (expected.clone(), 1));
        assert_eq!(recorded(&project, &outcome), expected);
    }
    let quiet = project.run(&[]);
    assert_eq!((told(&quiet), quiet.summary.warnings), (vec![], 0));
    assert_eq!(recorded(&project, &quiet), []);
}

#[test]
fn an_item_takes_its_warning_along_when_others_are_added() {
    let project = Project::with_rows();
    let table = "id,path,times,label\n1,data/a.txt,1,0\n2,data/b.txt,0,1\n";
    project.write("rows.csv", table);
    let expected = pairs(&[("repeat", EMPTY)]);
    assert_eq!(told(&project.run(&[])), expected);
    // Another stage result, made of one new item and of two that are known.
    project.write("rows.csv", &format!("{table}3,data/c.txt,1,0\n"));
    let more = project.run(&[]);
    assert_eq!((more.summary.executed, more.summary.items_executed), (3, 2));
    assert_eq!((told(&more), recorded(&project, &more)), (expected.clone(), expected));
    // Without that item there is nothing to warn of.
    project.write("rows.csv", "id,path,times,label\n1,data/a.txt,1,0\n3,data/c.txt,1,0\n");
    let fewer = project.run(&[]);
    assert_eq!((told(&fewer), fewer.summary.warnings), (vec![], 0));
}

#[test]
fn what_was_warned_of_before_a_failure_is_recorded() {
    let project = Project::with_rows();
    project.write("rows.csv", "id,path,times,label\n2,data/b.txt,0,1\n3,data/bad.txt,1,0\n");
    project.write("data/bad.txt", "bad");
    let outcome = project.run_with(&[], |options| {
        options.jobs = 1;
        options.keep_going = true;
    });
    assert_eq!((outcome.summary.failed, outcome.summary.warnings), (1, 1));
    assert_eq!(recorded(&project, &outcome), pairs(&[("repeat", EMPTY)]));
}

#[test]
fn the_summary_has_what_came_out_in_a_line() {
    let project = Project::with_rows();
    let outcome = project.run(&[]);
    assert_eq!(outcome.summary.headline.as_deref(), Some("0+ANT+BEEBEE+CAT"));
    let run = read_run(&project.store(), &outcome.summary.run).unwrap();
    assert_eq!(run.head.summary.unwrap()["headline"], "0+ANT+BEEBEE+CAT");
    project.write("pipeline.toml", "[stage.repeat]\ninputs = { table = \"rows.csv\" }\n");
    assert_eq!(project.run(&[]).summary.headline, None);
}
