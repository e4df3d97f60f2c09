//! What an instance needs while it runs: the `resources` table of a stage.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::node::{Content, Node};
use super::problem::{Problem, Problems};
use crate::requests::RequestLimits;
use crate::stage::{About, Kind};

/// What an instance needs while it runs; never part of a result's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Graphics processors, where the run computes on them; 0 for a kind that computes on none.
    pub gpus: usize,
    /// Memory in bytes, as far as the manifest says.
    pub memory_bytes: u64,
    /// Processors that it keeps busy.
    pub cpus: usize,
    /// How long it may take.
    pub time: Option<Duration>,
    /// How it may ask a service, for a kind that does.
    pub requests: RequestLimits,
}

impl Resources {
    /// What an instance of a kind needs of which nothing is written.
    pub(crate) fn usual(about: &About) -> Self {
        let gpus = usize::from(about.device);
        Self { gpus, memory_bytes: 0, cpus: 1, time: None, requests: RequestLimits::default() }
    }

    /// Reads a stage's table.
    pub(super) fn read(node: &Node, kind: Kind, problems: &mut Problems) -> Self {
        let Some(table) = node.get("resources") else { return Self::usual(kind.about()) };
        Self {
            gpus: gpus(table.get("gpu"), kind.about(), problems),
            memory_bytes: memory(table.get("memory_gb"), problems),
            cpus: cpus(table.get("cpus")),
            time: table.get("time").and_then(|given| time(given, problems)),
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

/// The processors of an instance; the schema has refused other numbers.
fn cpus(given: Option<&Node>) -> usize {
    given.and_then(integer).and_then(|number| usize::try_from(number).ok()).unwrap_or(1).max(1)
}

/// A time such as `30m`.
fn time(given: &Node, problems: &mut Problems) -> Option<Duration> {
    let text = given.as_text().unwrap_or_default();
    let seconds = || {
        let unit = text.chars().last()?;
        let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        number.checked_mul(seconds).filter(|seconds| *seconds > 0)
    };
    let seconds = seconds();
    if seconds.is_none() {
        let help = "write a number and a unit: \"90s\", \"30m\", \"2h\" or \"1d\"";
        refuse(given, format!("`time` is {text:?}, which is no time"), help, problems);
    }
    seconds.map(Duration::from_secs)
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
