//! Which instance may start next: graph and states, without any work.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often an instance is tried while its inputs are being repaired.
const ATTEMPTS: usize = 8;

/// How long to wait before asking again for what another process computes: first, and after many times.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not part of this run.
    Out,
    /// Not begun, for what it waits for.
    Waiting,
    /// Handed to a worker.
    Running,
    /// Ended with its result.
    Ended,
    /// Ended without a result, for good.
    Failed,
}

#[derive(Debug)]
struct Place {
    state: State,
    upstream: BTreeSet<usize>,
    users: Vec<usize>,
    /// Those of the instances upstream whose ending it waits for.
    waits_for: BTreeSet<usize>,
    /// Whether it has a result already, which is to be computed anew.
    rebuild: bool,
    attempts: usize,
    /// How often another process was found at it.
    postponements: u32,
    /// The board's clock when it was last started, and when its result was last repaired.
    started_at: u64,
    repaired_at: u64,
    /// How many devices it needs, and which it has while it runs.
    needs: usize,
    devices: Vec<usize>,
    /// The memory and the processors that it takes while it runs.
    memory: u64,
    processors: u64,
}

/// The instances of a run.
#[derive(Debug)]
pub(super) struct Board {
    places: Vec<Place>,
    /// Those that wait for nothing any more, in the pipeline's order.
    ready: BTreeSet<usize>,
    running: usize,
    clock: u64,
    /// Devices that nobody computes on, in the order of their numbers.
    free: BTreeSet<usize>,
    /// Memory and processors that nobody has been promised.
    free_memory: u64,
    free_processors: u64,
    /// Those that other processes compute, and when to ask again.
    later: Vec<(Instant, usize)>,
}

/// An instance to be handed to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) position: usize,
    /// The devices that are its own while it runs.
    pub(super) devices: Vec<usize>,
    /// Whether its known result must not be taken.
    pub(super) rebuild: bool,
}

impl Board {
    /// A board of instances that each need some others; only the selected ones take part.
    pub(super) fn new(upstream: Vec<BTreeSet<usize>>, selected: &BTreeSet<usize>) -> Self {
        let mut users = vec![Vec::new(); upstream.len()];
        for (position, makers) in
            upstream.iter().enumerate().filter(|(position, _)| selected.contains(position))
        {
            for &maker in makers {
                users[maker].push(position);
            }
        }
        let places = upstream.into_iter().zip(users).enumerate().map(|(position, (upstream, users))| Place {
            state: if selected.contains(&position) { State::Waiting } else { State::Out },
            waits_for: upstream.clone(),
            upstream,
            users,
            rebuild: false,
            attempts: 0,
            postponements: 0,
            started_at: 0,
            repaired_at: 0,
            needs: 0,
            devices: Vec::new(),
            memory: 0,
            processors: 0,
        });
        let places: Vec<Place> = places.collect();
        let ready =
            selected.iter().copied().filter(|position| places[*position].waits_for.is_empty()).collect();
        Self {
            places,
            ready,
            running: 0,
            clock: 0,
            free: BTreeSet::new(),
            free_memory: 0,
            free_processors: 0,
            later: Vec::new(),
        }
    }

    /// Gives out these devices, each to one instance at a time. `needs` has a number for each instance, none more than
    /// there are devices.
    pub(super) fn with_devices(mut self, devices: &[usize], needs: &[u64]) -> Self {
        self.free = devices.iter().copied().collect();
        for (place, needs) in self.places.iter_mut().zip(needs) {
            place.needs = usize::try_from(*needs).unwrap_or(usize::MAX).min(devices.len());
        }
        self
    }

    /// Gives out processors, of which each instance uses some; one that uses more than there are gets all of them.
    pub(super) fn with_processors(mut self, processors: usize, needs: &[u64]) -> Self {
        self.free_processors = processors as u64;
        for (place, needs) in self.places.iter_mut().zip(needs) {
            place.processors = (*needs).min(self.free_processors);
        }
        self
    }

    /// Promises memory, of which each instance needs some; one that needs more than there is gets all of it.
    pub(super) fn with_memory(mut self, memory: u64, needs: &[u64]) -> Self {
        self.free_memory = memory;
        for (place, needs) in self.places.iter_mut().zip(needs) {
            place.memory = (*needs).min(memory);
        }
        self
    }

    /// The next instance that may start, with devices of its own if it needs some; it counts as running from now on.
    pub(super) fn start(&mut self) -> Option<Start> {
        let fits = |position: &usize| {
            let place = &self.places[*position];
            let has_room = place.memory <= self.free_memory && place.processors <= self.free_processors;
            has_room && place.needs <= self.free.len()
        };
        let position = self.ready.iter().copied().find(fits)?;
        self.ready.remove(&position);
        self.running += 1;
        self.clock += 1;
        let place = &mut self.places[position];
        place.state = State::Running;
        place.started_at = self.clock;
        place.devices = (0..place.needs).filter_map(|_| self.free.pop_first()).collect();
        self.free_memory -= place.memory;
        self.free_processors -= place.processors;
        Some(Start { position, devices: place.devices.clone(), rebuild: place.rebuild })
    }

