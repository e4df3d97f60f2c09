//! The facts about a kind that need no parameters: its name, inputs, outputs and code.

use std::fmt;

use crate::code::CodeStamp;

/// The facts about a kind that need no parameters.
#[derive(Debug)]
pub struct About {
    /// The name that `uses = "…"` gives.
    pub name: &'static str,
    /// One sentence for `pipe stages`.
    pub summary: &'static str,
    /// Its inputs.
    pub inputs: &'static [InputSpec],
    /// Its outputs; `"@stage"` alone means the first.
    pub outputs: &'static [OutputSpec],
    /// Whether it draws random numbers, so that the pipeline's seed counts.
    pub random: bool,
    /// Whether it computes on the chosen device, so that the device kind counts.
    pub device: bool,
    /// Numbers of its outputs that differ by no more, when they were computed on another class of device, count as the same in an
    /// audit. On one class bytes are the same.
    pub tolerance: f64,
    /// Whether it may ask a service over the network, with a key from the environment.
    pub service: bool,
    /// The code it runs.
    pub code: CodeStamp,
    /// Whether the same inputs give the same bytes; for a kind that does not promise it, an audit tells differences and does not
    /// count them.
    pub deterministic: bool,
    /// The output and the text file in it that people see when a run ends.
    pub headline: Option<(&'static str, &'static str)>,
}

impl About {
    /// A kind without inputs and outputs, which draws no random numbers, computes on the processor and asks nobody.
    pub const fn new(name: &'static str, summary: &'static str, code: CodeStamp) -> Self {
        Self {
            name,
            summary,
            inputs: &[],
            outputs: &[],
            random: false,
            device: false,
            tolerance: 0.0,
            service: false,
            code,
            deterministic: true,
            headline: None,
        }
    }

    /// Its inputs.
    #[must_use]
    pub const fn inputs(mut self, inputs: &'static [InputSpec]) -> Self {
        self.inputs = inputs;
        self
    }

    /// Its outputs; `"@stage"` alone means the first.
    #[must_use]
    pub const fn outputs(mut self, outputs: &'static [OutputSpec]) -> Self {
        self.outputs = outputs;
        self
    }

    /// It draws random numbers, so that the pipeline's seed counts.
    #[must_use]
    pub const fn random(mut self) -> Self {
        self.random = true;
        self
    }

    /// It computes on the chosen device, so that the device kind counts.
    #[must_use]
    pub const fn device(mut self) -> Self {
        self.device = true;
        self
    }

    /// Its numbers may differ by no more than that between classes of devices.
    #[must_use]
    pub const fn within(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// It may ask a service over the network, with a key from the environment.
    #[must_use]
    pub const fn service(mut self) -> Self {
        self.service = true;
        self
    }

    /// The same inputs may give other bytes.
    #[must_use]
    pub const fn not_deterministic(mut self) -> Self {
        self.deterministic = false;
        self
    }

    /// People see this text file of an output when a run ends.
    #[must_use]
    pub const fn headline(mut self, output: &'static str, file: &'static str) -> Self {
        self.headline = Some((output, file));
        self
    }
}

/// One input of a kind.
#[derive(Debug)]
pub struct InputSpec {
    /// Its name in `inputs = { … }`.
    pub name: &'static str,
    /// One sentence for `pipe stages KIND`.
    pub summary: &'static str,
    /// What may be given.
    pub form: InputForm,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether several instances' outputs may be given.
    pub many: bool,
    /// Words that may be given instead of a path, such as `random`.
    pub keywords: &'static [&'static str],
    /// Whether it may also be written as a parameter of the same name.
    pub parameter: bool,
    /// The extension that the files of a collection from outside have.
    pub extension: Option<&'static str>,
    /// Whether it gives values to parameters, and counts by these alone.
    pub fills: bool,
}

