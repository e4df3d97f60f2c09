//! Computing again finds what does not follow from its inputs, and tells it from what only inherits.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use pipe_engine::audit::{Asked, Audit, Level, Note, Outcome, Recorded, Replay, Sample, audit, replay};
use pipe_engine::context::{Cancel, Context, Device, Devices, ItemContext};
use pipe_engine::event::{Event, Observer};
use pipe_engine::registry::Registry;
use pipe_engine::session::Session;
use pipe_engine::stage::{
    About, InputForm, InputSpec, Item, ItemSource, Kind, OutputSpec, PerItem, Stage, StageError, Whole,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use support::{CODE, KINDS, Project};

#[derive(Deserialize, Serialize, JsonSchema)]
struct NoParams {}

macro_rules! writes_a_number {
    ($kind:ident, $name:literal, $number:expr) => {
        struct $kind;

        impl Stage for $kind {
            type Params = NoParams;
            const ABOUT: About = About::new($name, "writes a number", CODE)
                .inputs(&[InputSpec::new("texts", InputForm::Collection, "texts").optional()])
                .outputs(&[OutputSpec::file("numbers", "numbers.json", "a number")]);
        }

        impl Whole for $kind {
            fn run(&self, _: &NoParams, context: &mut Context<'_>) -> Result<(), StageError> {
                let number: f64 = $number;
                let text = serde_json::json!({ "a": [1, { "number": number }] }).to_string();
                context.write("numbers", "numbers.json", text.as_bytes())
            }
        }
    };
}

writes_a_number!(Clock, "clock", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64());
writes_a_number!(Address, "address", {
    // Kept, so that the next one lies elsewhere.
    let boxed: &'static u64 = Box::leak(Box::new(0));
    (std::ptr::from_ref(boxed) as usize % 1_000_000_007) as f64
});
writes_a_number!(Unordered, "unordered", unordered_sum());
writes_a_number!(Steady, "steady", 0.1 + 0.2);

/// A sum whose order is another one at each call, as that of threads may be.
fn unordered_sum() -> f64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let mut numbers = vec![1e16, 1.0, -1e16, 3.0, 0.1];
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    numbers.rotate_left((call % 2) as usize);
    numbers.into_iter().sum()
}

/// Gives another number on another device.
struct Rounding;

impl Stage for Rounding {
    type Params = NoParams;
    const ABOUT: About = About::new("rounding", "rounds as its device does", CODE)
        .outputs(&[OutputSpec::file("numbers", "numbers.json", "a number")])
        .device()
        .within(0.1);
}

impl Whole for Rounding {
    fn run(&self, _: &NoParams, context: &mut Context<'_>) -> Result<(), StageError> {
        let number = if context.device() == Device::Cpu { 1.05 } else { 1.0 };
        context.write("numbers", "numbers.json", serde_json::json!([number]).to_string().as_bytes())
    }
}

/// Counts its calls into one of its items.
struct Restless;

impl Stage for Restless {
    type Params = NoParams;
    const ABOUT: About = About::new("restless", "changes one item", CODE)
        .inputs(&[InputSpec::new("texts", InputForm::Collection, "texts")])
        .outputs(&[OutputSpec::collection("texts", "txt", "texts")]);
}

impl PerItem for Restless {
    fn items(&self, _: &NoParams, _: &dyn Fn(&str) -> bool) -> ItemSource {
        ItemSource::Collection { input: "texts" }
    }

    fn run_group(
        &self,
        _: &NoParams,
        group: &[Item],
        _: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let run = |item: &Item| {
            let call = CALLS.fetch_add(1, Ordering::Relaxed);
            let text = item.file("texts")?.read()?;
            let end = if item.name == "2" { call.to_string() } else { String::new() };
            Ok([text, end.into_bytes()].concat())
        };
        group.iter().map(run).collect()
    }
}

struct Nobody;

impl Observer for Nobody {
    fn event(&self, _: &Event) {}
}

fn project(kinds: &[Kind]) -> Project {
    let mut project = Project::with_rows();
    project.registry = Registry::new([KINDS, kinds].concat(), "").unwrap();
    project
}

fn replayed(project: &Project, stages: &[&str], sample: Option<Sample>) -> Audit {
    let store = project.store();
    let recorded = Recorded::read(&store, "latest").unwrap();
    let pipeline = recorded.pipeline(&store, None, &project.registry).unwrap();
    let session = Session::new(&project.registry, &store, recorded.devices(), false);
    let asked = Asked::default();
    let mut found = audit(&session, &recorded, Ok(&pipeline), &asked).unwrap();
    assert_eq!(found.findings, []);
    let before = project.blobs().into_keys().collect::<Vec<_>>();
    let how = Replay {
        stages: stages.iter().map(|stage| (*stage).to_string()).collect(),
        sample,
        jobs: 2,
        devices: Devices::Cpu,
        observer: &Nobody,
        cancel: Cancel::default(),
    };
    replay((&project.registry, &store), (&recorded, &pipeline), &asked, &how, &mut found).unwrap();
    assert_eq!(project.blobs().into_keys().collect::<Vec<_>>(), before, "the cache stays as it is");
    found
}

