//! The groups of items that this process computes, claimed portion by portion: what other processes are computing is
//! left to them, and what they have finished is taken.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use pipe_cache::{Claim, Claimed, Digest, Hasher, ItemJournal, ItemOutcome, Store};

use crate::items::BoundItem;

/// So many portions at most are made of the items of a scope, of however many stages and pipelines.
const PORTIONS: u8 = 64;

/// Items that are handed over together.
pub(super) struct Group<'i> {
    pub(super) items: Vec<&'i BoundItem>,
    /// Kept until the last group of the portion is done.
    _claim: Option<Arc<Claim>>,
}

/// Hands out groups, one after the other, to however many threads.
pub(super) struct Feed<'f, 'i> {
    store: &'f Store,
    scope: Digest,
    /// How many items there were to compute in the beginning.
    total: usize,
    /// Whether work is shared with other processes.
    is_shared: bool,
    state: Mutex<State<'i>>,
}

struct State<'i> {
    journal: ItemJournal,
    /// Portions that nobody has been asked for yet.
    open: VecDeque<(u8, Vec<Vec<&'i BoundItem>>)>,
    ready: VecDeque<Group<'i>>,
    /// Results that others have found meanwhile.
    found: Vec<(&'i str, ItemOutcome)>,
    /// An owner of portions that others are computing.
    busy: Option<String>,
    failure: Option<pipe_cache::Error>,
}

/// What is left of a feed when nobody asks any more.
pub(super) struct Rest<'i> {
    pub(super) journal: ItemJournal,
    pub(super) found: Vec<(&'i str, ItemOutcome)>,
    pub(super) busy: Option<String>,
    pub(super) failure: Option<pipe_cache::Error>,
}

impl<'f, 'i> Feed<'f, 'i> {
    /// A feed of groups, shared with other processes, or all of them for this one whatever others do.
    pub(super) fn new(
        store: &'f Store,
        scope: Digest,
        journal: ItemJournal,
        groups: Vec<Vec<&'i BoundItem>>,
        is_shared: bool,
    ) -> Self {
        let total = groups.iter().map(Vec::len).sum();
        let mut portions: BTreeMap<u8, Vec<Vec<&BoundItem>>> = BTreeMap::new();
        for group in groups {
            portions.entry(portion_of(&group)).or_default().push(group);
        }
        let mut open: VecDeque<_> = portions.into_iter().collect();
        // Processes that begin together begin at different places.
        let start = std::process::id() as usize % open.len().max(1);
        open.rotate_left(start);
        let state =
            State { journal, open, ready: VecDeque::new(), found: Vec::new(), busy: None, failure: None };
        Self { store, scope, total, is_shared, state: Mutex::new(state) }
    }

    /// How many items there were to compute in the beginning.
    pub(super) fn len(&self) -> usize {
        self.total
    }

    /// The next group; `None` when there is no more for this process.
    pub(super) fn next(&self) -> Option<Group<'i>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(group) = state.ready.pop_front() {
                return Some(group);
            }
            let (portion, groups) = state.open.pop_front()?;
            if let Err(error) = self.open_portion(&mut state, portion, groups) {
                state.failure = Some(error);
                state.open.clear();
                return None;
            }
        }
    }

    fn open_portion(
        &self,
        state: &mut State<'i>,
        portion: u8,
        groups: Vec<Vec<&'i BoundItem>>,
    ) -> Result<(), pipe_cache::Error> {
        if !self.is_shared {
            state.ready.extend(groups.into_iter().map(|items| Group { items, _claim: None }));
            return Ok(());
        }
        let mut hasher = Hasher::new("pipe claim, version 1");
        hasher.field("items").field(self.scope.as_bytes()).field([portion]);
        let claim = match self.store.claim(hasher.finish())? {
            Claimed::Mine(claim) => Arc::new(claim),
            Claimed::Busy(owner) => {
                state.busy = Some(owner);
                return Ok(());
            }
        };
        // Another process may have finished it between the last look and the claim.
        state.journal.refresh()?;
        let State { journal, ready, found, .. } = state;
        for group in groups {
            let mut missing = Vec::new();
            for one in group {
                match journal.get(one.key, self.store) {
                    Some(outcome) => found.push((one.item.name.as_str(), outcome)),
                    None => missing.push(one),
                }
            }
            if !missing.is_empty() {
                ready.push_back(Group { items: missing, _claim: Some(Arc::clone(&claim)) });
            }
        }
        Ok(())
    }

    /// What is left.
    pub(super) fn rest(self) -> Rest<'i> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        Rest { journal: state.journal, found: state.found, busy: state.busy, failure: state.failure }
    }
}

/// The portion of a group: the same for all who want it, whatever else they want.
fn portion_of(group: &[&BoundItem]) -> u8 {
    let digest = group.first().map(|one| one.group.unwrap_or(one.key));
    digest.map_or(0, |digest| digest.as_bytes()[0] % PORTIONS)
}

/// Items that belong together in one group, groups in the order of their first item.
pub(super) fn group_items(missing: Vec<&BoundItem>) -> Vec<Vec<&BoundItem>> {
    let mut groups: Vec<Vec<&BoundItem>> = Vec::new();
    let mut positions: HashMap<Digest, usize> = HashMap::new();
    for one in missing {
        match one.group.and_then(|group| positions.get(&group)).and_then(|position| groups.get_mut(*position))
        {
            Some(group) => group.push(one),
            None => {
                if let Some(group) = one.group {
                    positions.insert(group, groups.len());
                }
                groups.push(vec![one]);
            }
        }
    }
    groups
}
