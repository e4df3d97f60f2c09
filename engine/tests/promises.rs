//! The engine's promises, each at the boundary: what a second run executes after a change.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;

use pipe_cache::Digest;
use pipe_engine::context::Cancel;
use pipe_engine::event::{Event, Status};
use pipe_engine::preflight::check_tables;
use pipe_engine::record::read_run;
use support::{Memory, Project};

fn counts(outcome: &support::Outcome) -> (usize, usize, usize) {
    (outcome.summary.executed, outcome.summary.cached, outcome.summary.items_executed)
}

#[test]
fn a_second_run_executes_nothing() {
    let project = Project::with_rows();
    let first = project.run(&[]);
    assert_eq!(counts(&first), (3, 0, 6));
    assert_eq!(first.headline("join"), "0+ANT+BEEBEE+CAT");
    let second = project.run(&[]);
    assert_eq!(counts(&second), (0, 3, 0));
    assert_eq!(second.summary.items_cached, 6);
    assert_eq!(second.headline("join"), "0+ANT+BEEBEE+CAT");
}

#[test]
fn a_changed_parameter_runs_its_stage_and_what_follows() {
    let project = Project::with_rows();
    project.run(&[]);
    assert_eq!(project.run(&["join.separator=-"]).executed(), ["join"]);
    let outcome = project.run(&["case.upper=false"]);
    assert_eq!(outcome.executed(), ["case", "join"]);
    assert_eq!(outcome.headline("join"), "0+ant+beebee+cat");
}

#[test]
fn equal_bytes_stop_a_change_from_spreading() {
    let project = Project::with_rows();
    project.run(&[]);
    assert_eq!(project.run(&["case.remark=other"]).executed(), ["case"]);
}

#[test]
fn what_does_not_matter_runs_nothing() {
    let project = Project::with_rows();
    project.run(&[]);
    // Defaults written out, keys in another order, comments, another job count.
    project.write(
        "pipeline.toml",
        "# a comment\n[pipeline]\nname = \"other\"\n[stage.join]\nparams = { fold = 0, separator = \"+\" }\n\
         inputs = { texts = \"@case\" }\n[stage.repeat]\ninputs = { table = \"rows.csv\" }\n\
         [stage.case]\nparams = { upper = true }\ninputs.texts = \"@repeat\"\npublish = \"out\"\n",
    );
    let outcome = project.run_with(&[], |options| options.jobs = 1);
    assert_eq!(counts(&outcome), (0, 3, 0));
    assert_eq!(fs::read_to_string(project.path("out/2.txt")).unwrap(), "BEEBEE");
}

#[test]
fn a_label_a_move_and_a_touch_run_no_item() {
    let project = Project::with_rows();
    project.run(&[]);
    let table = "id,path,times,label\n1,data/a.txt,1,1\n2,data/b.txt,2,0\n3,data/c.txt,1,1\n";
    project.write("rows.csv", table);
    assert_eq!(counts(&project.run(&[])), (0, 3, 0));
    fs::rename(project.path("data/b.txt"), project.path("moved.txt")).unwrap();
    project.write("rows.csv", &table.replace("data/b.txt", "moved.txt"));
    assert_eq!(counts(&project.run(&[])), (0, 3, 0));
    let text = fs::read_to_string(project.path("data/a.txt")).unwrap();
    project.write("data/a.txt", &text);
    assert_eq!(counts(&project.run(&[])), (0, 3, 0));
}

#[test]
fn a_changed_file_and_an_added_row_run_one_item_each() {
    let project = Project::with_rows();
    project.run(&[]);
    project.write("data/b.txt", "bug");
    assert_eq!(counts(&project.run(&[])), (3, 0, 2));
    project.write("data/d.txt", "dog");
    let table = fs::read_to_string(project.path("rows.csv")).unwrap();
    project.write("rows.csv", &format!("{table}4,data/d.txt,3,0\n"));
    let outcome = project.run(&[]);
    assert_eq!(counts(&outcome), (3, 0, 2));
    assert_eq!(outcome.headline("join"), "0+ANT+BUGBUG+CAT+DOGDOGDOG");
    // Back to what was before: every result is known.
    project.write("data/b.txt", "bee");
    project.write("rows.csv", &table);
    assert_eq!(counts(&project.run(&[])), (0, 3, 0));
}

#[test]
fn a_changed_label_reaches_the_stage_that_reads_it() {
    let project = Project::with_rows();
    project.write(
        "pipeline.toml",
        &support::ROWS.replace(
            "inputs = { texts = \"@case\" }",
            "inputs = { texts = \"@case\", table = \"rows.csv\" }",
        ),
    );
    project.run(&[]);
    project.write("rows.csv", "id,path,times,label\n1,data/a.txt,1,1\n2,data/b.txt,2,1\n3,data/c.txt,1,0\n");
    let outcome = project.run(&[]);
    assert_eq!(outcome.executed(), ["join"]);
    assert_eq!(outcome.summary.items_executed, 0);
}

