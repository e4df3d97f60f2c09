//! What a run would do, and why: verdicts followed upstream.

use super::cause::{Cause, Fate, Why};
use crate::assess::{Reason, Verdict};
use crate::manifest::Pipeline;
use crate::naming::Named;

/// Why the instances that a name stands for would or would not be computed. `verdicts` are those of the pipeline's
/// instances in their order.
pub fn expected(pipeline: &Pipeline, verdicts: &[Verdict], target: &str) -> Vec<Why> {
    let named = Named::read(target);
    let instances = pipeline.instances.iter().zip(verdicts);
    let chosen = instances.filter(|(instance, _)| named.means(&instance.stage, &instance.label));
    chosen.map(|(instance, verdict)| of_verdict((pipeline, verdicts), &instance.label, verdict)).collect()
}

fn of_verdict(all: (&Pipeline, &[Verdict]), label: &str, verdict: &Verdict) -> Why {
    let own = |reasons: &[Reason]| -> Vec<Cause> { reasons.iter().cloned().map(Cause::of).collect() };
    let (fate, causes) = match verdict {
        Verdict::UpToDate { from_run, .. } => {
            (Fate::Known { from_run: from_run.clone(), computed: None }, Vec::new())
        }
        Verdict::Stale { reasons, .. } => (Fate::Expected, own(reasons)),
        Verdict::Waiting { on, reasons } => {
            let upstream = on.iter().filter_map(|label| Some(of_verdict(all, label, find(all, label)?)));
            let cause = Cause { upstream: upstream.collect(), ..Cause::of(Reason::InputsMayChange) };
            (Fate::Waiting, own(reasons).into_iter().chain([cause]).collect())
        }
        Verdict::Wrong(error) => (Fate::Failed { error: error.to_string() }, Vec::new()),
    };
    Why { instance: label.to_string(), run: None, fate, since: None, causes }
}

fn find<'a>((pipeline, verdicts): (&Pipeline, &'a [Verdict]), label: &str) -> Option<&'a Verdict> {
    let position = pipeline.instances.iter().position(|instance| instance.label == label)?;
    verdicts.get(position)
}
