//! The account of a run as Markdown.

use pipe_plugin::stage::Topic;

use super::checklist::{CHECKLISTS, is_result, title};
use super::{Account, Told};

const INTRODUCTION: &str = "Each number below comes from the record and the results of one run; stages are named in brackets. What is said is what was \
                            computed, and no more: why it was done so, and what the data are, people have to write. Items that no \
                            sentence answers, not even in part, are listed at the end.";

/// All of it.
pub(super) fn document(account: &Account<'_>) -> String {
    let header = &account.graph.header;
    let mut text =
        format!("# Methods and results of {}, run {}\n\n{INTRODUCTION}\n", header.pipeline, header.run);
    for (part, of_results) in [("Methods", false), ("Results", true)] {
        text.push_str(&format!("\n## {part}\n"));
        let topics = account.topics.iter().filter(|(topic, _)| is_result(**topic) == of_results);
        topics.for_each(|(topic, told)| text.push_str(&section(*topic, told)));
    }
    text.push_str("\n## What no sentence answers\n");
    for checklist in &CHECKLISTS {
        text.push_str(&format!("\n### {}\n\n", checklist.name));
        for item in account.unanswered(checklist) {
            let why = if item.topics.is_empty() { "" } else { " (other pipelines can answer it)" };
            text.push_str(&format!("- {}: {}{why}\n", item.number, item.title));
        }
    }
    text
}

fn section(topic: Topic, told: &[Told]) -> String {
    let of = |list: &super::Checklist| {
        let numbers = list.numbers(topic);
        (!numbers.is_empty()).then(|| format!("{} {}", list.name, numbers.join(", ")))
    };
    let items: Vec<String> = CHECKLISTS.iter().filter_map(of).collect();
    let items = if items.is_empty() { String::new() } else { format!("*{}*\n", items.join("; ")) };
    let mut text = format!("\n### {}\n\n{items}", title(topic));
    for Told { stages, text: sentence } in told {
        let stages = if stages.is_empty() { String::new() } else { format!(" ({})", stages.join(", ")) };
        text.push_str(&format!("\n{}\n", escaped(&(sentence.clone() + &stages))));
    }
    text
}

/// Text that Markdown shows as it is, in one line.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '<' | '>' | '[' | ']' | '|' | '#' | '~' | '&' => {
                escaped.extend(['\\', c])
            }
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_markup() {
        assert_eq!(escaped("a*b_c `<script>`\n# d"), "a\\*b\\_c \\`\\<script\\>\\` \\# d");
        assert_eq!(escaped("p = 0.5, “x” (95 %)"), "p = 0.5, “x” (95 %)");
    }
}
