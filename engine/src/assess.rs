//! Whether an instance is up to date: by what its inputs are seen to be, or else by their content. A run, `plan` and
//! `get` all come here. Nothing is computed, and the store is only read.

use std::collections::BTreeMap;

use pipe_cache::{Digest, ResultRecord};

use crate::bind::{Binder, Bound, Done};
use crate::lookup::look_up;
use crate::manifest::Instance;
use crate::preimage::Preimage;
use crate::quick::Known;
use crate::stage::StageError;

/// What is to become of an instance whose inputs are known.
pub(crate) enum Verdict {
    /// Its result is known.
    UpToDate(Box<UpToDate>),
    /// It is to be computed.
    Stale(Box<Stale>),
}

/// An instance whose result is known.
pub(crate) struct UpToDate {
    pub(crate) done: Done,
    /// Where the values of its preimage came from, by name; those that are not listed are defaults.
    pub(crate) origins: BTreeMap<String, String>,
    /// How many items it has, and the digest of their listing.
    pub(crate) items: Option<(usize, Digest)>,
    /// The listing, where it was made anew.
    pub(crate) listing: Option<Vec<u8>>,
    /// What whoever uses the result should know.
    pub(crate) warnings: Vec<String>,
}

/// An instance that is to be computed, with its inputs by content.
pub(crate) struct Stale {
    pub(crate) bound: Bound,
    /// What its inputs were seen to be before they were read.
    pub(crate) sight: Option<Digest>,
    /// Whether its known result must not be taken.
    pub(crate) must_compute: bool,
}

/// The results of the instances that one refers to.
pub(crate) type Upstream<'a> = &'a dyn Fn(usize) -> Option<Done>;

impl Binder<'_> {
    /// The known result of an instance, where what its inputs are seen to be tells it: without reading any.
    pub(crate) fn assess_by_sight(&self, instance: &Instance, upstream: Upstream<'_>) -> Option<UpToDate> {
        let own = self.own_preimage(instance);
        self.known_at(instance, &own, self.sight(instance, &own, upstream)?)
    }

    fn known_at(&self, instance: &Instance, own: &Preimage, sight: Digest) -> Option<UpToDate> {
        let known = self.known(sight)?;
        let record = look_up(self, instance, known.fingerprint)?;
        Some(self.up_to_date((instance, own), known, record))
    }

    /// Finds out whether an instance's result is known; with `must_compute` it is not taken.
    pub(crate) fn assess(
        &self,
        instance: &Instance,
        upstream: Upstream<'_>,
        must_compute: bool,
    ) -> Result<Verdict, StageError> {
        let own = self.own_preimage(instance);
        let sight = self.sight(instance, &own, upstream);
        if !must_compute && let Some(known) = sight.and_then(|sight| self.known_at(instance, &own, sight)) {
            return Ok(Verdict::UpToDate(Box::new(known)));
        }
        let bound = self.bind(instance, upstream)?;
        let stale = Stale { bound, sight, must_compute };
        Ok(match self.look_again(instance, upstream, &stale) {
            Some(known) => Verdict::UpToDate(Box::new(known)),
            None => Verdict::Stale(Box::new(stale)),
        })
    }

    /// The known result of an instance with known inputs.
    pub(crate) fn look_again(
        &self,
        instance: &Instance,
        upstream: Upstream<'_>,
        stale: &Stale,
    ) -> Option<UpToDate> {
        let Stale { bound, sight, must_compute } = stale;
        if *must_compute {
            return None;
        }
        let record = look_up(self, instance, bound.fingerprint)?;
        let listing = bound.items.as_ref().map(|items| (items.list.len(), items.listing()));
        let items = listing.as_ref().map(|(count, bytes)| (*count, Digest::of(bytes)));
        self.note_if_unchanged(instance, upstream, *sight, (bound, items.map(|(_, digest)| digest)));
        let known = Known { fingerprint: bound.fingerprint, items };
        let known = self.up_to_date((instance, &bound.preimage), known, record);
        Some(UpToDate { listing: listing.map(|(_, bytes)| bytes), ..known })
    }

    /// Notes what a sight leads to, if it is still the same: else what was bound may be something that came later.
    pub(crate) fn note_if_unchanged(
        &self,
        instance: &Instance,
        upstream: Upstream<'_>,
        sight: Option<Digest>,
        (bound, listing): (&Bound, Option<Digest>),
    ) {
        let Some(sight) = sight else { return };
        if self.sight_anew(instance, &self.own_preimage(instance), upstream) == Some(sight) {
            self.note(sight, bound, listing);
        } else {
            self.looked.spoil();
        }
    }

    fn up_to_date(
        &self,
        (instance, preimage): (&Instance, &Preimage),
        known: Known,
        record: ResultRecord,
    ) -> UpToDate {
        UpToDate {
            done: Done { outputs: record.outputs, run: record.run, fingerprint: known.fingerprint },
            origins: self.origins(instance, preimage),
            items: known.items,
            listing: None,
            warnings: record.warnings,
        }
    }
}
