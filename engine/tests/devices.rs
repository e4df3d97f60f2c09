//! Graphics processors are given out one to an instance. No test here needs one: the engine only counts them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;

use pipe_engine::context::{Cancel, Devices};
use pipe_engine::event::Status;
use pipe_engine::record::read_run;
use pipe_engine::run::RunError;
use support::{Memory, Project};

fn project(resources: &str) -> Project {
    let mut project = Project::new();
    project.jobs = 4;
    let manifest = format!("[stage.occupy]\nforeach = {{ fold = [0, 1, 2, 3, 4, 5] }}\n{resources}");
    project.write("pipeline.toml", &manifest);
    project
}

#[test]
fn folds_side_by_side_have_a_device_each_and_the_record_names_it() {
    let mut project = project("");
    project.devices = Devices::Cuda(vec![0, 2]);
    let outcome = project.run(&[]);
    assert_eq!((outcome.summary.executed, outcome.summary.failed), (6, 0));
    let record = read_run(&project.store(), "latest").unwrap();
    let used: BTreeSet<String> = record.instances.into_iter().filter_map(|record| record.device).collect();
    assert_eq!(used, BTreeSet::from(["cuda:0".to_owned(), "cuda:2".to_owned()]));
    // Which of them it was is no part of the result.
    project.devices = Devices::Cuda(vec![7]);
    let again = project.run(&[]);
    assert_eq!((again.summary.executed, again.summary.cached), (0, 6));
}

#[test]
fn more_devices_than_there_are_is_refused_before_any_work() {
    let mut project = project("resources = { gpu = 3 }\n");
    project.devices = Devices::Cuda(vec![0, 1]);
    let pipeline = project.load(&[]).unwrap();
    let outcome = project.run_pipeline(&pipeline, &project.options(), &Memory::default(), &Cancel::default());
    assert!(matches!(outcome, Err(RunError::Devices { needed: 3, given: 2, .. })));
}

#[test]
fn a_device_for_a_kind_that_uses_none_is_told() {
    let project = project("[stage.join]\nresources = { gpu = 1 }\n");
    let error = project.load(&[]).err().unwrap().to_string();
    assert!(error.contains("`join` computes on the processor"), "{error}");
}

#[test]
fn instances_that_do_not_fit_together_are_kept_apart() {
    // On the processor each of them would find it occupied by another.
    let project = project("resources = { memory_gb = 6 }\n");
    let outcome = project.run_with(&[], |options| options.memory_bytes = Some(11_000_000_000));
    assert_eq!((outcome.summary.executed, outcome.summary.failed), (6, 0));
    let mut project = self::project("resources = { cpus = 3 }\n");
    assert_eq!(project.run(&[]).summary.executed, 6, "of four processors one takes three");
    project.jobs = 1;
    let again = project.run_with(&[], |options| options.force = vec!["occupy".to_string()]);
    assert_eq!(again.summary.executed, 6, "one that wants more than there is runs alone");
    let error = self::project("resources = { memory_gb = -1 }\n").load(&[]);
    let error = error.err().unwrap().to_string();
    assert!(error.contains("`memory_gb` must be 0 or more"), "{error}");
}

#[test]
fn what_takes_longer_than_its_time_fails_and_is_told_so() {
    let project = project("params = { endless = true }\nresources = { time = \"1s\" }\n");
    let outcome = project.run(&["occupy.foreach.fold=[0]"]);
    assert_eq!((outcome.summary.status, outcome.summary.failed), (Status::Failed, 1));
    let error = read_run(&project.store(), "latest").unwrap().instances[0].error.clone().unwrap();
    assert_eq!(error, "it took longer than 1 s, the `time` in its `resources`");
    for wrong in ["1", "0s", "-1m", "2 weeks", "h"] {
        let error = self::project(&format!("resources = {{ time = \"{wrong}\" }}\n")).load(&[]);
        let error = error.err().unwrap().to_string();
        assert!(error.contains(&format!("`time` is {wrong:?}, which is no time")), "{error}");
    }
}
