//! Forms that results of any kind can have, by what their files are: tables as JSON or Parquet, tensors as NumPy's archives.
//!
//! A form takes a file by its name and bytes and gives another; which stage made it is not known here.

mod columns;
mod json;
mod npz;
mod parquet;

use pipe_engine::stage::StageError;

/// What a form makes of a file: its name and bytes; `None` where it does not apply.
pub(crate) type Made = Option<(String, Vec<u8>)>;

/// A form.
pub(crate) struct Form {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    make: fn(&str, &[u8]) -> Result<Made, StageError>,
}

/// All forms.
pub(crate) const FORMS: [Form; 4] = [
    Form {
        name: "csv",
        summary: "tables as they are",
        make: |name, bytes| Ok(is(name, "csv").then(|| (name.to_string(), bytes.to_vec()))),
    },
    Form { name: "json", summary: "tables as a list of objects", make: json::make },
    Form { name: "parquet", summary: "tables as Apache Parquet", make: parquet::make },
    Form { name: "npz", summary: "tensors as archives of NumPy", make: npz::make },
];

impl Form {
    /// What it makes of a file.
    ///
    /// # Errors
    /// A file that is not what its name says.
    pub(crate) fn of(&self, name: &str, bytes: &[u8]) -> Result<Made, StageError> {
        (self.make)(name, bytes).map_err(|error| error.prefixed(name))
    }
}

/// Whether a file has that extension.
fn is(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, found)| found == extension)
}

/// A file's name with another extension.
fn renamed(name: &str, extension: &str) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    format!("{stem}.{extension}")
}