#[test]
fn a_bad_row_fails_by_name_and_the_others_keep_their_results() {
    let project = Project::with_rows();
    project.write("data/b.txt", "bad");
    let outcome = project.run_with(&[], |options| options.keep_going = true);
    assert_eq!(outcome.summary.status, Status::Failed);
    assert_eq!(outcome.summary.items_executed, 2);
    let failure = outcome.events.iter().find_map(|event| match event {
        Event::StageFailed { stage, error, advice, failed_items, log } => {
            Some((stage.clone(), error.clone(), advice.clone(), failed_items.len(), log.clone()))
        }
        _ => None,
    });
    let (stage, error, advice, failed, log) = failure.unwrap();
    assert_eq!((stage.as_str(), error.as_str(), failed), ("repeat", "item 2: the file is bad", 1));
    assert_eq!(advice.as_deref(), Some("mend it"));
    assert!(fs::read_to_string(log).unwrap().contains("item 2: the file is bad"));
    project.write("data/b.txt", "bee");
    assert_eq!(counts(&project.run(&[])), (3, 0, 4));
}

#[test]
fn a_panic_is_a_failure_of_its_stage() {
    let project = Project::with_rows();
    project.write("data/b.txt", "panic");
    let outcome = project.run(&[]);
    assert_eq!(outcome.summary.failed, 1);
    let told = outcome.events.iter().any(|event| match event {
        Event::StageFailed { error, .. } => error.contains("panicked: the code is bad"),
        _ => false,
    });
    assert!(told, "{:?}", outcome.events);
}

#[test]
fn a_failing_stage_leaves_the_others_results() {
    let project = Project::with_rows();
    let manifest = format!(
        "{}[stage.other]\nuses = \"join\"\ninputs = {{ texts = \"@case\" }}\nparams = {{ fail = true }}\n\
         [stage.last]\nuses = \"join\"\ninputs = {{ parts = \"@other\" }}\n",
        support::ROWS
    );
    project.write("pipeline.toml", &manifest);
    let outcome = project.run_with(&[], |options| options.keep_going = true);
    assert_eq!(outcome.executed(), ["case", "join", "repeat"]);
    assert_eq!(outcome.summary.failed, 1);
    let skipped =
        outcome.events.iter().any(|e| matches!(e, Event::StageSkipped { stage, .. } if stage == "last"));
    assert!(skipped);
}

#[test]
fn damaged_and_deleted_blobs_are_computed_again_when_they_are_needed() {
    let project = Project::with_rows();
    let first = project.run(&[]);
    let digests = project.digests();
    for damage in [true, false] {
        for digest in &digests {
            project.spoil(*digest, !damage);
        }
        // A stage downstream that has no result yet needs all that stands before it.
        let separator = if damage { "join.separator=:" } else { "join.separator=;" };
        let outcome = project.run(&[separator]);
        assert_eq!(outcome.summary.status, Status::Ok, "{:?}", outcome.events);
        let plain = outcome.headline("join").replace([':', ';'], "+");
        assert_eq!(plain, first.headline("join"));
        let repaired = outcome.events.iter().any(|event| matches!(event, Event::Repaired { .. }));
        assert_eq!(repaired, damage);
    }
}

#[test]
fn stages_that_find_the_same_damage_at_once_all_go_on_after_one_repair() {
    let mut project = Project::with_rows();
    project.jobs = 4;
    let folds = "[stage.part]\nuses = \"join\"\nforeach = { fold = [0, 1, 2, 3, 4, 5, 6, 7] }\n\
                 inputs = { texts = \"@case\" }\n";
    project.write("pipeline.toml", &format!("{}{folds}", support::ROWS));
    project.run(&[]);
    for round in 0..20 {
        for (number, digest) in project.digests().into_iter().enumerate().filter(|(number, _)| number % 3 < 2)
        {
            project.spoil(digest, number % 3 == 0);
        }
        let outcome =
            project.run(&[&format!("part.separator=-{round}-"), &format!("join.separator=-{round}-")]);
        assert_eq!(outcome.summary.status, Status::Ok, "{:?}", outcome.events);
        assert_eq!(outcome.summary.executed + outcome.summary.cached, 11);
        assert_eq!(outcome.headline("join"), format!("0-{round}-ANT-{round}-BEEBEE-{round}-CAT"));
    }
}

#[test]
fn results_are_the_same_bytes_for_any_number_of_jobs() {
    let blobs = |jobs| {
        let mut project = Project::with_rows();
        project.jobs = jobs;
        project.run(&[]);
        project.blobs()
    };
    assert_eq!(blobs(1), blobs(4));
}

