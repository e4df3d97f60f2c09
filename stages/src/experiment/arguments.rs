//! `args.txt`: the arguments of a training as Python prints an `argparse.Namespace`.
//!
//! The text is a list of `name=value` with Python literals, which may hold commas, quotes and brackets of their own.
//! Values that are no literals (`device(type='cuda')`) are kept as text.

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

use pipe_learning::training::parameters::TrainParameters;

/// Why the arguments cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum ArgumentsError {
    /// The text is no printed Namespace.
    #[error("it must read `Namespace(name=value, …)`, but at character {at} {what}")]
    Syntax { at: usize, what: &'static str },
    /// A value does not suit its name.
    #[error("`{name}` is {value}, which a training cannot have been run with: {why}")]
    Value { name: String, value: String, why: String },
}

/// Lists within lists.
const DEEPEST: usize = 32;

/// Reads the text.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, Value>, ArgumentsError> {
    let mut reader = Reader { text: text.trim(), at: 0 };
    if !reader.skip("Namespace(") {
        return reader.fail("does not");
    }
    let mut arguments = BTreeMap::new();
    loop {
        reader.blanks();
        if reader.skip(")") {
            break;
        }
        let name = reader.name();
        if name.is_empty() || !reader.skip("=") {
            return reader.fail("there is no `name=`");
        }
        arguments.insert(name, reader.value(0)?);
        reader.blanks();
        if !reader.skip(",") && !reader.rest().starts_with(')') {
            return reader.fail("neither `,` nor `)` follows a value");
        }
    }
    match reader.rest().trim().is_empty() {
        true => Ok(arguments),
        false => reader.fail("something follows the last `)`"),
    }
}

/// The training's parameters: those arguments that have the names of some. Others are not needed to predict.
pub(crate) fn parameters(arguments: &BTreeMap<String, Value>) -> Result<TrainParameters, ArgumentsError> {
    let refuse = |name: &str, value: &Value, why: String| ArgumentsError::Value {
        name: name.to_owned(),
        value: value.to_string(),
        why,
    };
    let mut parameters = TrainParameters::default();
    for (name, value) in arguments {
        let mut object = match serde_json::to_value(&parameters) {
            Ok(Value::Object(object)) => object,
            _ => continue,
        };
        // The script has one `dropout` for the head and `params` only with adapters; unknown names are its own.
        if value.is_null() || !object.contains_key(name) {
            continue;
        }
        object.insert(name.clone(), whole(value));
        parameters = serde_json::from_value(Value::Object(object))
            .map_err(|error| refuse(name, value, error.to_string()))?;
    }
    match parameters.validate().into_iter().find(|problem| arguments.contains_key(problem.name)) {
        Some(problem) => {
            let value = arguments.get(problem.name).cloned().unwrap_or_default();
            Err(refuse(problem.name, &value, problem.what))
        }
        None => Ok(parameters),
    }
}

/// Python prints `5.0` where a whole number was given as a float.
fn whole(value: &Value) -> Value {
    match value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15) {
        Some(number) => Value::from(number as i64),
        None => value.clone(),
    }
}

