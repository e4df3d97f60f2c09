//! A stage that runs its program once.

use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use pipe_plugin::context::Context;
use pipe_plugin::stage::{OutputForm, OutputSpec, StageError};

use crate::call::{self, Call, Prepared};
use crate::declaration::Declared;
use crate::environment::equipped;
use crate::folder::Folder;
use crate::params::CommandParams;
use crate::tables;

/// Runs the program, and takes over its outputs if all of them are there.
///
/// # Errors
/// How it failed, or which output is not there.
pub fn run_whole(
    declared: &Declared,
    params: &CommandParams,
    context: &mut Context<'_>,
) -> Result<(), StageError> {
    let partial = context.side_path("partial")?;
    let context = &*context;
    let equipped =
        equipped(params, context.all_inputs(), context.machine(), context.cancel(), context.reporter())?;
    let call = Call {
        declared,
        params: &equipped.params,
        machine: context.machine(),
        reporter: context.reporter(),
        cancel: context.cancel(),
        seed: context.seed(),
        device: context.device(),
        partial,
        item: None,
        image: call::image(context.all_inputs())?,
    };
    let prepare = |folder: &mut Folder| {
        let mut prepared = Prepared::default();
        call.put_inputs(folder, context.all_inputs(), &mut prepared)?;
        for output in declared.about.outputs {
            prepared.values.insert(format!("out.{}", output.name), make_place(folder, output)?);
        }
        Ok(prepared)
    };
    call.run(&prepare, &mut |folder, prepared| take_over(declared, folder, prepared, context))
}

/// Makes a place for an output, and gives its name.
fn make_place(folder: &Folder, output: &OutputSpec) -> Result<String, StageError> {
    let place = match output.form {
        OutputForm::File(file) | OutputForm::Table(file) => format!("out/{}/{file}", output.name),
        OutputForm::Tree | OutputForm::Collection(_) => {
            let place = format!("out/{}", output.name);
            fs::create_dir_all(folder.work().join(&place))?;
            return Ok(place);
        }
    };
    fs::create_dir_all(folder.work().join("out").join(output.name))?;
    Ok(place)
}

/// Takes over all outputs, if all are there and of their form.
fn take_over(
    declared: &Declared,
    folder: &Folder,
    prepared: &Prepared,
    context: &Context<'_>,
) -> Result<(), StageError> {
    let places: Vec<(&OutputSpec, PathBuf)> = declared
        .about
        .outputs
        .iter()
        .map(|output| (output, folder.work().join("out").join(output.name)))
        .collect();
    for (output, place) in &places {
        check_form(output, place)?;
    }
    for (output, place) in &places {
        match output.form {
            OutputForm::Table(name) => {
                let bytes = fs::read(place.join(name))?;
                let bytes =
                    tables::restored(&format!("the output `{}`", output.name), bytes, &prepared.names)?;
                context.write(output.name, name, &bytes)?;
            }
            OutputForm::File(name) => move_to(&place.join(name), &context.output_path(output.name, name)?)?,
            OutputForm::Tree | OutputForm::Collection(_) => {
                let to = context.output_path(output.name, "any")?;
                let to = to.parent().unwrap_or(&to);
                fs::remove_dir(to)?;
                move_to(place, to)?;
            }
        }
    }
    Ok(())
}

fn move_to(from: &Path, to: &Path) -> Result<(), StageError> {
    Ok(fs::rename(from, to).map_err(pipe_cache::Error::io("move the program's output to", to))?)
}

/// Whether the program has left a file for an output.
///
/// # Errors
/// What is there instead.
pub fn check_file(output: &str, path: &Path) -> Result<(), StageError> {
    check_folder(output, path.parent().unwrap_or(path))?;
    let problem = match fs::symlink_metadata(path) {
        Err(_) => "is not there",
        Ok(metadata) if metadata.is_symlink() => "is a link; it must be a file of its own",
        Ok(metadata) if !metadata.is_file() => "is no file",
        Ok(metadata) if metadata.len() == 0 => "is an empty file",
        Ok(_) => return Ok(()),
    };
    Err(misses(output, problem))
}

/// Whether an output's folder is still the one that was made for it: what a link leads to is not the program's.
fn check_folder(output: &str, folder: &Path) -> Result<(), StageError> {
    match fs::symlink_metadata(folder) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(metadata) if metadata.is_symlink() => {
            Err(misses(output, "is a link; it must be a folder of its own"))
        }
        Ok(_) => Err(misses(output, "is no folder")),
        Err(_) => Err(misses(output, "is not there")),
    }
}

fn misses(output: &str, problem: &str) -> StageError {
    StageError::message(format!("the program ended well, but its output `{output}` {problem}"))
        .advise(format!("write it to {{out.{output}}}"))
}

/// Whether what the program has left for an output is what it declares.
///
/// # Errors
/// What is not there, or of another form.
fn check_form(output: &OutputSpec, place: &Path) -> Result<(), StageError> {
    let refuse = |problem: String| Err(misses(output.name, &problem));
    let extension = match output.form {
        OutputForm::File(name) | OutputForm::Table(name) => {
            return check_file(output.name, &place.join(name));
        }
        OutputForm::Tree => None,
        OutputForm::Collection(extension) => Some(format!(".{extension}")),
    };
    check_folder(output.name, place)?;
    let mut names = Vec::new();
    list(place, "", &mut names)?;
    if let Some((other, kind)) = names.iter().find(|(_, kind)| !kind.is_file()) {
        let what = if kind.is_symlink() { "the link" } else { "something that is no file," };
        return refuse(format!("has {what} {other}; all that is in it must be files of its own"));
    }
    if names.is_empty() {
        return refuse("is an empty folder".to_string());
    }
    match extension.and_then(|extension| {
        names.into_iter().find(|(name, _)| !name.ends_with(&extension) || name.contains('/'))
    }) {
        Some((name, _)) => refuse(format!("has {name}, which is no file of the collection")),
        None => Ok(()),
    }
}

/// All that is in a folder and is no folder.
fn list(folder: &Path, prefix: &str, names: &mut Vec<(String, FileType)>) -> Result<(), StageError> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| {
            StageError::message(format!(
                "the program has written a file whose name is not UTF-8: {}",
                name.display()
            ))
        })?;
        let name = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        match kind.is_dir() {
            true => list(&entry.path(), &format!("{name}/"), names)?,
            false => names.push((name, kind)),
        }
    }
    Ok(())
}
