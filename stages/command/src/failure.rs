//! Why a program failed, in words, with what to do about it.

use std::path::Path;

use pipe_plugin::stage::StageError;

use crate::call::Call;
use crate::helper::{Isolation, Order, WORK};
use crate::program::is_of_system;
use crate::run::Ran;

/// What is wrong with how a program ended; `None` if it ended well.
pub fn of(call: &Call<'_>, order: &Order, ran: &Ran) -> Option<StageError> {
    let ending = &ran.ending;
    let of_item = call.item.map(|item| format!(" for {item}")).unwrap_or_default();
    let program = order.argv.first().map(|path| name(path)).unwrap_or_default();
    let (what, advice) = if let Some(problem) = &ending.problem {
        (problem.clone(), None)
    } else if ending.is_too_large {
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        let (peak, most) = (gigabytes(ending.peak_bytes), gigabytes(order.memory_bytes));
        let what = format!(
            "{program}{of_item} took {peak:.1} GB, more than the {most:.1} of `memory_gb`, and was ended"
        );
        (what, Some("give the stage more `memory_gb` under `resources`".to_string()))
    } else if let Some(signal) = ending.signal {
        let what = format!("{program}{of_item} was ended by signal {signal}{}", signal_words(signal));
        let advice =
            (signal == 9).then_some("nobody here has ended it: the system may have, for want of memory");
        (what, advice.map(str::to_string))
    } else {
        match ending.code {
            Some(0) => return None,
            code => {
                let code = code.unwrap_or(-1);
                (format!("{program}{of_item} ended with exit code {code}{}", code_words(code)), None)
            }
        }
    };
    let lines: String = ran.last.iter().map(|line| format!("\n  {line}")).collect();
    let advice = undeclared(order, &ran.last).or(advice);
    let error = StageError::message(format!("{what}{lines}"));
    Some(error.advise(advice.unwrap_or_else(|| "`pipe logs` shows all that it has written".to_string())))
}

fn name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_string(), |name| name.to_string_lossy().into_owned())
}

fn signal_words(signal: i32) -> &'static str {
    match signal {
        6 => " (abort)",
        9 => " (kill)",
        11 => " (segmentation fault)",
        15 => " (terminate)",
        _ => "",
    }
}

fn code_words(code: i32) -> &'static str {
    match code {
        126 => ": it found something that cannot be executed",
        127 => ": it found no such program; folders with programs are named in `software`",
        // 128 and the signal, as a shell tells of what it has started.
        137 => ": something that it started was ended by force, perhaps for want of memory",
        139 => ": something that it started broke off (segmentation fault)",
        141 => ": a program of a pipe wrote to one that had ended already, as in `seq 1000000 | head -n 1`",
        143 => ": something that it started was ended",
        _ => "",
    }
}

/// What to do about a file that the last lines name, which is there but out of the program's reach.
fn undeclared(order: &Order, last: &[String]) -> Option<String> {
    if order.isolation == Isolation::None {
        return None;
    }
    let is_edge = |c: char| c.is_whitespace() || "\"'`():;,[]<>".contains(c);
    let words = last.iter().rev().flat_map(|line| line.split(is_edge)).filter(|word| word.starts_with('/'));
    let is_out_of_reach = |path: &&str| {
        let path = Path::new(path);
        let is_readable = order.readable.iter().any(|folder| path.starts_with(folder));
        path.components().count() > 1
            && !is_of_system(path)
            && !is_readable
            && !path.starts_with(WORK)
            && !path.starts_with(&order.work)
            && path.exists()
    };
    let path = words.into_iter().find(is_out_of_reach)?;
    Some(format!(
        "{path} is there, but the stage does not declare it: give it as an input, or its folder as `software`"
    ))
}
