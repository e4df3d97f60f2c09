//! What a result follows from, as values: in records, in stored preimages, and as reasons for what is to be computed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;

use pipe_engine::assess::{ItemCount, Policy, Reason, Verdict, assess};
use pipe_engine::lineage::{Change, Content, Preimage, Source};
use pipe_engine::record::{InstanceRecord, read_run};
use serde_json::json;
use support::Project;

/// The last run's record of an instance.
fn recorded(project: &Project, label: &str) -> InstanceRecord {
    let run = read_run(&project.store(), "latest").unwrap();
    run.instances.into_iter().find(|instance| instance.label == label).unwrap()
}

fn preimage(project: &Project, label: &str) -> Preimage {
    let fingerprint = recorded(project, label).fingerprint.unwrap();
    let preimage = Preimage::from_json(&project.store().preimage(fingerprint).unwrap().unwrap()).unwrap();
    assert_eq!(preimage.fingerprint(), fingerprint, "the stored preimage gives its fingerprint");
    preimage
}

fn verdicts(project: &Project, set: &[&str]) -> BTreeMap<String, Verdict> {
    let pipeline = project.load(set).unwrap();
    let verdicts = assess(&project.session(), &pipeline, Policy { with_reasons: true, ..Policy::default() });
    pipeline.instances.iter().map(|instance| instance.label.clone()).zip(verdicts).collect()
}

fn reasons(verdict: &Verdict) -> &[Reason] {
    match verdict {
        Verdict::Stale { reasons, .. } | Verdict::Waiting { reasons, .. } => reasons,
        Verdict::UpToDate { .. } | Verdict::Wrong(_) => &[],
    }
}

#[test]
fn a_record_says_what_each_instance_was_given() {
    let project = Project::with_rows();
    for executed in [3, 0] {
        assert_eq!(project.run(&[]).summary.executed, executed);
        let sources = |label: &str| -> Vec<Source> {
            recorded(&project, label).inputs.into_iter().flat_map(|given| given.sources).collect()
        };
        assert_eq!(sources("repeat"), [Source::Path("rows.csv".into())]);
        let output =
            |instance: &str| Source::Output { instance: instance.to_string(), output: "texts".to_string() };
        assert_eq!(sources("case"), [output("repeat")]);
        assert_eq!(sources("join"), [output("case")]);
        let given = recorded(&project, "join").inputs.remove(0);
        assert_eq!((given.input.as_str(), given.written.as_str(), given.fills), ("texts", "@case", false));
        assert!(given.origin.unwrap().ends_with("pipeline.toml:9"));
    }
}

#[test]
fn scalars_stay_with_a_result() {
    let project = Project::with_rows();
    for executed in [3, 0] {
        assert_eq!(project.run(&[]).summary.executed, executed);
        assert_eq!(recorded(&project, "join").scalars, BTreeMap::from([("parts".to_string(), 4.0)]));
        assert_eq!(recorded(&project, "case").scalars, BTreeMap::new());
    }
}

#[test]
fn a_preimage_tells_items_from_what_all_of_them_use() {
    let project = Project::with_rows();
    project.run(&[]);
    let items = preimage(&project, "repeat").items.unwrap();
    assert_eq!((items.count, items.made_of), (3, vec!["table".to_string()]));
    let join = preimage(&project, "join");
    assert_eq!(join.items, None);
    let texts = recorded(&project, "case").outputs["texts"].digest;
    let used: Vec<(&str, &Content)> =
        join.inputs.iter().map(|used| (used.input.as_str(), &used.content)).collect();
    assert!(matches!(used[0], ("texts", Content::Files(_))), "{used:?}");
    assert!(project.store().contains(texts));
}

#[test]
fn reasons_are_values() {
    let project = Project::with_rows();
    let first = verdicts(&project, &[]);
    assert_eq!(reasons(&first["repeat"]), [Reason::New]);
    assert!(matches!(&first["case"], Verdict::Waiting { on, .. } if on == &["repeat"]));
    project.run(&[]);
    let known = verdicts(&project, &[]);
    assert!(known.values().all(|verdict| matches!(verdict, Verdict::UpToDate { .. })));

    let other = verdicts(&project, &["join.separator=-"]);
    let Reason::Changed { change, stage, origin } = &reasons(&other["join"])[0] else { panic!("{other:?}") };
    let before_and_after = Change::Parameter {
        name: "separator".to_string(),
        before: Some(json!("+")),
        after: Some(json!("-")),
    };
    assert_eq!((change, stage.as_str()), (&before_and_after, "join"));
    assert_eq!(origin.as_deref(), Some("--set join.separator=-"));

    project.write("data/b.txt", "bear");
    project.write("rows.csv", "id,path,times,label\n2,data/b.txt,2,1\n3,data/c.txt,3,0\n4,data/a.txt,1,0\n");
    let changed = verdicts(&project, &[]);
    let Verdict::Stale { reasons, items } = &changed["repeat"] else { panic!("{changed:?}") };
    assert_eq!(*items, Some(ItemCount { total: 3, missing: 3 }));
    let [Reason::Changed { change: Change::Items(changes), .. }] = &reasons[..] else {
        panic!("{reasons:?}")
    };
    assert_eq!((&changes.added[..], &changes.removed[..]), (&["4".to_string()][..], &["1".to_string()][..]));
    let parts: Vec<(&str, &[String])> =
        changes.changed.iter().map(|change| (change.item.as_str(), &change.parts[..])).collect();
    assert_eq!(parts, [("2", &["path".to_string()][..]), ("3", &["times".to_string()][..])]);
}

#[test]
fn what_cannot_be_read_is_wrong_and_the_rest_is_told() {
    let project = Project::with_rows();
    project.run(&[]);
    std::fs::remove_file(project.path("data/c.txt")).unwrap();
    let verdicts = verdicts(&project, &[]);
    let Verdict::Wrong(error) = &verdicts["repeat"] else { panic!("{verdicts:?}") };
    assert!(error.to_string().contains("data/c.txt"), "{error}");
    assert!(matches!(&verdicts["case"], Verdict::Waiting { on, .. } if on == &["repeat"]));
}
