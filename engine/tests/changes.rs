//! What changes while a run goes on, and what was lost from what it builds on.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::time::Duration;

use pipe_engine::event::{Event, Status};
use support::Project;

/// As long as the guard against late writes wants.
fn wait() {
    std::thread::sleep(Duration::from_millis(80));
}

#[test]
fn what_comes_between_a_look_and_binding_is_not_taken_for_what_was_seen() {
    let project = Project::new();
    project.write("folder/fold_0/a.txt", "a");
    project.write("table.csv", "id,label\n1,1\n");
    project.write("pipeline.toml", "[stage.join]\ninputs = { table = \"table.csv\", folder = \"folder\" }\n");
    let late = project.path("folder/fold_0/late.txt");
    let set = format!("join.separator=late:{}", late.display());
    wait();
    // The table is bound before the folder, and while it is, a file comes into the folder.
    let text = project.run(&[&set]).headline("join");
    assert!(text.ends_with("fold_0/late.txt"), "{text}");
    fs::remove_file(&late).unwrap();
    wait();
    for _ in 0..3 {
        let text = project.run(&[&set]).headline("join");
        assert!(text.ends_with("fold_0/a.txt"), "{text}");
        wait();
    }
}

#[test]
fn a_lost_first_result_gives_way_to_the_one_that_was_computed_again() {
    let project = Project::with_rows();
    project.run(&["join.dice=true"]);
    fs::remove_dir_all(project.cache.join("packs")).unwrap();
    let second = project.run(&["join.dice=true"]);
    assert!(second.executed().contains(&"join".to_string()));
    let third = project.run(&["join.dice=true"]);
    assert_eq!((third.summary.executed, third.headline("join")), (0, second.headline("join")));
}

#[test]
fn nothing_more_is_begun_after_a_failure() {
    let project = Project::with_rows();
    project.write(
        "pipeline.toml",
        "[stage.join]\nforeach = { fold = [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19] }\nparams = { fail = true }\n",
    );
    let outcome = project.run(&[]);
    assert_eq!(outcome.summary.status, Status::Failed);
    let begun = outcome.events.iter().filter(|event| matches!(event, Event::StageStarted { .. })).count();
    assert!(begun <= 2, "{begun} were begun by two workers");
}