const FOLDS: &str = r#"
[stage.part]
uses = "join"
foreach = { fold = [0, 1, 2, 10] }
inputs = { texts = "texts" }

[stage.next]
uses = "join"
foreach = { fold = [0, 1, 2, 10] }
inputs = { more = "@part" }

[stage.all]
uses = "join"
inputs = { parts = "@next" }
"#;

#[test]
fn folds_match_by_value_and_gather_in_value_order() {
    let project = Project::new();
    project.write("texts/x.txt", "x");
    project.write("pipeline.toml", FOLDS);
    let outcome = project.run(&[]);
    assert_eq!(outcome.summary.executed, 9);
    assert_eq!(outcome.headline("all"), "0+0+0+x+1+1+x+2+2+x+10+10+x");
    project.write("pipeline.toml", &FOLDS.replace("[0, 1, 2, 10]", "[10, 2, 1, 0]"));
    assert_eq!(counts(&project.run(&[])), (0, 9, 0));
    let outcome = project.run(&["next.foreach.fold=[1,2]"]);
    assert_eq!(outcome.executed(), ["all"]);
}

#[test]
fn force_and_only() {
    let project = Project::with_rows();
    assert_eq!(
        project.run_with(&[], |options| options.only = vec!["case".into()]).executed(),
        ["case", "repeat"]
    );
    project.run(&[]);
    let outcome = project.run_with(&[], |options| options.force = vec!["case".into()]);
    assert_eq!(outcome.executed(), ["case"]);
    assert_eq!(outcome.summary.items_executed, 3);
}

#[test]
fn other_bytes_for_the_same_fingerprint_are_a_conflict_and_the_first_stay() {
    let project = Project::with_rows();
    let first = project.run(&["join.dice=true"]);
    let second = project.run_with(&["join.dice=true"], |options| options.force = vec!["join".into()]);
    assert!(second.events.iter().any(|event| matches!(event, Event::Conflict { .. })));
    assert_eq!(second.headline("join"), first.headline("join"));
}

#[test]
fn a_cancelled_run_is_interrupted_and_the_next_goes_on() {
    let project = Project::with_rows();
    let pipeline = project.load(&[]).unwrap();
    let (memory, cancel) = (Memory::default(), Cancel::default());
    cancel.cancel();
    let summary = project.run_pipeline(&pipeline, &project.options(), &memory, &cancel).unwrap();
    assert_eq!(summary.status, Status::Interrupted);
    assert_eq!(project.run(&[]).summary.status, Status::Ok);
}

#[test]
fn publishing_replaces_what_an_earlier_run_published() {
    let project = Project::with_rows();
    project.write("pipeline.toml", &format!("{}publish = \"out\"\n", support::ROWS));
    project.run(&[]);
    assert_eq!(fs::read_to_string(project.path("out/text.txt")).unwrap(), "0+ANT+BEEBEE+CAT");
    project.run(&["join.separator=-"]);
    assert_eq!(fs::read_to_string(project.path("out/text.txt")).unwrap(), "0-ANT-BEEBEE-CAT");
}

#[test]
fn damaged_results_are_restored_before_they_are_shown_and_published() {
    let project = Project::with_rows();
    let manifest = support::ROWS
        .replace("inputs = { texts = \"@case\" }", "inputs = { texts = \"@case\" }\npublish = \"out\"");
    project.write("pipeline.toml", &manifest);
    project.run(&[]);
    for digest in project.digests() {
        project.spoil(digest, false);
    }
    fs::remove_dir_all(project.path("out")).unwrap();
    let outcome = project.run(&[]);
    assert_eq!(outcome.summary.status, Status::Ok, "{:?}", outcome.events);
    assert_eq!(outcome.headline("join"), "0+ANT+BEEBEE+CAT");
    assert_eq!(fs::read_to_string(project.path("out/text.txt")).unwrap(), "0+ANT+BEEBEE+CAT");
}

#[test]
fn only_the_part_of_a_folder_that_a_kind_uses_counts() {
    let project = Project::new();
    project.write("folds/fold_0/a.txt", "a");
    project.write("folds/fold_1/b.txt", "b");
    project.write("folds/fold_10/c.txt", "c");
    project.write(
        "pipeline.toml",
        "[stage.join]\nforeach = { fold = [0, 1] }\ninputs = { folder = \"folds\" }\n",
    );
    let first = project.run(&[]);
    assert_eq!(first.headline("join[fold=1]"), "1+fold_1/b.txt");
    project.write("folds/fold_1/b.txt", "bb");
    project.write("folds/fold_2/d.txt", "d");
    assert_eq!(project.run(&[]).executed(), ["join[fold=1]"]);
}

