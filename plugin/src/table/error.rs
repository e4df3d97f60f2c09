//! What is wrong with a table, and what to do about it.

/// What is wrong with a table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// Its file cannot be read.
    #[error("cannot read {table}: {source}")]
    Unreadable {
        /// The table.
        table: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It is a file of another format.
    #[error("{table} is {found}, where a table is read as CSV")]
    Foreign {
        /// The table.
        table: String,
        /// What it is.
        found: String,
        /// What to do with such a file.
        fix: String,
    },
    /// It is no text, or damaged.
    #[error("{table}:{line}: the table {problem}")]
    NoText {
        /// The table.
        table: String,
        /// The line.
        line: u64,
        /// What is wrong, in words.
        problem: &'static str,
    },
    /// Its quotes do not fit.
    #[error("{table}:{line}: {problem}")]
    Quotes {
        /// The table.
        table: String,
        /// The line.
        line: u64,
        /// What is wrong, in words.
        problem: &'static str,
    },
    /// A row has another number of cells than the header.
    #[error("{table}:{line}: {found} cell{} where the header has {wanted}", if *found == 1 { "" } else { "s" })]
    Ragged {
        /// The table.
        table: String,
        /// The line.
        line: u64,
        /// How many it has.
        found: usize,
        /// How many the header has.
        wanted: usize,
    },
    /// More than one sign may separate its cells.
    #[error("{table}: cells may be separated by {}", in_words(found))]
    Ambiguous {
        /// The table.
        table: String,
        /// The signs.
        found: Vec<char>,
    },
    /// It has decimal commas, and points that may be decimal or not.
    #[error(
        "{table}:{line}: `{column}` has points that may stand between thousands, as `{other}` has decimal commas"
    )]
    Decimals {
        /// The table.
        table: String,
        /// The line.
        line: u64,
        /// The column with points.
        column: String,
        /// A column with decimal commas.
        other: String,
    },
    /// It has a header and nothing else, or is empty.
    #[error("{table}: the table has no rows")]
    Empty {
        /// The table.
        table: String,
    },
    /// A column that is needed is not there.
    #[error("{table}: there is no column `{column}`; {hint}")]
    MissingColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The column that was probably meant, or those that are there.
        hint: String,
    },
    /// A header occurs twice.
    #[error("{table}: column `{column}` occurs twice")]
    DuplicateColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column other than the first has cells and no name.
    #[error("{table}:{line}: column {position} has cells and no name")]
    Unnamed {
        /// The table.
        table: String,
        /// The line of its first cell.
        line: u64,
        /// Its position, from 1.
        position: usize,
    },
    /// A cell does not hold what it must.
    #[error("{table}:{line}: `{column}` must be {wanted}, but is {found}")]
    Cell {
        /// The table.
        table: String,
        /// The line.
        line: u64,
        /// The column.
        column: String,
        /// What it must hold.
        wanted: &'static str,
        /// What it holds.
        found: String,
    },
}

impl TableError {
    /// What to do about it, where there is more to say than that the table is to be corrected.
    pub fn advice(&self) -> Option<String> {
        Some(match self {
            Self::Foreign { fix, .. } => fix.clone(),
            Self::NoText { .. } => "save the table as UTF-8 text (in Excel: CSV UTF-8)".to_string(),
            Self::Quotes { .. } => {
                "write a cell as \"…\", and a quote within it twice; or take the quote out".to_string()
            }
            Self::Ragged { found, wanted, .. } if found > wanted => {
                "quote a cell that holds the separator, such as a decimal comma: \"1,5\" is one cell"
                    .to_string()
            }
            Self::Ragged { .. } => "add the cells that are missing; a blank one is a cell, too".to_string(),
            Self::Ambiguous { found, .. } => {
                let sign = found.first().copied().unwrap_or(';');
                format!("say it in a first line of its own, such as `sep={sign}`")
            }
            Self::Decimals { .. } => {
                "write numbers with decimal points, and nothing between thousands".to_string()
            }
            Self::DuplicateColumn { .. } => "rename one of the two, or take it out".to_string(),
            Self::Unnamed { .. } => "name the column in the header, or take it out".to_string(),
            _ => return None,
        })
    }
}

fn in_words(signs: &[char]) -> String {
    let shown = |sign: &char| if *sign == '\t' { "tabs".to_string() } else { format!("`{sign}`") };
    signs.iter().map(shown).collect::<Vec<_>>().join(" or by ")
}
