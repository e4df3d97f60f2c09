//! Running a kind that computes its outputs in one go: into a staging folder, from there into the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pipe_cache::{ArtifactRef, Error, Form, IndexBuilder, ResumePoint, create_folder};

use super::guard::guarded;
use super::reporter::Reporter;
use super::{SIDE, Worker, file_label};
use crate::bind::Bound;
use crate::context::{Context, ContextParts, Device, Machine};
use crate::input::Input;
use crate::job::Failure;
use crate::manifest::Instance;
use crate::stage::{AnyWhole, OutputForm, StageError};

/// What one computation has to itself.
pub(super) struct Attempt<'a> {
    pub(super) reporter: &'a Reporter<'a>,
    pub(super) resume: &'a ResumePoint,
    pub(super) device: Device,
    pub(super) machine: Machine<'a>,
}

impl Worker<'_> {
    pub(super) fn run_whole(
        &self,
        instance: &Instance,
        stage: &dyn AnyWhole,
        bound: &Bound,
        attempt: &Attempt<'_>,
    ) -> Result<BTreeMap<String, ArtifactRef>, Failure> {
        let about = instance.kind.about();
        let staging = attempt.machine.scratch.join("outputs");
        create_folder(&staging)?;
        let mut context = Context::new(ContextParts {
            inputs: &bound.inputs,
            outputs: &staging,
            side: self.run_folder.join(SIDE).join(file_label(&instance.label)),
            seed: if about.random { instance.seed } else { 0 },
            device: attempt.device,
            reporter: attempt.reporter,
            cancel: &self.cancel,
            resume: attempt.resume.clone(),
            machine: attempt.machine,
        });
        guarded(|| stage.run(&bound.params, &mut context))?;
        let unchanged = bound.inputs.values().flatten().try_for_each(Input::check_unchanged);
        unchanged.map_err(StageError::from)?;
        refuse_undeclared(&staging, instance)?;
        let mut outputs = BTreeMap::new();
        for spec in about.outputs {
            let folder = staging.join(spec.name);
            let told =
                |error: StageError| error.prefixed(format!("output `{}` of {}", spec.name, instance.label));
            let artifact = self.ingest(&folder, spec.form, bound).map_err(told)?;
            outputs.insert(spec.name.to_string(), artifact);
        }
        Ok(outputs)
    }

    /// Moves an output from the staging folder into the store.
    fn ingest(&self, folder: &Path, form: OutputForm, bound: &Bound) -> Result<ArtifactRef, StageError> {
        let store = self.binder.store;
        let mut names = Vec::new();
        list_files(folder, "", &mut names)?;
        names.sort();
        let index_form = match form {
            OutputForm::File(name) | OutputForm::Table(name) => {
                if names != [name] {
                    return Err(StageError::message(format!(
                        "expected the one file {name}, found {names:?}"
                    )));
                }
                let (digest, bytes) = store.adopt(&folder.join(name))?;
                return match (&bound.passed_on, form) {
                    (Some((files, source)), OutputForm::Table(_)) => {
                        self.table_among(files, source, name, (digest, bytes))
                    }
                    _ => Ok(ArtifactRef { form: Form::File, digest, files: 1, bytes }),
                };
            }
            OutputForm::Tree => Form::Tree,
            OutputForm::Collection(_) => Form::Collection,
        };
        if names.is_empty() {
            return Err(StageError::message("nothing was written"));
        }
        let mut builder = IndexBuilder::new(index_form);
        let mut bytes = 0;
        for name in &names {
            let (digest, size) = store.adopt(&folder.join(name))?;
            builder.add(name, digest, size)?;
            bytes += size;
        }
        let digest = store.put(&builder.finish()?.to_bytes())?;
        Ok(ArtifactRef { form: index_form, digest, files: names.len() as u64, bytes })
    }
}

/// Refuses what a kind has written to an output that it does not declare: it would be lost without a word.
fn refuse_undeclared(staging: &Path, instance: &Instance) -> Result<(), StageError> {
    let about = instance.kind.about();
    for entry in fs::read_dir(staging).map_err(Error::io("read", staging))? {
        let name = entry.map_err(Error::io("read", staging))?.file_name();
        if !about.outputs.iter().any(|spec| name == spec.name) {
            let message = format!(
                "kind {} wrote to an output `{}`, which it does not declare",
                about.name,
                name.display()
            );
            return Err(StageError::message(message)
                .advise("this is a mistake of the kind: declare the output in its `About`"));
        }
    }
    Ok(())
}

fn list_files(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), StageError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("read", folder)(error).into()),
    };
    for entry in entries {
        let entry = entry.map_err(Error::io("read", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().map_err(Error::io("read", folder))?;
        if kind.is_dir() {
            list_files(&entry.path(), &name, names)?;
        } else if kind.is_file() {
            names.push(name);
        } else {
            return Err(StageError::message(format!("{name} is neither a file nor a folder")));
        }
    }
    Ok(())
}
