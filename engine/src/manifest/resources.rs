//! What an instance needs while it runs: the `resources` table of a stage.

use super::node::{Content, Node};
use super::problem::{Problem, Problems};
use crate::requests::RequestLimits;
use crate::stage::{About, AnyStage};

/// What an instance needs while it runs; never part of a result's identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Graphics processors, where the run computes on them; 0 for a kind that computes on none.
    pub gpus: usize,
    /// Memory in bytes, as far as the manifest says.
    pub memory_bytes: u64,
    /// How it may ask a service, for a kind that does.
    pub requests: RequestLimits,
}

impl Resources {
    /// Reads a stage's table.
    pub(super) fn read(node: &Node, kind: &'static dyn AnyStage, problems: &mut Problems) -> Self {
        let Some(table) = node.get("resources") else {
            return Self { gpus: usize::from(kind.about().device), ..Self::default() };
        };
        Self {
            gpus: gpus(table.get("gpu"), kind.about(), problems),
            memory_bytes: memory(table.get("memory_gb"), problems),
            requests: requests(table, kind.about(), problems),
        }
    }
}

/// How many graphics processors an instance takes: one, unless the table says otherwise, if its kind computes on
/// devices at all.
fn gpus(given: Option<&Node>, about: &About, problems: &mut Problems) -> usize {
    let Some((given, number)) = given.and_then(|node| Some((node, integer(node)?))) else {
        return usize::from(about.device);
    };
    if !about.device && number != 0 {
        let message = format!("`{}` computes on the processor, whatever `gpu` says", about.name);
        refuse(given, message, "leave it out", problems);
    } else if about.device && number < 1 {
        let help = "leave it out for the processor: --device chooses";
        refuse(given, "`gpu` must be at least 1", help, problems);
    }
    usize::try_from(number).unwrap_or_default().max(usize::from(about.device))
}

/// The memory of an instance in bytes.
fn memory(given: Option<&Node>, problems: &mut Problems) -> u64 {
    let Some(given) = given else { return 0 };
    let gigabytes = given.to_json().as_f64().unwrap_or_default();
    if !(0.0..=1e6).contains(&gigabytes) {
        let help = "leave it out where memory is no concern";
        refuse(given, "`memory_gb` must be 0 or more", help, problems);
        return 0;
    }
    (gigabytes * 1e9) as u64
}

/// How an instance may ask a service.
fn requests(table: &Node, about: &About, problems: &mut Problems) -> RequestLimits {
    let mut number = |name: &str| {
        let node = table.get(name)?;
        if !about.service {
            refuse(node, format!("`{}` asks no service", about.name), "leave it out", problems);
            return None;
        }
        let number = u32::try_from(integer(node)?).ok().filter(|number| *number > 0);
        if number.is_none() {
            refuse(node, format!("`{name}` must be at least 1"), "leave it out for the default", problems);
        }
        number
    };
    let default = RequestLimits::default();
    RequestLimits {
        per_minute: number("requests_per_minute"),
        timeout_seconds: number("request_timeout_s").unwrap_or(default.timeout_seconds),
        attempts: number("request_attempts").unwrap_or(default.attempts),
    }
}

fn integer(node: &Node) -> Option<i64> {
    match node.content {
        Content::Integer(number) => Some(number),
        _ => None,
    }
}

fn refuse(given: &Node, message: impl Into<String>, help: &str, problems: &mut Problems) {
    problems.add(Problem::at(given.origin.clone(), "resources", message.into()).help(help));
}
