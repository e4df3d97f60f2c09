//! What a run would do, and why: verdicts followed upstream.

use std::collections::BTreeMap;

use super::cause::{Cause, Fate, Why};
use crate::assess::{Reason, Verdict};
use crate::manifest::Pipeline;
use crate::naming::Named;

/// Why the instances that a name stands for would or would not be computed. `verdicts` are those of the pipeline's
/// instances in their order.
pub fn expected(pipeline: &Pipeline, verdicts: &[Verdict], target: &str) -> Vec<Why> {
    let named = Named::read(target);
    let mut told: BTreeMap<&str, Why> = BTreeMap::new();
    let mut chosen = Vec::new();
    // Those upstream come first, and each is told once.
    for (instance, verdict) in pipeline.instances.iter().zip(verdicts) {
        let why = of_verdict(&instance.label, verdict, &told);
        if named.means(&instance.stage, &instance.label) {
            chosen.push(why.clone());
        }
        told.insert(&instance.label, why);
    }
    chosen
}

fn of_verdict(label: &str, verdict: &Verdict, told: &BTreeMap<&str, Why>) -> Why {
    let own = |reasons: &[Reason]| -> Vec<Cause> { reasons.iter().cloned().map(Cause::of).collect() };
    let (fate, causes) = match verdict {
        Verdict::UpToDate { from_run, .. } => {
            (Fate::Known { from_run: from_run.clone(), computed: None }, Vec::new())
        }
        Verdict::Stale { reasons, .. } => (Fate::Expected, own(reasons)),
        Verdict::Waiting { on, reasons } => {
            let upstream = on.iter().filter_map(|label| told.get(label.as_str()).cloned()).collect();
            let cause = Cause { upstream, ..Cause::of(Reason::InputsMayChange) };
            (Fate::Waiting, own(reasons).into_iter().chain([cause]).collect())
        }
        Verdict::Wrong(error) => (Fate::Failed { error: error.to_string() }, Vec::new()),
    };
    Why { instance: label.to_string(), run: None, fate, since: None, causes }
}