struct Reader<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fail<T>(&self, what: &'static str) -> Result<T, ArgumentsError> {
        let at = self.text.get(..self.at).map_or(0, |before| before.chars().count());
        Err(ArgumentsError::Syntax { at, what })
    }

    fn skip(&mut self, part: &str) -> bool {
        let found = self.rest().starts_with(part);
        if found {
            self.at += part.len();
        }
        found
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn name(&mut self) -> String {
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default().to_owned()
    }

    fn value(&mut self, depth: usize) -> Result<Value, ArgumentsError> {
        self.blanks();
        if depth > DEEPEST {
            return self.fail("lists are nested too deeply");
        }
        match self.rest().chars().next() {
            Some('\'' | '"') => self.string().map(Value::from),
            Some('[') => self.list(']', depth),
            Some('(') => self.list(')', depth),
            Some(_) => self.word(),
            None => self.fail("a value is missing"),
        }
    }

    fn list(&mut self, close: char, depth: usize) -> Result<Value, ArgumentsError> {
        self.at += 1;
        let mut values = Vec::new();
        loop {
            self.blanks();
            if self.rest().starts_with(close) {
                self.at += 1;
                return Ok(Value::Array(values));
            }
            values.push(self.value(depth + 1)?);
            self.blanks();
            if !self.skip(",") && !self.rest().starts_with(close) {
                return self.fail("a list is not closed");
            }
        }
    }

    fn string(&mut self) -> Result<String, ArgumentsError> {
        let mut characters = self.rest().char_indices();
        let quote = characters.next().map(|(_, quote)| quote);
        let mut text = String::new();
        while let Some((position, character)) = characters.next() {
            match character {
                character if Some(character) == quote => {
                    self.at += position + character.len_utf8();
                    return Ok(text);
                }
                '\\' => match characters.next().map(|(_, escaped)| escaped) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(escaped @ ('\\' | '\'' | '"')) => text.push(escaped),
                    // Others (\x…, \u…) stand in paths at most, which are not used.
                    Some(other) => text.extend(['\\', other]),
                    None => break,
                },
                character => text.push(character),
            }
        }
        self.fail("a text is not closed")
    }

    /// A number, True, False or None; or the text up to the comma or bracket that ends it.
    fn word(&mut self) -> Result<Value, ArgumentsError> {
        let (mut depth, mut quote, mut length) = (0_usize, None, self.rest().len());
        for (position, character) in self.rest().char_indices() {
            match (quote, character) {
                (Some(open), character) if character == open => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(character),
                (None, '(' | '[' | '{') => depth += 1,
                (None, ')' | ']' | '}' | ',') if depth == 0 => {
                    length = position;
                    break;
                }
                (None, ')' | ']' | '}') => depth -= 1,
                _ => {}
            }
        }
        let word = self.rest().get(..length).unwrap_or_default().trim();
        if word.is_empty() {
            return self.fail("a value is missing");
        }
        self.at += length;
        Ok(match word {
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            "None" => Value::Null,
            word => match (word.parse::<i64>(), word.parse::<f64>()) {
                (Ok(number), _) => Value::from(number),
                (_, Ok(number)) if number.is_finite() => Value::from(number),
                _ => Value::from(word),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use pipe_learning::clip::lora::Projection;
    use pipe_learning::clip::model::Tuning;

    #[test]
    fn values_may_hold_what_separates_them() {
        let text = "Namespace(a='x, y=(1]', b=[1, 'it\\'s', (2.5, None)], c=device(type='cuda', index=0), d=-1e-05, \
                    e=True, f=\"it's\", g=[], h=(1,), i=range(0, 5))\n";
        let expected = json!({
            "a": "x, y=(1]", "b": [1, "it's", [2.5, null]], "c": "device(type='cuda', index=0)", "d": -1e-5,
            "e": true, "f": "it's", "g": [], "h": [1], "i": "range(0, 5)"
        });
        assert_eq!(json!(parse(text).expect("arguments")), expected);
        assert!(parse("Namespace()").expect("arguments").is_empty());
    }

    #[test]
    fn what_is_no_namespace_is_refused_with_the_place() {
        let deep = format!("Namespace(a={}", "[".repeat(100_000));
        for (text, message) in [
            ("", "at character 0 does not"),
            ("{'a': 1}", "at character 0 does not"),
            ("Namespace(a)", "at character 11 there is no `name=`"),
            ("Namespace(a=1", "neither `,` nor `)`"),
            ("Namespace(a=)", "a value is missing"),
            ("Namespace(a='x)", "a text is not closed"),
            ("Namespace(a=[1 2)", "a list is not closed"),
            ("Namespace(a=1) b", "something follows"),
            (&deep, "nested too deeply"),
        ] {
            let error = parse(text).expect_err("refused").to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn arguments_become_parameters_and_wrong_ones_are_named() {
        let text = "Namespace(tuning='ft', lr=1e-05, alpha=1, params=['q', 'o'], es_patience=5.0, model='m', crop_size=50)";
        let found = parameters(&parse(text).expect("arguments")).expect("parameters");
        assert_eq!((found.tuning, found.lr, found.es_patience), (Tuning::Ft, 1e-5, 5));
        assert_eq!(found.params, [Projection::Q, Projection::O]);
        for (text, message) in [
            ("Namespace(tuning='half')", "`tuning` is \"half\""),
            ("Namespace(crop_size=-3)", "`crop_size` is -3"),
            ("Namespace(r=0)", "`r` is 0, which a training cannot have been run with: is 0, not between"),
        ] {
            let error = parameters(&parse(text).expect("arguments")).expect_err("refused").to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
