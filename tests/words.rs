//! What commands print, as snapshots: a change of words is a change that is read.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use regex::Regex;
use support::Workspace;

const COMMANDS: [&[&str]; 28] = [
    &[],
    &["run"],
    &["sweep"],
    &["sweep", "show"],
    &["check"],
    &["plan"],
    &["graph"],
    &["get"],
    &["predict"],
    &["runs"],
    &["show"],
    &["logs"],
    &["why"],
    &["diff"],
    &["audit"],
    &["pack"],
    &["export"],
    &["gc"],
    &["cache"],
    &["cache", "stats"],
    &["cache", "verify"],
    &["cache", "pin"],
    &["cache", "unpin"],
    &["cache", "share"],
    &["stages"],
    &["schema"],
    &["init"],
    &["completions"],
];

#[test]
fn help_of_every_command() {
    let workspace = Workspace::new();
    let top = workspace.pipe_ok(&["--help"]).stdout;
    let known: Vec<&str> = COMMANDS.iter().filter_map(|command| command.first().copied()).collect();
    for line in
        top.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty())
    {
        let name = line.split_whitespace().next().unwrap();
        assert!(name == "help" || known.contains(&name), "`{name}` has no snapshot");
    }
    for command in COMMANDS {
        let name = if command.is_empty() { "pipe".to_owned() } else { command.join("-") };
        let help = workspace.pipe_ok(&[command, &["--help"]].concat()).stdout;
        insta::with_settings!({snapshot_suffix => name, omit_expression => true}, {
            insta::assert_snapshot!(help);
        });
    }
}

/// A text without what differs from run to run and from machine to machine.
fn redacted(text: &str) -> String {
    let patterns = [
        (r"\b20\d{6}-\d{6}-\d{3}-\w{3}", "[RUN]"),
        (r"20\d\d-\d\d-\d\d \d\d:\d\d(:\d\d)?", "[TIME]"),
        (r"  cpu \S+ s(, \w+ [\d.]+ \w?B)*", "  [USAGE]"),
        (r" *\d+\.\d+ s\b", " [SECONDS]"),
        (r"\b[0-9a-f]{64}\b", "[DIGEST]"),
        (r"(?m)^(program|host|commit) .*$", "$1 …"),
    ];
    patterns.iter().fold(text.to_owned(), |text, (pattern, word)| {
        Regex::new(pattern).unwrap().replace_all(&text, *word).into_owned()
    })
}

#[test]
fn plan_show_and_runs() {
    let workspace = Workspace::new();
    workspace.write("nodules.csv", "pid,nodule_id,margin\n1,1,Poorly defined\n2,1,Sharp\n");
    workspace.write(
        "p.toml",
        "[pipeline]\nname = \"words\"\n[stage.report]\ninputs = { dataset = \"nodules.csv\" }\n\
         [stage.text-encode]\ninputs = { reports = \"@report\" }\n",
    );
    let out = |arguments: &[&str]| redacted(&workspace.pipe_ok(arguments).stdout);
    insta::assert_snapshot!("plan_of_a_new_pipeline", out(&["plan", "p.toml"]));
    workspace.pipe_ok(&["run", "p.toml", "-q"]);
    insta::assert_snapshot!(
        "plan_of_a_changed_pipeline",
        out(&["plan", "p.toml", "--all", "--set", "report.stream=z"])
    );
    insta::assert_snapshot!("show", out(&["show"]));
    workspace.pipe_ok(&["run", "p.toml", "-q", "--set", "report.stream=z"]);
    insta::assert_snapshot!("runs", out(&["runs"]));
}