fn told(audit: &Audit) -> Vec<String> {
    audit.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn what_follows_from_its_inputs_is_identical() {
    let project = project(&[]);
    project.run(&[]);
    let audit = replayed(&project, &[], None);
    assert_eq!(told(&audit), Vec::<String>::new());
    assert_eq!(audit.level(), Level::ComputedAgain { identical: 3, within_tolerance: 0, not_promised: 0 });
    let audit = replayed(&project, &["case"], None);
    assert_eq!(audit.level(), Level::PartlyComputedAgain { instances: 1, left: 2 });
    let sample = Some(Sample { count: 2, seed: "x".to_string() });
    let audit = replayed(&project, &[], sample.clone());
    let again = replayed(&project, &[], sample);
    let items = |audit: &Audit| -> Vec<_> {
        audit.replayed.as_ref().unwrap().instances.iter().map(|one| one.items).collect()
    };
    assert_eq!(items(&audit), [Some((2, 3)), Some((2, 3)), None]);
    assert_eq!(items(&audit), items(&again));
    assert_eq!(audit.level(), Level::PartlyComputedAgain { instances: 3, left: 2 });
}

#[test]
fn clocks_addresses_and_unordered_sums_are_found_and_placed() {
    let kinds = [Kind::whole(&Clock), Kind::whole(&Address), Kind::whole(&Unordered), Kind::whole(&Steady)];
    let project = project(&kinds);
    let stages = "[stage.clock]\n[stage.address]\n[stage.unordered]\n[stage.steady]\n";
    project.write("pipeline.toml", stages);
    project.run(&[]);
    let audit = replayed(&project, &[], None);
    let found = told(&audit);
    assert_eq!(found.len(), 3, "{found:?}");
    for kind in ["clock", "address", "unordered"] {
        let start = format!("{kind} differs from what its own recorded inputs give: numbers: a[1].number: ");
        assert!(
            found.iter().any(|text| text.starts_with(&start) && text.contains("; at most by ")),
            "{found:?}"
        );
    }
    assert_eq!(audit.level(), Level::None { findings: 3 });
}

#[test]
fn on_another_class_of_device_numbers_may_differ_as_much_as_the_kind_allows() {
    let mut project = project(&[Kind::whole(&Rounding)]);
    project.devices = Devices::Cuda(vec![0]);
    project.write("pipeline.toml", "[stage.rounding]\n");
    project.run(&[]);
    let audit = replayed(&project, &[], None);
    assert_eq!(told(&audit), Vec::<String>::new());
    assert_eq!(audit.level(), Level::ComputedAgain { identical: 0, within_tolerance: 1, not_promised: 0 });
}

#[test]
fn a_restless_item_is_named_and_what_builds_on_it_inherits() {
    let project = project(&[Kind::per_item(&Restless)]);
    project.write(
        "pipeline.toml",
        "[stage.repeat]\ninputs = { table = \"rows.csv\" }\n[stage.restless]\ninputs = { texts = \"@repeat\" }\n\
         [stage.case]\ninputs = { texts = \"@restless\" }\n[stage.join]\ninputs = { texts = \"@case\" }\n",
    );
    project.run(&[]);
    let audit = replayed(&project, &[], None);
    let found = told(&audit);
    assert_eq!(found.len(), 1, "{found:?}");
    let start = "restless differs from what its own recorded inputs give: texts, 2.txt: ";
    assert!(found[0].starts_with(start), "{found:?}");
    let inherits = |instance: &str| Note::Inherits {
        instance: instance.to_string(),
        from: vec!["restless".to_string()],
    };
    assert_eq!(audit.notes, [inherits("case"), inherits("join")]);
    let outcomes = audit.replayed.unwrap().instances.into_iter().map(|one| one.outcome).collect::<Vec<_>>();
    let is_same = |outcome: &Outcome| *outcome == Outcome::Identical;
    assert_eq!(outcomes.iter().map(is_same).collect::<Vec<_>>(), [true, false, true, true]);
    // Some items find it, too, if it is among them.
    let all = Some(Sample { count: 3, seed: String::new() });
    assert_eq!(told(&replayed(&project, &["restless"], all)).len(), 1);
}