impl InputSpec {
    /// A required input of one artifact.
    pub const fn new(name: &'static str, form: InputForm, summary: &'static str) -> Self {
        Self {
            name,
            summary,
            form,
            optional: false,
            many: false,
            keywords: &[],
            parameter: false,
            extension: None,
            fills: false,
        }
    }

    /// A collection from outside is of files with this extension.
    #[must_use]
    pub const fn of(mut self, extension: &'static str) -> Self {
        self.extension = Some(extension);
        self
    }

    /// It may be left out.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// It takes all instances of a stage.
    #[must_use]
    pub const fn many(mut self) -> Self {
        self.many = true;
        self
    }

    /// It takes one of these words instead of a path.
    #[must_use]
    pub const fn keywords(mut self, keywords: &'static [&'static str]) -> Self {
        self.keywords = keywords;
        self
    }

    /// It gives values to parameters that are not written, and counts by these alone.
    #[must_use]
    pub const fn fills(mut self) -> Self {
        self.fills = true;
        self
    }

    /// It may be written under `params` too.
    #[must_use]
    pub const fn also_parameter(mut self) -> Self {
        self.parameter = true;
        self
    }
}

/// What an input takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputForm {
    /// A CSV table; its rows may name files. From a stage: a tree with one CSV file at its top.
    Table,
    /// One file for each item; from outside: a folder of such files.
    Collection,
    /// A folder.
    Tree,
    /// One file.
    File,
    /// Whatever is given: a file, which counts with the extension of its name, or a folder.
    Any,
}

impl fmt::Display for InputForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InputForm::Table => "table",
            InputForm::Collection => "collection",
            InputForm::Tree => "tree",
            InputForm::File => "file",
            InputForm::Any => "file or folder",
        })
    }
}

/// One output of a kind.
#[derive(Debug)]
pub struct OutputSpec {
    /// Its name in `"@stage.output"`.
    pub name: &'static str,
    /// One sentence for `pipe stages KIND`.
    pub summary: &'static str,
    /// What it is made of. A kind that computes [item by item](super::PerItem) has one output: a collection, unless it gathers.
    pub form: OutputForm,
}

impl OutputSpec {
    /// One file of that name.
    pub const fn file(name: &'static str, file: &'static str, summary: &'static str) -> Self {
        Self { name, summary, form: OutputForm::File(file) }
    }

    /// A table of that name, made from another.
    pub const fn table(name: &'static str, file: &'static str, summary: &'static str) -> Self {
        Self { name, summary, form: OutputForm::Table(file) }
    }

    /// A folder.
    pub const fn tree(name: &'static str, summary: &'static str) -> Self {
        Self { name, summary, form: OutputForm::Tree }
    }

    /// A file for each item, with that extension.
    pub const fn collection(name: &'static str, extension: &'static str, summary: &'static str) -> Self {
        Self { name, summary, form: OutputForm::Collection(extension) }
    }
}

/// What an output is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputForm {
    /// One file of that name.
    File(&'static str),
    /// A table of that name, made from another; its rows' paths lead where that one's do.
    Table(&'static str),
    /// A folder.
    Tree,
    /// A file for each item with that extension.
    Collection(&'static str),
}

impl OutputForm {
    /// The name of the one file that it is, if it is one.
    pub fn file_name(self) -> Option<&'static str> {
        match self {
            Self::File(name) | Self::Table(name) => Some(name),
            Self::Tree | Self::Collection(_) => None,
        }
    }
}

/// A column in words, for people who write tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its header.
    pub name: &'static str,
    /// What it holds.
    pub meaning: &'static str,
    /// The values that it is known to take; none where it is no choice.
    pub values: &'static [&'static str],
}

/// A column that a kind reads from a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its header.
    pub name: String,
    /// Whether a table without it is an error.
    pub required: bool,
}

impl Column {
    /// A column that must be there.
    pub fn required(name: impl Into<String>) -> Self {
        Self { name: name.into(), required: true }
    }

    /// A column that is read when it is there.
    pub fn optional(name: impl Into<String>) -> Self {
        Self { name: name.into(), required: false }
    }
}
