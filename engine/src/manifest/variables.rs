//! `${name}`: values of `[vars]` put into the rest of the manifest.

use std::collections::BTreeMap;

use super::node::{Content, Node};
use super::problem::{Problem, Problems, did_you_mean};

/// The variables with their own references resolved.
pub struct Variables {
    values: BTreeMap<String, Node>,
}

impl Variables {
    /// Reads the `[vars]` table; a variable may use others, but not itself.
    pub fn resolve(vars: Option<&Node>, problems: &mut Problems) -> Self {
        let raw: BTreeMap<&str, &Node> =
            vars.map_or(&[][..], Node::entries).iter().map(|(key, node)| (key.name.as_str(), node)).collect();
        let mut variables = Self { values: BTreeMap::new() };
        for name in raw.keys() {
            variables.visit(name, &raw, &mut Vec::new(), problems);
        }
        variables
    }

    fn visit<'a>(
        &mut self,
        name: &'a str,
        raw: &BTreeMap<&'a str, &'a Node>,
        path: &mut Vec<&'a str>,
        problems: &mut Problems,
    ) {
        let Some(node) = raw.get(name) else { return };
        if self.values.contains_key(name) {
            return;
        }
        if path.contains(&name) {
            path.push(name);
            let message = format!("variable `{name}` refers to itself: {}", path.join(" -> "));
            problems.add(Problem::at(node.origin.clone(), "variable-cycle", message));
            self.values.insert(name.to_string(), (*node).clone());
            return;
        }
        path.push(name);
        for used in used_names(node) {
            if let Some((used, _)) = raw.get_key_value(used.as_str()) {
                self.visit(used, raw, path, problems);
            }
        }
        path.pop();
        if !self.values.contains_key(name) {
            let mut value = (*node).clone();
            self.substitute(&mut value, problems);
            self.values.insert(name.to_string(), value);
        }
    }

    /// Replaces every `${name}` in the node; `$${` stands for `${`. A text that is nothing but `${name}` takes the variable's
    /// type; inside a longer text its value is written out.
    pub fn substitute(&self, node: &mut Node, problems: &mut Problems) {
        match &mut node.content {
            Content::Array(nodes) => nodes.iter_mut().for_each(|node| self.substitute(node, problems)),
            Content::Table(entries) => {
                entries.iter_mut().for_each(|(_, node)| self.substitute(node, problems))
            }
            Content::Text(text) if text.contains("${") => {
                let text = std::mem::take(text);
                self.substitute_text(node, &text, problems);
            }
            _ => {}
        }
    }

    fn substitute_text(&self, node: &mut Node, text: &str, problems: &mut Problems) {
        if let Some(name) =
            text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).filter(|n| is_name(n))
        {
            if let Some(value) = self.look_up(name, node, problems) {
                node.content = value.content.clone();
                // The place to look at, and to change, is where the value was written.
                node.origin = value.origin.clone();
            }
            node.variable = Some(name.to_string());
            return;
        }
        let mut result = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let after = &rest[start + 2..];
            if let Some(before) = rest[..start].strip_suffix('$') {
                result.push_str(before);
                result.push_str("${");
                rest = after;
                continue;
            }
            result.push_str(&rest[..start]);
            let Some(end) = after.find('}').filter(|end| is_name(&after[..*end])) else {
                let message = format!("`{text}` has a `${{` that does not continue as `${{name}}`");
                let problem = Problem::at(node.origin.clone(), "variable-syntax", message);
                problems.add(problem.help("write $${ for a `${` of the text's own"));
                return;
            };
            let name = &after[..end];
            if let Some(value) = self.look_up(name, node, problems) {
                match write_out(value) {
                    Some(text) => result.push_str(&text),
                    None => {
                        let message =
                            format!("variable `{name}` is {} and cannot stand in a text", value.type_name());
                        problems.add(Problem::at(node.origin.clone(), "variable-type", message));
                    }
                }
            }
            node.variable = Some(name.to_string());
            rest = &after[end + 1..];
        }
        result.push_str(rest);
        node.content = Content::Text(result);
    }

    fn look_up(&self, name: &str, node: &Node, problems: &mut Problems) -> Option<&Node> {
        let value = self.values.get(name);
        if value.is_none() {
            let help = did_you_mean(name, self.values.keys().map(String::as_str))
                .unwrap_or_else(|| format!("add `{name} = …` under [vars]"));
            let message = format!("unknown variable `${{{name}}}`");
            problems.add(Problem::at(node.origin.clone(), "unknown-variable", message).help(help));
        }
        value
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// The names of the variables in a value.
pub(super) fn used_names(node: &Node) -> Vec<String> {
    match &node.content {
        Content::Array(nodes) => nodes.iter().flat_map(used_names).collect(),
        Content::Table(entries) => entries.iter().flat_map(|(_, node)| used_names(node)).collect(),
        Content::Text(text) => text
            .match_indices("${")
            .filter(|(place, _)| !text[..*place].ends_with('$'))
            .filter_map(|(place, _)| text[place + 2..].split_once('}'))
            .map(|(name, _)| name.into())
            .collect(),
        _ => Vec::new(),
    }
}

fn write_out(node: &Node) -> Option<String> {
    match &node.content {
        Content::Text(text) => Some(text.clone()),
        Content::Integer(number) => Some(number.to_string()),
        Content::Float(number) => Some(number.to_string()),
        Content::Boolean(truth) => Some(truth.to_string()),
        Content::Array(_) | Content::Table(_) => None,
    }
}
