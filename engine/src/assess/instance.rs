//! Whether an instance is up to date: by the stat signature of its inputs, or else by their content. A run, `plan` and
//! `get` all come here. Nothing is computed, and the store is only read.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipe_cache::{Digest, ResultRecord};
use rayon::prelude::*;

use crate::bind::{Binder, Bound, Done, Upstream};
use crate::execute::guard::guarded;
use crate::lookup::look_up;
use crate::manifest::Instance;
use crate::signature::Known;
use crate::stage::StageError;

/// An instance whose inputs are known.
pub(crate) enum Assessed {
    /// Its result is known.
    UpToDate(Box<UpToDate>),
    /// It is to be computed.
    Stale(Box<Stale>),
}

/// An instance whose result is known.
pub(crate) struct UpToDate {
    pub(crate) done: Arc<Done>,
    /// How many items it has, and the digest of their listing.
    pub(crate) items: Option<(usize, Digest)>,
    /// The listing, where it was made anew.
    pub(crate) listing: Option<Vec<u8>>,
    /// What whoever uses the result should know.
    pub(crate) warnings: Vec<String>,
    /// Numbers that tell of the result in brief.
    pub(crate) scalars: BTreeMap<String, f64>,
}

/// An instance that is to be computed, with its inputs by content.
pub(crate) struct Stale {
    pub(crate) bound: Bound,
    /// The stat signature of its inputs before they were read.
    pub(crate) signature: Option<Digest>,
    /// Whether its known result must not be taken.
    pub(crate) must_compute: bool,
}

impl Binder<'_> {
    /// The results that are known by the stat signatures of inputs, without reading any: of the wanted instances whose
    /// inputs are known, by position. Instances that wait for nothing are looked at together, in the threads of the
    /// current pool.
    pub(crate) fn known_by_stats(&self, is_wanted: &(dyn Fn(usize) -> bool + Sync)) -> Vec<Option<UpToDate>> {
        let instances = &self.pipeline.instances;
        let mut known: Vec<Option<UpToDate>> = instances.iter().map(|_| None).collect();
        for layer in layers(instances) {
            let found =
                layer.into_par_iter().filter(|position| is_wanted(*position)).filter_map(|position| {
                    let result = |maker: usize| Some(Arc::clone(&known.get(maker)?.as_ref()?.done));
                    // A kind's code may run meanwhile. What cannot be told fails when it is read.
                    let found = guarded(|| {
                        let instance = &instances[position];
                        let signature = self.stat_signature(instance, &result);
                        Ok::<_, StageError>(
                            signature.and_then(|signature| self.known_at(instance, signature)),
                        )
                    });
                    Some((position, found.ok()??))
                });
            let found: Vec<(usize, UpToDate)> = found.collect();
            if found.is_empty() {
                break;
            }
            found.into_iter().for_each(|(position, found)| known[position] = Some(found));
        }
        known
    }

    fn known_at(&self, instance: &Instance, signature: Digest) -> Option<UpToDate> {
        let known = self.known(signature)?;
        let record = look_up(self, instance, known.fingerprint)?;
        Some(up_to_date(known, record))
    }

    /// Finds out whether an instance's result is known; with `must_compute` it is not taken.
    pub(crate) fn assess(
        &self,
        instance: &Instance,
        upstream: Upstream<'_>,
        must_compute: bool,
    ) -> Result<Assessed, StageError> {
        let signature = self.stat_signature(instance, upstream);
        if !must_compute
            && let Some(known) = signature.and_then(|signature| self.known_at(instance, signature))
        {
            return Ok(Assessed::UpToDate(Box::new(known)));
        }
        let bound = self.bind(instance, upstream)?;
        let stale = Stale { bound, signature, must_compute };
        Ok(match self.known_by_content(instance, upstream, &stale) {
            Some(known) => Assessed::UpToDate(Box::new(known)),
            None => Assessed::Stale(Box::new(stale)),
        })
    }

    /// The known result of an instance with known inputs.
    pub(crate) fn known_by_content(
        &self,
        instance: &Instance,
        upstream: Upstream<'_>,
        stale: &Stale,
    ) -> Option<UpToDate> {
        let Stale { bound, signature, must_compute } = stale;
        if *must_compute {
            return None;
        }
        let record = look_up(self, instance, bound.fingerprint)?;
        let listing = bound.items.as_ref().map(|items| (items.list.len(), items.listing()));
        let items = listing.as_ref().map(|(count, bytes)| (*count, Digest::of(bytes)));
        self.remember_if_unchanged(instance, upstream, *signature, (bound, items.map(|(_, digest)| digest)));
        let known = Known { fingerprint: bound.fingerprint, items };
        Some(UpToDate { listing: listing.map(|(_, bytes)| bytes), ..up_to_date(known, record) })
    }

    /// Remembers what a stat signature leads to, if it is still the same: else what was bound may be something that
    /// came later.
    pub(crate) fn remember_if_unchanged(
        &self,
        instance: &Instance,
        upstream: Upstream<'_>,
        signature: Option<Digest>,
        (bound, listing): (&Bound, Option<Digest>),
    ) {
        if let Some(signature) = signature
            && self.stat_signature_now(instance, upstream) == Some(signature)
        {
            self.remember(signature, bound, listing);
        }
    }
}

/// The positions of instances that wait for none, of those that wait for these, and so on.
fn layers(instances: &[Instance]) -> Vec<Vec<usize>> {
    let mut depths: Vec<usize> = Vec::with_capacity(instances.len());
    let mut layers: Vec<Vec<usize>> = Vec::new();
    for (position, instance) in instances.iter().enumerate() {
        let makers = instance.upstream().into_iter();
        let depth = makers.filter_map(|maker| depths.get(maker)).max().map_or(0, |depth| depth + 1);
        depths.push(depth);
        if layers.len() <= depth {
            layers.resize(depth + 1, Vec::new());
        }
        layers[depth].push(position);
    }
    layers
}

fn up_to_date(known: Known, record: ResultRecord) -> UpToDate {
    UpToDate {
        done: Arc::new(Done { outputs: record.outputs, run: record.run, fingerprint: known.fingerprint }),
        items: known.items,
        listing: None,
        warnings: record.warnings,
        scalars: record.scalars,
    }
}