    /// Whether an instance is part of this run.
    pub(super) fn takes_part(&self, position: usize) -> bool {
        self.places.get(position).is_some_and(|place| place.state != State::Out)
    }

    /// The result of an instance that is ready was known: it is not begun, and those that waited for it may go on.
    pub(super) fn was_known(&mut self, position: usize) {
        self.ready.remove(&position);
        self.free_users(position);
    }

    /// Takes back what an instance that has ended computed with.
    fn take_back(&mut self, position: usize) {
        self.running -= 1;
        let place = &mut self.places[position];
        self.free.extend(std::mem::take(&mut place.devices));
        self.free_memory += place.memory;
        self.free_processors += place.processors;
    }

    /// An instance was not begun, for another process computes it: it is asked for again later.
    pub(super) fn postponed(&mut self, position: usize, now: Instant) {
        self.take_back(position);
        let place = &mut self.places[position];
        place.state = State::Waiting;
        place.postponements += 1;
        let wait = SHORTEST_WAIT.saturating_mul(1 << place.postponements.min(8)).min(LONGEST_WAIT);
        self.later.push((now + wait, position));
    }

    /// Lets those start whose time has come; gives the time of the next one.
    pub(super) fn wake(&mut self, now: Instant) -> Option<Instant> {
        let (due, later) = self.later.drain(..).partition(|(time, _)| *time <= now);
        self.later = later;
        let due: Vec<(Instant, usize)> = due;
        due.into_iter().for_each(|(_, position)| self.note_ready(position));
        self.later.iter().map(|(time, _)| *time).min()
    }

    /// How many are running.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// An instance ended with its result: those that waited for it may go on.
    pub(super) fn succeeded(&mut self, position: usize) {
        self.take_back(position);
        self.clock += 1;
        let place = &mut self.places[position];
        if std::mem::take(&mut place.rebuild) {
            place.repaired_at = self.clock;
        }
        self.free_users(position);
    }

    /// An instance has its result: those that waited for it may go on.
    fn free_users(&mut self, position: usize) {
        self.places[position].state = State::Ended;
        for user in self.places[position].users.clone() {
            let waited = self.places[user].waits_for.remove(&position);
            if waited {
                self.note_ready(user);
            }
        }
    }

    /// An instance ended without a result. If the results of some instances that it builds on turned out to be
    /// damaged, are being repaired, or have been repaired since it began, it waits for them and has another
    /// chance: true.
    pub(super) fn failed(&mut self, position: usize, damaged: &[usize]) -> bool {
        self.take_back(position);
        let place = &self.places[position];
        let since = |maker: &usize| self.places[*maker].repaired_at > place.started_at;
        let repaired = place.upstream.iter().any(since);
        // One that was repaired since is whole, whatever was found before that.
        let mut damaged: BTreeSet<usize> = damaged.iter().copied().filter(|maker| !since(maker)).collect();
        damaged.extend(place.upstream.iter().filter(|maker| self.places[**maker].rebuild));
        if (damaged.is_empty() && !repaired) || place.attempts >= ATTEMPTS {
            let place = &mut self.places[position];
            (place.state, place.rebuild) = (State::Failed, false);
            return false;
        }
        for &maker in &damaged {
            self.start_over(maker);
        }
        let place = &mut self.places[position];
        place.state = State::Waiting;
        place.attempts += 1;
        place.waits_for = damaged;
        self.note_ready(position);
        true
    }

    /// Lets an instance that has a result run again. One that is on its way already, or has failed, is left alone.
    pub(super) fn start_over(&mut self, position: usize) {
        let place = &mut self.places[position];
        if place.state == State::Ended {
            place.state = State::Waiting;
            place.rebuild = true;
            self.note_ready(position);
        }
    }

    fn note_ready(&mut self, position: usize) {
        let place = &self.places[position];
        if place.state == State::Waiting && place.waits_for.is_empty() {
            self.ready.insert(position);
        }
    }

    /// Those that take part and were never begun or never ended well enough to be tried again.
    pub(super) fn unreached(&self) -> impl Iterator<Item = usize> {
        let waiting = self.places.iter().enumerate().filter(|(_, place)| place.state == State::Waiting);
        waiting.filter(|(_, place)| !place.rebuild).map(|(position, _)| position)
    }
}

#[cfg(test)]
mod tests;
