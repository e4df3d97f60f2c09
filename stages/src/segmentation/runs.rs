//! The runs of a slice: voxels of one label that lie side by side in a row.

use std::ops::Range;

use super::label_of;

/// Neighbouring voxels of a row with the same label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub label: u32,
    pub start: usize,
    /// The column behind the last one.
    pub end: usize,
    /// The piece that it belongs to.
    pub piece: usize,
}

/// The runs of a slice, row by row.
#[derive(Clone, Debug, Default)]
pub(super) struct SliceRuns {
    runs: Vec<Run>,
    /// Where each row's runs begin, and the end of the last.
    starts: Vec<usize>,
}

impl SliceRuns {
    pub(super) fn new(rows: usize) -> Self {
        let mut starts = Vec::with_capacity(rows + 1);
        starts.push(0);
        Self { runs: Vec::new(), starts }
    }

    /// Adds the next row.
    ///
    /// # Errors
    /// The first column whose value is no label.
    pub(super) fn add_row(&mut self, values: &[f32], wanted: impl Fn(u32) -> bool) -> Result<(), usize> {
        let mut open: Option<Run> = None;
        for (column, &value) in values.iter().enumerate() {
            if value == 0.0 {
                self.runs.extend(open.take());
                continue;
            }
            let label = label_of(value).ok_or(column)?;
            match &mut open {
                Some(run) if run.label == label => run.end = column + 1,
                _ => {
                    self.runs.extend(open.take());
                    if label != 0 && wanted(label) {
                        open = Some(Run { label, start: column, end: column + 1, piece: 0 });
                    }
                }
            }
        }
        self.runs.extend(open);
        self.starts.push(self.runs.len());
        Ok(())
    }

    pub(super) fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// The positions of a row's runs; none for a row that is not there.
    pub(super) fn of_row(&self, row: usize) -> Range<usize> {
        match (self.starts.get(row), self.starts.get(row + 1)) {
            (Some(start), Some(end)) => *start..*end,
            _ => 0..0,
        }
    }

    pub(super) fn get(&self, positions: Range<usize>) -> &[Run] {
        self.runs.get(positions).unwrap_or_default()
    }

    pub(super) fn run_mut(&mut self, position: usize) -> Option<&mut Run> {
        self.runs.get_mut(position)
    }

    /// The runs of a row that have the label of `run` and touch it, when columns `reach` apart still touch.
    pub(super) fn touching(&self, row: usize, run: Run, reach: usize) -> impl Iterator<Item = &Run> {
        let runs = self.get(self.of_row(row));
        let first = runs.partition_point(|other| other.end + reach <= run.start);
        runs.get(first..)
            .unwrap_or_default()
            .iter()
            .take_while(move |other| other.start < run.end + reach)
            .filter(move |other| other.label == run.label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_fall_into_runs_of_one_label() {
        let mut runs = SliceRuns::new(2);
        runs.add_row(&[1.0, 1.0, 2.0, 0.0, 2.0], |_| true).expect("labels");
        runs.add_row(&[0.0, 3.0, 3.0, 1.0, 0.0], |label| label == 1).expect("labels");
        let told = |row| -> Vec<(u32, usize, usize)> {
            runs.get(runs.of_row(row)).iter().map(|run| (run.label, run.start, run.end)).collect()
        };
        assert_eq!(told(0), [(1, 0, 2), (2, 2, 3), (2, 4, 5)]);
        assert_eq!(told(1), [(1, 3, 4)]);
        assert_eq!((told(2), runs.rows()), (vec![], 2));
        assert_eq!(runs.add_row(&[0.0, 1.5], |_| true), Err(1));
    }

    #[test]
    fn reach_decides_what_touches() {
        let mut runs = SliceRuns::new(1);
        runs.add_row(&[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0], |_| true).expect("labels");
        let touching = |start, end, reach| -> Vec<usize> {
            let run = Run { label: 1, start, end, piece: 0 };
            runs.touching(0, run, reach).map(|run| run.start).collect()
        };
        assert!(touching(1, 3, 0).is_empty());
        assert_eq!(touching(1, 3, 1), [0, 3]);
        assert_eq!(touching(4, 6, 0), [3]);
        assert_eq!(touching(4, 6, 1), [3, 6]);
    }
}
