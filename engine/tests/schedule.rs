//! The scheduler on random graphs: order, failures, reruns, against a model of a few lines.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use pipe_engine::event::Event;
use proptest::prelude::*;
use support::{Outcome, Project};

/// Stages `s0`, `s1`, … of kind `join`; each takes the texts of up to two earlier ones, as `parts` and `more`.
#[derive(Clone, Debug)]
struct Graph {
    upstream: Vec<BTreeMap<&'static str, usize>>,
    failing: BTreeSet<usize>,
}

fn graphs() -> impl Strategy<Value = Graph> {
    (1usize..9).prop_flat_map(|count| {
        let edges = proptest::collection::vec((0..count + 1, 0..count + 1), count);
        let failing = proptest::collection::btree_set(0..count, 0..2);
        (edges, failing).prop_map(|(edges, failing)| {
            let upstream = edges.iter().enumerate();
            let upstream = upstream.map(|(stage, makers)| {
                let named = [("parts", makers.0), ("more", makers.1)].into_iter();
                named.filter(|(_, maker)| *maker < stage).collect()
            });
            Graph { upstream: upstream.collect(), failing }
        })
    })
}

impl Graph {
    /// The manifest; `separators` change what a stage computes.
    fn manifest(&self, separators: &BTreeMap<usize, &str>) -> String {
        let mut text = String::new();
        // Written backwards, so that the order of writing is not the order of running.
        for (stage, upstream) in self.upstream.iter().enumerate().rev() {
            let inputs: Vec<String> =
                upstream.iter().map(|(name, maker)| format!("{name} = \"@s{maker}\"")).collect();
            let separator = separators.get(&stage).unwrap_or(&"+");
            let fail = self.failing.contains(&stage);
            writeln!(
                text,
                "[stage.s{stage}]\nuses = \"join\"\ninputs = {{ {} }}\nparams = {{ fold = {stage}, separator = \"{separator}\", fail = {fail} }}",
                inputs.join(", ")
            )
            .unwrap();
        }
        text
    }

    fn text(&self, stage: usize) -> String {
        let parts = ["parts", "more"].iter().filter_map(|name| self.upstream[stage].get(name));
        let parts = parts.map(|maker| self.text(*maker));
        std::iter::once(stage.to_string()).chain(parts).collect::<Vec<_>>().join("+")
    }

    /// The stage and all that it builds on.
    fn ancestry(&self, stage: usize) -> BTreeSet<usize> {
        let upstream = self.upstream[stage].values().flat_map(|maker| self.ancestry(*maker));
        upstream.chain([stage]).collect()
    }

    fn all(&self) -> std::ops::Range<usize> {
        0..self.upstream.len()
    }

    /// Those that nothing keeps from succeeding.
    fn sound(&self) -> Vec<String> {
        let sound = |stage: &usize| self.ancestry(*stage).is_disjoint(&self.failing);
        self.all().filter(sound).map(|stage| format!("s{stage}")).collect()
    }
}

/// Starts come after the endings of everything upstream.
fn assert_order(graph: &Graph, outcome: &Outcome) {
    let mut ended: BTreeSet<usize> = BTreeSet::new();
    for event in &outcome.events {
        match event {
            Event::StageStarted { stage, .. } => {
                let stage: usize = stage[1..].parse().unwrap();
                assert!(
                    graph.upstream[stage].values().all(|maker| ended.contains(maker)),
                    "s{stage} began after {ended:?} only"
                );
            }
            Event::StageFinished { stage, .. } => {
                ended.insert(stage[1..].parse().unwrap());
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn everything_that_can_run_runs_once_in_order(graph in graphs(), jobs in 1usize..4) {
        let project = Project::new();
        project.write("pipeline.toml", &graph.manifest(&BTreeMap::new()));
        let run = || project.run_with(&[], |options| (options.jobs, options.keep_going) = (jobs, true));
        let outcome = run();
        assert_order(&graph, &outcome);
        prop_assert_eq!(outcome.executed(), graph.sound());
        for stage in graph.sound() {
            prop_assert_eq!(outcome.headline(&stage), graph.text(stage[1..].parse().unwrap()));
        }
        let failed = graph.failing.iter().filter(|stage| {
            graph.ancestry(**stage).iter().filter(|one| graph.failing.contains(one)).count() == 1
        });
        prop_assert_eq!(outcome.summary.failed, failed.count());
        let again = run();
        prop_assert_eq!((again.summary.executed, again.summary.cached), (0, graph.sound().len()));
    }

    #[test]
    fn a_change_runs_what_builds_on_it_and_nothing_else(
        graph in graphs(),
        jobs in 1usize..4,
        changed in any::<prop::sample::Index>(),
    ) {
        let graph = Graph { failing: BTreeSet::new(), ..graph };
        let changed = changed.index(graph.upstream.len());
        let project = Project::new();
        project.write("pipeline.toml", &graph.manifest(&BTreeMap::new()));
        project.run_with(&[], |options| options.jobs = jobs);
        project.write("pipeline.toml", &graph.manifest(&BTreeMap::from([(changed, "-")])));
        let outcome = project.run_with(&[], |options| options.jobs = jobs);
        assert_order(&graph, &outcome);
        // Where there is nothing to separate, the changed stage gives the same bytes, and nothing follows.
        let stops = graph.upstream[changed].is_empty();
        let affected = |stage: &usize| {
            *stage == changed || (!stops && graph.ancestry(*stage).contains(&changed))
        };
        let affected: Vec<String> = graph.all().filter(affected).map(|stage| format!("s{stage}")).collect();
        prop_assert_eq!(outcome.executed(), affected);
    }
}
