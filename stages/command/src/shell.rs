//! Placeholders in a script for bash, each of which is a variable that has one of its arguments. Where bash would put it in as one
//! word, it stands; where it would not, or would read it as something else, the script is refused.
//!
//! Bash's grammar is followed as far as quotes, substitutions, comments and here-documents go. What a script does with its words,
//! such as `eval`, is its own affair.

use crate::template::{Piece, Template};

/// The names of the variables, before their numbers.
const VARIABLE: &str = "pipe_value_";

/// What the text at some place is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    /// Words: at the beginning, and within `$(…)` and `(…)`.
    Words,
    /// Between double quotes.
    Double,
    /// Between single quotes.
    Single,
    /// Arithmetic: `$((…))`, `((…))`.
    Arithmetic,
    /// A condition: `[[ … ]]`.
    Condition,
    /// Between backquotes.
    Backquotes,
    /// A parameter: `${…}`.
    Parameter,
}

/// A script whose placeholders are arguments, with the names of these in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// The text for `bash -c`.
    pub text: String,
    /// The placeholders that its arguments stand for.
    pub names: Vec<String>,
}

/// A placeholder where bash would not put it in as one word.
#[derive(Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub place: &'static str,
}

/// Puts arguments in place of placeholders.
///
/// # Errors
/// All placeholders that stand where bash would not take them as one word.
pub fn script(template: &Template) -> Result<Script, Vec<Misplaced>> {
    let mut reader = Reader::default();
    let mut misplaced = Vec::new();
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => text.chars().for_each(|character| reader.read(character)),
            Piece::Placeholder(name) => {
                if let Some(place) = reader.refusal() {
                    misplaced.push(Misplaced { name: name.clone(), place });
                }
                reader.put(name);
            }
        }
    }
    match misplaced.is_empty() {
        true => {
            // On the first line, so that bash counts lines as they are written; functions and `shift` change the arguments.
            let given = (1..=reader.names.len()).map(|number| format!("{VARIABLE}{number}=${{{number}}}; "));
            Ok(Script { text: given.collect::<String>() + &reader.text, names: reader.names })
        }
        false => Err(misplaced),
    }
}

/// Reads a script from its beginning.
#[derive(Default)]
struct Reader {
    text: String,
    names: Vec<String>,
    /// The contexts around this place, the innermost last; none for words at the top.
    around: Vec<Context>,
    is_escaped: bool,
    is_comment: bool,
    /// Here-documents that begin with the next line, by their last lines.
    announced: Vec<String>,
    /// The last line of the here-document that this place is in.
    document: Option<String>,
}

impl Reader {
    fn context(&self) -> Context {
        self.around.last().copied().unwrap_or(Context::Words)
    }

    /// Why a placeholder cannot stand here.
    fn refusal(&self) -> Option<&'static str> {
        if self.is_comment {
            return None;
        }
        if self.document.is_some() {
            return Some("in a here-document");
        }
        match self.context() {
            Context::Words | Context::Double => None,
            Context::Single => Some("between single quotes, where bash puts nothing in"),
            Context::Arithmetic => Some("in arithmetic, where bash would read it as an expression"),
            Context::Condition => Some("in [[ … ]], where bash may read it as an expression: use [ … ]"),
            Context::Backquotes => Some("between backquotes: use $(…)"),
            Context::Parameter => Some("in ${…}: give it to a variable before"),
        }
    }

    /// Puts an argument here.
    fn put(&mut self, name: &str) {
        if self.is_comment {
            self.text.push_str(name);
            return;
        }
        let known = self.names.iter().position(|known| known == name);
        let position = known.unwrap_or_else(|| {
            self.names.push(name.to_string());
            self.names.len() - 1
        });
        let quote = if self.context() == Context::Double { "" } else { "\"" };
        self.text.push_str(&format!("{quote}${{{VARIABLE}{}}}{quote}", position + 1));
        self.is_escaped = false;
    }

    fn read(&mut self, character: char) {
        if character == '\n' {
            self.text.push(character);
            return self.end_line();
        }
        if !self.is_comment && self.document.is_none() {
            match std::mem::take(&mut self.is_escaped) {
                true => {}
                false => self.follow(character),
            }
        }
        self.text.push(character);
    }

    /// Follows quotes and substitutions.
    fn follow(&mut self, character: char) {
        use Context::{Arithmetic, Backquotes, Condition, Double, Parameter, Single, Words};
        let context = self.context();
        let ends_with = |end: &str| self.text.ends_with(end);
        match (context, character) {
            (Single, '\'') | (Double, '"') | (Parameter, '}') | (Backquotes, '`') => drop(self.around.pop()),
            (Single, _) => {}
            (_, '\\') => self.is_escaped = true,
            (Words | Condition | Arithmetic | Parameter | Backquotes, '\'') => self.around.push(Single),
            (_, '"') => self.around.push(Double),
            (_, '`') => self.around.push(Backquotes),
            (_, '{') if ends_with("$") => self.around.push(Parameter),
            // `$((` and `((` at the beginning of a command are arithmetic, other `(` are not.
            (Words, '(') if ends_with("(") && self.around.last() == Some(&Words) => {
                self.around.pop();
                self.around.extend([Arithmetic, Arithmetic]);
            }
            (Arithmetic, '(') => self.around.push(Arithmetic),
            (_, '(') if context != Double || ends_with("$") => self.around.push(Words),
            (Words | Arithmetic, ')') => drop(self.around.pop()),
            (Words, '[') if ends_with(" [") || ends_with("\n[") || self.text == "[" => {
                self.around.push(Condition)
            }
            (Condition, ']') if ends_with("]") => drop(self.around.pop()),
            (Words, '#')
                if self.text.is_empty()
                    || ends_with(" ")
                    || ends_with("\n")
                    || ends_with(";")
                    || ends_with("\t") =>
            {
                self.is_comment = true;
            }
            _ => {}
        }
    }

    fn end_line(&mut self) {
        self.is_comment = false;
        self.is_escaped = false;
        let mut lines = self.text.trim_end_matches('\n').rsplit('\n');
        let line = lines.next().unwrap_or_default().to_string();
        match &self.document {
            Some(end) if line.trim_start_matches('\t') == end => self.document = None,
            Some(_) => return,
            None if matches!(self.context(), Context::Words | Context::Double) => {
                self.announced.extend(announced(&line));
            }
            None => {}
        }
        if !self.announced.is_empty() {
            self.document = Some(self.announced.remove(0));
        }
    }
}