#[test]
fn items_of_one_content_and_two_names_are_two_items() {
    let project = Project::with_rows();
    project.write("rows.csv", "id,path,times,label\n1,data/a.txt,1,0\n2,data/a.txt,1,1\n");
    let first = project.run_with(&[], |options| options.only = vec!["repeat".to_string()]);
    assert_eq!(first.summary.items_executed, 2);
    project.write("rows.csv", "id,path,times,label\n1,data/a.txt,1,0\n3,data/a.txt,1,1\n");
    let second = project.run_with(&[], |options| options.only = vec!["repeat".to_string()]);
    assert_eq!((second.summary.items_executed, second.summary.items_cached), (1, 1));
}

#[test]
fn a_panic_while_inputs_are_bound_is_a_failure_of_its_stage() {
    let project = Project::with_rows();
    // Selecting the columns of a table runs the kind's code before its `run`.
    project.write(
        "pipeline.toml",
        "[stage.join]\ninputs = { table = \"rows.csv\" }\nparams = { separator = \"panic\" }\n",
    );
    let outcome = project.run(&[]);
    assert_eq!((outcome.summary.status, outcome.summary.failed), (Status::Failed, 1));
}

#[test]
fn a_record_says_where_values_came_from_in_that_run() {
    let project = Project::with_rows();
    project.run(&["case.remark=x"]);
    project.write("pipeline.toml", &format!("{}[stage.case.params]\nremark = \"x\"\n", support::ROWS));
    let second = project.run(&[]);
    assert_eq!(counts(&second).0, 0);
    let record = read_run(&project.store(), "latest").unwrap();
    let case = record.instances.iter().find(|instance| instance.label == "case").unwrap();
    let origin = &case.origins["param.remark"];
    assert!(origin.contains("pipeline.toml:"), "{origin}");
    assert!(!case.origins.contains_key("param.upper"), "a default");
}

#[cfg(unix)]
#[test]
fn inputs_that_lie_elsewhere_are_recorded() {
    let project = Project::with_rows();
    project.run(&[]);
    let elsewhere = || read_run(&project.store(), "latest").unwrap().head.header.elsewhere;
    assert!(elsewhere().is_empty());
    let outside = tempfile::tempdir().unwrap();
    let real = fs::canonicalize(outside.path()).unwrap().join("table.csv");
    fs::rename(project.path("rows.csv"), &real).unwrap();
    std::os::unix::fs::symlink(&real, project.path("rows.csv")).unwrap();
    assert_eq!(counts(&project.run(&[])), (0, 3, 0));
    let [link] = &elsewhere()[..] else { panic!("one input") };
    assert!(link.given.ends_with("rows.csv") && link.leads_to == real, "{link:?}");
    let outcome = project.run(&[&format!("repeat.inputs.table={}", real.display())]);
    assert_eq!(counts(&outcome), (0, 3, 0));
    let [plain] = &elsewhere()[..] else { panic!("one input") };
    assert_eq!((&plain.given, &plain.leads_to), (&real, &real));
}

#[test]
fn all_rows_of_a_table_are_checked_before_any_work() {
    let project = Project::with_rows();
    project.write("rows.csv", "id,path,times,label\n1,data/a.txt,x,\n2,data/none.txt,,\n2,data/b.txt,2,\n");
    let pipeline = project.load(&[]).unwrap();
    let error = check_tables(&project.session(), &pipeline).unwrap_err();
    let text: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
    let text = text.join("\n");
    for wanted in ["rows.csv:3: `path`", "item 2 is on line 3 and again on line 4"] {
        assert!(text.contains(wanted), "{text}");
    }
    project.write("rows.csv", "id,path,times,label\n1,data/a.txt,x,\n2,data/none.txt,,\n3,data/b.txt,2,\n");
    project.write(
        "pipeline.toml",
        &format!(
            "{}table = \"rows.csv\"\n",
            support::ROWS.replace("inputs = { texts = \"@case\" }", "[stage.join.inputs]\ntexts = \"@case\"")
        ),
    );
    let pipeline = project.load(&[]).unwrap();
    let error = check_tables(&project.session(), &pipeline).unwrap_err();
    let text: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
    let text = text.join("\n");
    for wanted in [
        "rows.csv:2: `times`",
        "rows.csv:3: `times`",
        "rows.csv:3: `path`",
        "rows.csv:2: no label",
        "rows.csv:4: no label",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
}

#[test]
fn a_file_that_is_gone_from_the_last_stage_is_computed_again() {
    let project = Project::with_rows();
    project.write("pipeline.toml", "[stage.repeat]\ninputs = { table = \"rows.csv\" }\n");
    project.run(&[]);
    let blobs = project.blobs();
    project.spoil(Digest::of(b"beebee"), true);
    let again = project.run(&[]);
    assert_eq!(counts(&again), (1, 0, 1));
    assert_eq!(project.blobs(), blobs);
}
