//! Where two outputs differ first, and by how much at most. Tensors, tables and JSON are compared by their values; other
//! files by their bytes.

mod json;
mod tables;
mod tensors;

use std::collections::BTreeMap;
use std::fmt;

use pipe_cache::{ArtifactRef, Digest, Error, Form, Store};
use serde::Serialize;

/// How an output differs from the recorded one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The output.
    pub output: String,
    /// The first file that differs; none for an output of one file.
    pub file: Option<String>,
    /// Where in it, and what stands there.
    pub place: String,
    /// The largest difference of two numbers in all files; none where something else differs, too.
    pub largest: Option<f64>,
    /// Files that differ.
    pub files: usize,
}

/// A difference within a file.
#[derive(Clone, Debug, PartialEq)]
struct Within {
    place: String,
    largest: Option<f64>,
}

impl Within {
    /// Something that is no difference of two numbers.
    fn other(place: impl Into<String>) -> Self {
        Self { place: place.into(), largest: None }
    }
}

/// The differences found so far in a file: the first place, and the largest of all.
#[derive(Default)]
struct Numbers {
    first: Option<String>,
    largest: f64,
}

impl Numbers {
    /// Two numbers at a place.
    fn add(&mut self, place: impl FnOnce() -> String, before: f64, after: f64) {
        if before.to_bits() == after.to_bits() {
            return;
        }
        let difference = (before - after).abs();
        // What cannot be subtracted, such as a number and NaN, differs without bound.
        self.largest = self.largest.max(if difference.is_nan() { f64::INFINITY } else { difference });
        self.first.get_or_insert_with(|| format!("{}: {before} then, {after} now", place()));
    }

    fn into_difference(self) -> Option<Within> {
        self.first.map(|place| Within { place, largest: Some(self.largest) })
    }
}

/// The differences of an instance's outputs, each in its store.
pub(super) fn outputs(
    (then, before): (&Store, &BTreeMap<String, ArtifactRef>),
    (now, after): (&Store, &BTreeMap<String, ArtifactRef>),
) -> Result<Vec<Difference>, Error> {
    let mut found = Vec::new();
    for (output, artifact) in before {
        match after.get(output) {
            Some(other) if other.digest == artifact.digest => {}
            Some(other) => match files(then, artifact) {
                Err(error) if error.lost_blob().is_some() => {
                    found.push(unequal(output, "its digest differs; the recorded bytes are not at hand"));
                }
                before => {
                    let files = (before?, files(now, other)?);
                    found.push(compare_files(output, (then, &files.0), (now, &files.1))?);
                }
            },
            None => found.push(unequal(output, "it is not given now")),
        }
    }
    let more = after.keys().filter(|output| !before.contains_key(*output));
    found.extend(more.map(|output| unequal(output, "the record does not tell of it")));
    Ok(found)
}

/// A difference of which no numbers can be told.
fn unequal(output: &str, place: &str) -> Difference {
    Difference { output: output.to_string(), file: None, place: place.to_string(), largest: None, files: 1 }
}

/// An artifact's files by name; that of one file has no name.
type Named = BTreeMap<String, Digest>;

fn files(store: &Store, artifact: &ArtifactRef) -> Result<Named, Error> {
    if artifact.form == Form::File {
        return Ok(Named::from([(String::new(), artifact.digest)]));
    }
    let index = store.index(artifact.digest)?;
    Ok(index.entries().iter().map(|entry| (entry.name.clone(), entry.digest)).collect())
}

fn compare_files(
    output: &str,
    (then, before): (&Store, &Named),
    (now, after): (&Store, &Named),
) -> Result<Difference, Error> {
    let mut first: Option<(String, String)> = None;
    let (mut largest, mut count) = (Some(0.0_f64), 0);
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let within = match (before.get(name), after.get(name)) {
            (Some(one), Some(other)) if one == other => continue,
            (Some(one), Some(other)) => match then.read(*one) {
                Err(error) if error.lost_blob().is_some() => {
                    Within::other("its digest differs; the recorded bytes are not at hand")
                }
                before => file(name, &before?, &now.read(*other)?),
            },
            (Some(_), None) => Within::other("it is not given now"),
            _ => Within::other("it was not given then"),
        };
        count += 1;
        largest = largest.zip(within.largest).map(|(one, other)| one.max(other));
        first.get_or_insert_with(|| (name.clone(), within.place));
    }
    let (file, place) = first.unwrap_or_else(|| (String::new(), "its form differs".to_string()));
    let largest = largest.filter(|_| count > 0);
    let file = Some(file).filter(|name| !name.is_empty());
    Ok(Difference { output: output.to_string(), file, place, largest, files: count })
}

/// How two files of a name differ, which are not the same.
fn file(name: &str, before: &[u8], after: &[u8]) -> Within {
    let bytes = || Within::other(bytes(before, after));
    let by_value = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("safetensors") => tensors::compare(before, after),
        Some("csv") => tables::compare(before, after),
        Some("json") => json::compare(before, after),
        _ => sniffed(before, after),
    };
    by_value.unwrap_or_else(bytes)
}

/// An output of one file has no name to tell its form by.
fn sniffed(before: &[u8], after: &[u8]) -> Option<Within> {
    tensors::compare(before, after).or_else(|| json::compare(before, after))
}

fn bytes(before: &[u8], after: &[u8]) -> String {
    let place = before.iter().zip(after).position(|(one, other)| one != other);
    match place {
        Some(place) => format!("byte {place} of {}", before.len()),
        None => format!("{} bytes then, {} now", before.len(), after.len()),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { output, file, place, largest, files } = self;
        write!(f, "{output}")?;
        if let Some(file) = file {
            write!(f, ", {file}")?;
        }
        write!(f, ": {place}")?;
        if let Some(largest) = largest {
            write!(f, "; at most by {largest:.3e}")?;
        }
        if *files > 1 {
            write!(f, "; {files} files differ")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_compared_by_their_values_or_else_by_their_bytes() {
        let told = |name: &str, before: &[u8], after: &[u8]| {
            let Within { place, largest } = file(name, before, after);
            (place, largest)
        };
        for (name, before, after, place, largest) in [
            ("a.csv", "x,y\n1,2\n3,4\n", "x,y\n1,2\n3,4.5\n", "line 3, column y: 4 then, 4.5 now", Some(0.5)),
            ("a.csv", "x\n1\n", "x\na\n", "line 2, column x: `1` then, `a` now", None),
            ("a.csv", "x\n1\n", "y\n1\n", "line 1: `x` then, `y` now", None),
            ("a.csv", "x\n1\n", "x\n1\n2\n", "1 rows then, 2 now", None),
            (
                "a.json",
                r#"{"a":[1,{"b":2}]}"#,
                r#"{"a":[1,{"b":2.25}]}"#,
                "a[1].b: 2 then, 2.25 now",
                Some(0.25),
            ),
            ("a.json", r#"{"a":1}"#, r#"{"c":1}"#, "a: 1 then, nothing now", None),
            ("a.txt", "abc", "abd", "byte 2 of 3", None),
            ("a.txt", "abc", "abcd", "3 bytes then, 4 now", None),
            ("a.json", "not json", "nor this", "byte 2 of 8", None),
            // The same values, written otherwise.
            ("a.csv", "x\n1\n", "x\n1.0\n", "byte 3 of 4", None),
            ("", r#"{"a":1}"#, r#"{"a":3}"#, "a: 1 then, 3 now", Some(2.0)),
        ] {
            let expected = (place.to_string(), largest);
            assert_eq!(told(name, before.as_bytes(), after.as_bytes()), expected, "{name} {before} {after}");
        }
    }
}