/// The last lines of the here-documents that a line announces.
fn announced(line: &str) -> Vec<String> {
    let mut ends = Vec::new();
    for (place, _) in line.match_indices("<<") {
        let before = line[..place].chars().last();
        let rest = &line[place + 2..];
        // `<<<` is no here-document.
        if before == Some('<') || rest.starts_with('<') {
            continue;
        }
        let word: String = rest
            .trim_start_matches('-')
            .trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || "_'\"\\-.".contains(*c))
            .filter(|c| !"'\"\\".contains(*c))
            .collect();
        ends.extend((!word.is_empty()).then_some(word));
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> Result<String, Vec<String>> {
        let written = |script: Script| {
            let numbers = 1..=script.names.len();
            let given: String = numbers.map(|number| format!("{VARIABLE}{number}=${{{number}}}; ")).collect();
            script.text.strip_prefix(&given).unwrap_or("?").replace(VARIABLE, "")
        };
        let told = |found: Misplaced| format!("{} {}", found.name, found.place);
        let made = script(&Template::parse(text));
        made.map(written).map_err(|found| found.into_iter().map(told).collect())
    }

    #[test]
    fn an_argument_is_one_word_wherever_it_stands() {
        let table = [
            ("cat {a} {b} {a}", "cat \"${1}\" \"${2}\" \"${1}\""),
            ("echo \"x {a} y\"", "echo \"x ${1} y\""),
            ("echo \"$(cat {a})\"", "echo \"$(cat \"${1}\")\""),
            ("echo \"$(cat \"{a}\")\"", "echo \"$(cat \"${1}\")\""),
            ("x=$(ls {a}); (cd {a})", "x=$(ls \"${1}\"); (cd \"${1}\")"),
            ("# don't mind {a}\ncat {a}", "# don't mind a\ncat \"${1}\""),
            ("echo it\\'s {a}", "echo it\\'s \"${1}\""),
            ("echo 'it'{a}'s'", "echo 'it'\"${1}\"'s'"),
            ("echo a#b {a}", "echo a#b \"${1}\""),
            ("cat <<END\nplain's\nEND\ncat {a}", "cat <<END\nplain's\nEND\ncat \"${1}\""),
            ("cat <<< {a}", "cat <<< \"${1}\""),
            ("[ {a} -gt 5 ]", "[ \"${1}\" -gt 5 ]"),
            ("x=$((1 + 2)); cat {a}", "x=$((1 + 2)); cat \"${1}\""),
            ("[[ -n x ]] && cat {a}", "[[ -n x ]] && cat \"${1}\""),
            ("awk '{{print $1}}' {a}", "awk '{print $1}' \"${1}\""),
            ("f() { cat {a}; }", "f() { cat \"${1}\"; }"),
            ("echo ${HOME} {a}", "echo ${HOME} \"${1}\""),
        ];
        for (text, expected) in table {
            assert_eq!(made(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn where_it_would_not_be_one_word_it_is_refused() {
        let table = [
            ("echo '{a}'", "between single quotes"),
            ("echo $(( {a} + 1 ))", "in arithmetic"),
            ("(( {a} > 1 ))", "in arithmetic"),
            ("if [[ {a} -gt 5 ]]; then true; fi", "in [[ … ]]"),
            ("cat <<END\n{a}\nEND", "in a here-document"),
            ("cat <<-'E' > x\n\t{a}\n\tE\n", "in a here-document"),
            ("echo `cat {a}`", "between backquotes"),
            ("echo ${x:-{a}}", "in ${…}"),
            ("echo \"$(echo '{a}')\"", "between single quotes"),
        ];
        for (text, expected) in table {
            let told = made(text).err().unwrap_or_default();
            assert!(told.iter().any(|one| one.contains(expected)), "{text}: {told:?}");
        }
    }
}
