//! The graph of stages: cycles told as a path, and an order in which inputs come first.

use std::collections::BTreeSet;
use std::path::Path;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::manifest::problem::{Problem, Problems};
use crate::manifest::references::{Reference, StagesByName, parse};
use crate::manifest::stage_table::{GivenInput, StageSpec};

fn graph_of(stages: &[StageSpec]) -> DiGraph<usize, ()> {
    let mut graph = DiGraph::new();
    let nodes: Vec<NodeIndex> = (0..stages.len()).map(|stage| graph.add_node(stage)).collect();
    let known = StagesByName::new(stages);
    for (user, stage) in stages.iter().enumerate() {
        for GivenInput { spec, node, .. } in &stage.inputs {
            let Some(text) = node.as_text() else { continue };
            if let Reference::Stage { stage: name, .. } = parse(text, spec, Path::new(""))
                && let Some(maker) = known.position(name)
            {
                graph.update_edge(nodes[maker], nodes[user], ());
            }
        }
    }
    graph
}

/// Adds a problem for each cycle, with the stages on the way.
pub(crate) fn check_cycles(stages: &[StageSpec], problems: &mut Problems) {
    let graph = graph_of(stages);
    for component in tarjan_scc(&graph) {
        let Some(&first) = component.iter().min() else { continue };
        if component.len() == 1 && !graph.contains_edge(first, first) {
            continue;
        }
        let mut path = vec![first];
        // From each node on to a neighbour within the component until one repeats.
        while let Some(next) = path.last().and_then(|last| {
            let mut neighbours: Vec<NodeIndex> =
                graph.neighbors(*last).filter(|n| component.contains(n)).collect();
            neighbours.sort();
            neighbours.iter().find(|n| !path.contains(n)).or(neighbours.first()).copied()
        }) {
            let closed = path.contains(&next);
            path.push(next);
            if closed {
                break;
            }
        }
        if let Some(last) = path.last().copied() {
            let start = path.iter().position(|node| *node == last).unwrap_or(0);
            path.drain(..start);
        }
        let names: Vec<&str> = path.iter().map(|node| stages[graph[*node]].name.as_str()).collect();
        let message = format!("stages need each other's outputs: {}", names.join(" -> "));
        let problem = Problem::at(stages[graph[first]].origin.clone(), "cycle", message);
        problems.add(problem.help("take one of these references out"));
    }
}

/// The stages in an order in which inputs come first; stages that do not depend on each other stay in the
/// order of the manifest. The graph must have no cycle.
pub(crate) fn order(stages: &[StageSpec]) -> Vec<usize> {
    let graph = graph_of(stages);
    let mut waiting: Vec<usize> = graph
        .node_indices()
        .map(|node| graph.neighbors_directed(node, petgraph::Direction::Incoming).count())
        .collect();
    let mut order = Vec::new();
    let mut ready: BTreeSet<usize> = (0..stages.len()).filter(|stage| waiting[*stage] == 0).collect();
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for user in graph.neighbors(NodeIndex::new(next)).map(|user| graph[user]) {
            waiting[user] -= 1;
            if waiting[user] == 0 {
                ready.insert(user);
            }
        }
    }
    order
}
