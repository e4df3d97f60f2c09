//! Pieces as they grow while slices pass by: runs that touch are joined, and each piece keeps sums of its voxels.
//!
//! Sums are whole numbers, so that a centre does not depend on the order in which voxels come.

use std::collections::BTreeMap;

use super::runs::{Run, SliceRuns};
use super::{Connectivity, Each, MOST_PIECES, SegmentationError};

/// What is known of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    pub label: u32,
    /// Its first voxel in the order of the file: slice, row, column.
    pub first: [usize; 3],
    pub voxels: u64,
    /// Sums of the voxels' indices.
    pub index: [u64; 3],
}

impl Sums {
    /// Of a run alone.
    fn of(run: Run, row: usize, slice: usize) -> Self {
        let voxels = (run.end - run.start) as u64;
        // The sum of all numbers from start to end − 1.
        let columns = voxels * (run.start as u64 + run.end as u64 - 1) / 2;
        let index = [columns, voxels * row as u64, voxels * slice as u64];
        Self { label: run.label, first: [slice, row, run.start], voxels, index }
    }

    fn add(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.voxels += other.voxels;
        for (sum, more) in self.index.iter_mut().zip(other.index) {
            *sum += more;
        }
    }
}

/// All pieces, and the last slice.
pub(super) struct Growing {
    each: Each,
    connectivity: Connectivity,
    pieces: Vec<Sums>,
    /// The piece that a piece has been joined to, or itself.
    joined: Vec<usize>,
    by_label: BTreeMap<u32, usize>,
    previous: SliceRuns,
}

impl Growing {
    pub(super) fn new(each: Each, connectivity: Connectivity) -> Self {
        Self {
            each,
            connectivity,
            pieces: Vec::new(),
            joined: Vec::new(),
            by_label: BTreeMap::new(),
            previous: SliceRuns::default(),
        }
    }

    /// Adds the next slice.
    ///
    /// # Errors
    /// [`SegmentationError::Pieces`].
    pub(super) fn add_slice(&mut self, slice: usize, mut runs: SliceRuns) -> Result<(), SegmentationError> {
        for row in 0..runs.rows() {
            for position in runs.of_row(row) {
                let Some(run) = runs.get(position..position + 1).first().copied() else { continue };
                let piece = match self.each {
                    Each::Label => self.by_label.get(&run.label).copied(),
                    Each::Component => self.join_touching(&runs, row, run),
                };
                let sums = Sums::of(run, row, slice);
                let piece = match piece.and_then(|piece| Some((piece, self.pieces.get_mut(piece)?))) {
                    Some((piece, known)) => {
                        known.add(&sums);
                        piece
                    }
                    None => self.new_piece(sums)?,
                };
                if let Some(run) = runs.run_mut(position) {
                    run.piece = piece;
                }
            }
        }
        self.previous = runs;
        Ok(())
    }

    fn new_piece(&mut self, sums: Sums) -> Result<usize, SegmentationError> {
        let piece = self.pieces.len();
        if piece >= MOST_PIECES {
            return Err(SegmentationError::Pieces);
        }
        self.pieces.push(sums);
        self.joined.push(piece);
        self.by_label.entry(sums.label).or_insert(piece);
        Ok(piece)
    }

    /// Joins all pieces that a run touches; `None` when there is none.
    fn join_touching(&mut self, runs: &SliceRuns, row: usize, run: Run) -> Option<usize> {
        // Columns that touch still, in the row before, in this row of the slice before, and in the rows beside it.
        let (before, below, beside) = match self.connectivity {
            Connectivity::Faces => (0, 0, None),
            Connectivity::Edges => (1, 1, Some(0)),
            Connectivity::Corners => (1, 1, Some(1)),
        };
        let mut touched: Vec<usize> = Vec::new();
        let mut look = |runs: &SliceRuns, row: Option<usize>, reach: usize| {
            if let Some(row) = row {
                touched.extend(runs.touching(row, run, reach).map(|other| other.piece));
            }
        };
        look(runs, row.checked_sub(1), before);
        look(&self.previous, Some(row), below);
        if let Some(reach) = beside {
            look(&self.previous, row.checked_sub(1), reach);
            look(&self.previous, row.checked_add(1), reach);
        }
        touched
            .into_iter()
            .map(|piece| self.root(piece))
            .collect::<Vec<_>>()
            .into_iter()
            .reduce(|a, b| self.join(a, b))
    }

    /// The piece that a piece is a part of by now.
    fn root(&mut self, piece: usize) -> usize {
        let mut root = piece;
        while let Some(&next) = self.joined.get(root).filter(|next| **next != root) {
            // Halving the path on the way keeps later ways short.
            let after = self.joined.get(next).copied().unwrap_or(next);
            if let Some(shortened) = self.joined.get_mut(root) {
                *shortened = after;
            }
            root = next;
        }
        root
    }

    /// Joins two pieces; the later one becomes a part of the earlier one.
    fn join(&mut self, a: usize, b: usize) -> usize {
        let (a, b) = (self.root(a), self.root(b));
        let (into, from) = (a.min(b), a.max(b));
        if into != from
            && let Some(other) = self.pieces.get(from).copied()
            && let (Some(sums), Some(joined)) = (self.pieces.get_mut(into), self.joined.get_mut(from))
        {
            sums.add(&other);
            *joined = into;
        }
        into
    }

    /// All pieces that have not been joined to another.
    pub(super) fn finish(self) -> Vec<Sums> {
        let own = self.joined.iter().enumerate().map(|(piece, joined)| piece == *joined);
        self.pieces.iter().zip(own).filter_map(|(sums, own)| own.then_some(*sums)).collect()
    }
}
