//! Whether an instance is up to date: by what its inputs are seen to be, or else by their content. Nothing is computed
//! here.

use pipe_cache::{Digest, Error, ResultRecord};

use super::{Executed, Executor, Failure};
use crate::bind::{Bound, Done};
use crate::items::BoundItems;
use crate::lookup::look_up;
use crate::manifest::Instance;
use crate::preimage::Preimage;
use crate::quick::Known;

/// What is to become of an instance whose inputs are known.
pub(crate) enum Verdict {
    /// Its result is known.
    UpToDate(Box<Executed>),
    /// It is to be computed.
    Stale(Box<Stale>),
}

/// An instance that is to be computed, with its inputs by content.
pub(crate) struct Stale {
    pub(super) bound: Bound,
    /// What its inputs were seen to be before they were read.
    pub(super) sight: Option<Digest>,
    /// Whether its known result must not be taken.
    pub(super) must_compute: bool,
}

impl Executor<'_> {
    /// Finds out whether an instance's result is known; with `must_rebuild` it is not taken.
    pub(crate) fn assess(&self, position: usize, must_rebuild: bool) -> Result<Verdict, Failure> {
        let instance = self.instance(position)?;
        let upstream = |index: usize| self.result(index);
        let must_compute = must_rebuild || self.is_forced(instance);
        let own = self.binder.own_preimage(instance);
        let sight = self.binder.sight(instance, &own, &upstream);
        if !must_compute
            && let Some(known) = sight.and_then(|sight| self.binder.known(sight))
            && let Some(record) = look_up(&self.binder, instance, known.fingerprint)
        {
            return Ok(Verdict::UpToDate(Box::new(self.known((instance, &own), known, record))));
        }
        let bound = self.binder.bind(instance, &upstream)?;
        let stale = Stale { bound, sight, must_compute };
        Ok(match self.look_again(instance, &stale)? {
            Some(executed) => Verdict::UpToDate(Box::new(executed)),
            None => Verdict::Stale(Box::new(stale)),
        })
    }

    /// The known result of an instance with known inputs.
    pub(super) fn look_again(&self, instance: &Instance, stale: &Stale) -> Result<Option<Executed>, Failure> {
        let Stale { bound, sight, must_compute } = stale;
        if *must_compute {
            return Ok(None);
        }
        let Some(record) = look_up(&self.binder, instance, bound.fingerprint) else { return Ok(None) };
        let items = bound.items.as_ref().map(|items| self.listed(items)).transpose()?;
        self.note(instance, *sight, bound, items.map(|(_, listing)| listing));
        let known = Known { fingerprint: bound.fingerprint, items };
        Ok(Some(self.known((instance, &bound.preimage), known, record)))
    }

    /// How many items there are, and their listing, which the record refers to.
    fn listed(&self, items: &BoundItems) -> Result<(usize, Digest), Error> {
        let listing = items.listing();
        let digest = Digest::of(&listing);
        if !self.binder.store.contains(digest) {
            self.binder.store.put(&listing)?;
        }
        Ok((items.list.len(), digest))
    }

    /// Notes what a sight leads to, if it is still the same: else what was bound may be something that came later.
    pub(super) fn note(
        &self,
        instance: &Instance,
        sight: Option<Digest>,
        bound: &Bound,
        listing: Option<Digest>,
    ) {
        let Some(sight) = sight else { return };
        let own = self.binder.own_preimage(instance);
        if self.binder.sight(instance, &own, &|index| self.result(index)) == Some(sight) {
            self.binder.note(sight, bound, listing);
        } else {
            self.binder.looked.spoil();
        }
    }

    /// An instance whose result is known.
    fn known(
        &self,
        (instance, preimage): (&Instance, &Preimage),
        known: Known,
        record: ResultRecord,
    ) -> Executed {
        Executed {
            done: Done { outputs: record.outputs, run: record.run, fingerprint: known.fingerprint },
            fingerprint: known.fingerprint,
            origins: self.binder.origins(instance, preimage),
            items: known.items.map(|(_, listing)| listing),
            device: None,
            executed: false,
            items_executed: 0,
            items_cached: known.items.map_or(0, |(count, _)| count),
            warnings: record.warnings,
        }
    }
}
