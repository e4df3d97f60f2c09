//! Paths that lead to more than a file, rows that share an item, and outputs made of all items.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;

use pipe_cache::Digest;
use pipe_engine::inspect::inspect;
use pipe_engine::preflight::check_tables;
use pipe_engine::stage::Severity;
use support::{Outcome, Project};

/// A folder, a pair and a file; two rows share the folder.
fn project() -> Project {
    let project = Project::new();
    for (name, text) in
        [("series/1", "an"), ("series/2", "t"), ("two.head", "be"), ("two.body", "e"), ("one.txt", "cat")]
    {
        project.write(name, text);
    }
    project.write("rows.csv", "id,path,note\nx,series,first\ny,two.body,\nx,series,second\nz,one.txt,\n");
    project.write(
        "pipeline.toml",
        "[stage.pack]\ninputs = { table = \"rows.csv\" }\n[stage.join]\ninputs = { texts = \"@pack\" }\n",
    );
    project
}

fn counts(outcome: &Outcome) -> (usize, usize) {
    (outcome.summary.executed, outcome.summary.items_executed)
}

#[test]
fn folders_pairs_and_repeated_rows_become_one_tree() {
    let project = project();
    let outcome = project.run(&[]);
    assert_eq!(counts(&outcome), (2, 3));
    let table = "id,note,path\nx,first,texts/x.txt\ny,,texts/y.txt\nx,second,texts/x.txt\nz,,texts/z.txt\n";
    assert_eq!(outcome.headline("join"), format!("0+{table}+ant+bee+cat"));
    assert_eq!(counts(&project.run(&[])), (0, 0));
}

#[test]
fn every_file_that_a_path_leads_to_counts_and_nothing_else() {
    let project = project();
    project.run(&[]);
    for (name, text) in [("series/3", "s"), ("two.head", "bE"), ("two.body", "E"), ("one.txt", "dog")] {
        project.write(name, text);
        assert_eq!(counts(&project.run(&[])), (2, 1), "{name}");
    }
    fs::remove_file(project.path("series/3")).unwrap();
    assert_eq!(counts(&project.run(&[])), (2, 0), "as it was");
    project.write("series/.hidden", "x");
    fs::rename(project.path("series"), project.path("moved")).unwrap();
    let rows = fs::read_to_string(project.path("rows.csv")).unwrap();
    project.write("rows.csv", &rows.replace("series", "moved/").replace("two.body", "two.head"));
    // The table is gathered anew and comes out the same.
    assert_eq!(project.run(&[]).executed(), ["pack"]);
    project.write("rows.csv", &rows.replace("series", "moved").replace("first", "other"));
    assert_eq!(counts(&project.run(&[])), (2, 0), "a cell that is only passed on");
}

#[test]
fn a_gathered_table_leads_where_its_source_did() {
    let project = project();
    project.write("rows.csv", "id,path\nx,one.txt\ny,two.body\n");
    let manifest = "[stage.measure]\ninputs = { table = \"rows.csv\" }\n\
        [stage.repeat]\ninputs = { table = \"@measure\" }\n[stage.join]\ninputs = { texts = \"@repeat\" }\n";
    project.write("pipeline.toml", manifest);
    assert_eq!(project.run(&[]).headline("join"), "0+catcatcat+e");
    // Within a tree, the files go on with the table.
    let manifest =
        manifest.replace("rows.csv", "@pack") + "[stage.pack]\ninputs = { table = \"rows.csv\" }\n";
    project.write("pipeline.toml", &manifest);
    assert_eq!(project.run(&[]).headline("join"), "0+catcatcat+beebeebee");
    project.write("two.head", "B");
    assert_eq!(project.run(&[]).headline("join"), "0+catcatcat+BeBe");
}

#[test]
fn a_lost_item_of_a_tree_is_computed_again() {
    let project = project();
    project.run(&[]);
    project.spoil(Digest::of(b"ant"), true);
    let outcome = project.run(&["join.separator=-"]);
    assert!(outcome.headline("join").ends_with("-ant-bee-cat"));
}

#[test]
fn rows_of_one_item_must_agree() {
    let project = project();
    project.write("rows.csv", "id,path\nx,series\nx,one.txt\n");
    let check = || {
        let pipeline = project.load(&[]).unwrap();
        check_tables(&project.session(), &pipeline).unwrap_err().to_string()
    };
    let message = check();
    assert!(message.contains("rows.csv: `path` of x is series on line 2 and one.txt on line 3"), "{message}");
    project.write("rows.csv", "id,path\nx,gone\ny,two.head\nz,lone.head\n");
    project.write("lone.head", "");
    let message = check();
    assert!(message.contains("rows.csv:2: `path`: there is no file or folder gone"), "{message}");
    assert!(message.contains("rows.csv:4: `path`: there is no file lone.body"), "{message}");
}

#[test]
fn a_look_tells_what_kinds_find_and_files_that_are_there_twice() {
    let project = project();
    project.write("copy.txt", "cat");
    project
        .write("rows.csv", "id,path,note\nx,series,\ny,two.body,odd\nx,series,\nv,copy.txt,\nw,one.txt,\n");
    let pipeline = project.load(&[]).unwrap();
    let found = inspect(&project.session(), &pipeline).unwrap();
    assert_eq!((found.rows, found.files), (5, 4));
    assert_eq!((found.count(Severity::Error), found.count(Severity::Warning)), (1, 1));
    let told: Vec<(&str, &str)> =
        found.findings.iter().map(|one| (one.place.as_str(), one.message.as_str())).collect();
    assert_eq!(told[0], ("rows.csv:3", "odd among y"));
    assert_eq!(told[1].0, "rows.csv:6");
    assert!(told[1].1.ends_with("copy.txt (rows.csv:5)"), "{told:?}");
}
