//! Placeholders in a script for bash, each of which is a variable that has one of its arguments.
//!
//! Quotes, `$(…)`, comments and words are followed exactly; bash has more than these, in which a value would be split, or read as an
//! expression. Where such a thing has begun, no placeholder may stand any more: a script takes it into a variable of its own before.
//! What a script does with its words, such as `eval`, is its own affair.

use crate::template::{Piece, Template};

/// The names of the variables, before their numbers.
const VARIABLE: &str = "pipe_value_";

/// A script whose placeholders are variables, with the names of these in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// The text for `bash -c`, whose arguments are the values.
    pub text: String,
    /// The placeholders that its arguments stand for.
    pub names: Vec<String>,
}

/// A placeholder where bash might not put it in as one word.
#[derive(Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub place: String,
}

/// Puts variables in place of placeholders.
///
/// # Errors
/// All placeholders that stand where bash might not take them as one word.
pub fn script(template: &Template) -> Result<Script, Vec<Misplaced>> {
    let mut reader = Reader { begins_word: true, ..Reader::default() };
    let mut misplaced = Vec::new();
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => text.chars().for_each(|character| reader.read(character)),
            Piece::Placeholder(name) => {
                misplaced.extend(reader.refusal().map(|place| Misplaced { name: name.clone(), place }));
                reader.put(name);
            }
        }
    }
    if !misplaced.is_empty() {
        return Err(misplaced);
    }
    // On the first line, so that bash counts lines as they are written. Functions and `shift` change arguments, not variables.
    let given = (1..=reader.names.len()).map(|number| format!("{VARIABLE}{number}=${{{number}}}; "));
    Ok(Script { text: given.collect::<String>() + &reader.text, names: reader.names })
}

/// What the text at some place is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    /// Words, in parentheses: `$(…)`, `(…)`, `<(…)`.
    Parentheses,
    /// Between double quotes.
    Double,
    /// Between single quotes.
    Single,
}

/// Reads a script from its beginning.
#[derive(Default)]
struct Reader {
    text: String,
    names: Vec<String>,
    /// The contexts around this place, the innermost last; none for words at the top.
    around: Vec<Context>,
    /// The word so far, without what it has in quotes.
    word: String,
    begins_word: bool,
    is_escaped: bool,
    is_comment: bool,
    /// What has begun that is not followed.
    beyond: Option<&'static str>,
}

impl Reader {
    fn context(&self) -> Option<Context> {
        self.around.last().copied()
    }

    /// Why a placeholder cannot stand here.
    fn refusal(&mut self) -> Option<String> {
        if self.is_comment {
            return None;
        }
        self.end_of_here();
        let at = |what: &str| Some(what.to_string());
        match (self.beyond, self.context()) {
            (Some(what), _) => {
                Some(format!("behind {what}: take it into a variable at the top of the script, v={{…}}"))
            }
            (None, Some(Context::Single)) => at("between single quotes, where bash puts nothing in"),
            _ if self.is_escaped => at("behind a backslash"),
            _ if self.word.contains('[') && self.word != "[" => {
                at("in brackets, where bash may read it as an expression")
            }
            _ => None,
        }
    }

    /// Puts a variable here.
    fn put(&mut self, name: &str) {
        if self.is_comment {
            return self.text.push_str(name);
        }
        let known = self.names.iter().position(|known| known == name);
        let position = known.unwrap_or_else(|| {
            self.names.push(name.to_string());
            self.names.len() - 1
        });
        let quote = if self.context() == Some(Context::Double) { "" } else { "\"" };
        self.text.push_str(&format!("{quote}${{{VARIABLE}{}}}{quote}", position + 1));
        self.begins_word = false;
        self.is_escaped = false;
    }

    fn read(&mut self, character: char) {
        if self.is_comment {
            self.is_comment = character != '\n';
        } else if std::mem::take(&mut self.is_escaped) {
            self.begins_word = false;
        } else {
            match self.context() {
                Some(Context::Single) => {
                    if character == '\'' {
                        self.around.pop();
                    }
                }
                Some(Context::Double) => self.follow_quoted(character),
                _ => self.follow_words(character),
            }
        }
        self.text.push(character);
    }

    /// Between double quotes.
    fn follow_quoted(&mut self, character: char) {
        match character {
            '"' => drop(self.around.pop()),
            '\\' => self.is_escaped = true,
            '(' if self.text.ends_with('$') => self.open(),
            _ => self.notice(character),
        }
    }

    /// Where there are words.
    fn follow_words(&mut self, character: char) {
        self.notice(character);
        let is_end = character.is_whitespace() || ";|&()<>".contains(character);
        if is_end {
            self.end_word();
        }
        match character {
            '#' if self.begins_word => self.is_comment = true,
            '\\' => self.is_escaped = true,
            '\'' if self.text.ends_with('$') => self.beyond("$'…'"),
            '\'' => self.around.push(Context::Single),
            '"' => self.around.push(Context::Double),
            '(' => self.open(),
            ')' if self.around.pop().is_none() => self.beyond("a parenthesis that closes nothing"),
            ')' => {}
            _ if !is_end => self.word.push(character),
            _ => {}
        }
        self.begins_word = is_end;
    }

    /// Parentheses open.
    fn open(&mut self) {
        if self.text.ends_with('(') {
            self.beyond("arithmetic, ((…))");
        }
        self.around.push(Context::Parentheses);
        self.word.clear();
        self.begins_word = true;
    }

    /// Notices what is not followed, within and without double quotes.
    fn notice(&mut self, character: char) {
        match character {
            '`' => self.beyond("backquotes"),
            '[' if self.text.ends_with('$') => self.beyond("arithmetic, $[…]"),
            '}' => {
                let inner = self.text.rsplit_once("${").map_or("", |(_, inner)| inner);
                let is_plain = inner.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                if !is_plain && !inner.contains('}') {
                    self.beyond("${…} with an expression");
                }
            }
            _ => {}
        }
        let is_expression =
            |inner: &str| !inner.contains('}') && inner.chars().any(|c| ":-+=?%#/^,@!*[\"'".contains(c));
        if self.text.rsplit_once("${").is_some_and(|(_, inner)| is_expression(inner)) {
            self.beyond("${…} with an expression");
        }
        if character != '<' {
            self.end_of_here();
        }
    }

    /// A here-document is announced by `<<`, and not by `<<<`.
    fn end_of_here(&mut self) {
        if self.text.ends_with("<<") && !self.text.ends_with("<<<") && self.context() != Some(Context::Double)
        {
            self.beyond("a here-document, <<");
        }
    }

    fn end_word(&mut self) {
        match &*std::mem::take(&mut self.word) {
            "[[" => self.beyond("[[ … ]]"),
            "case" => self.beyond("case"),
            _ => {}
        }
    }

    fn beyond(&mut self, what: &'static str) {
        self.beyond.get_or_insert(what);
    }
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
            ("echo \"$(cat {a})\" {a}", "echo \"$(cat \"${1}\")\" \"${1}\""),
            ("echo \"$(cat \"{a}\")\"", "echo \"$(cat \"${1}\")\""),
            ("x=$(ls {a}); (cd {a})", "x=$(ls \"${1}\"); (cd \"${1}\")"),
            ("paste <(sort {a}) {b}", "paste <(sort \"${1}\") \"${2}\""),
            ("# don't mind {a}\ncat {a}", "# don't mind a\ncat \"${1}\""),
            ("(# it's\ncat {a})", "(# it's\ncat \"${1}\")"),
            ("true;# it's\ncat {a}", "true;# it's\ncat \"${1}\""),
            ("echo a\\ #{a}", "echo a\\ #\"${1}\""),
            ("echo it\\'s {a}", "echo it\\'s \"${1}\""),
            ("echo 'it'{a}'s'", "echo 'it'\"${1}\"'s'"),
            ("echo a#b {a}", "echo a#b \"${1}\""),
            ("cat <<< {a}", "cat <<< \"${1}\""),
            ("echo \"a << b\" {a}", "echo \"a << b\" \"${1}\""),
            ("[ {a} -gt 5 ]", "[ \"${1}\" -gt 5 ]"),
            ("a=({a} {b})", "a=(\"${1}\" \"${2}\")"),
            ("awk '{{print $1}}' {a}", "awk '{print $1}' \"${1}\""),
            ("f() {{ cat {a}; }}; f", "f() { cat \"${1}\"; }; f"),
            ("echo ${HOME} {a}", "echo ${HOME} \"${1}\""),
            (
                "cat {a} > {b}; [[ -n x ]] && echo $((1 + 2))",
                "cat \"${1}\" > \"${2}\"; [[ -n x ]] && echo $((1 + 2))",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(made(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn where_it_might_not_be_one_word_it_is_refused() {
        let table = [
            ("echo '{a}'", "between single quotes"),
            ("echo $(( {a} + 1 ))", "arithmetic"),
            ("echo $(( \"{a}\" + 1 ))", "arithmetic"),
            ("(( {a} > 1 ))", "arithmetic"),
            ("echo $[ {a} ]", "arithmetic"),
            ("b[{a}]=1", "in brackets"),
            ("if [[ {a} -gt 5 ]]; then true; fi", "[[ … ]]"),
            ("[[ \"{a}\" -gt 5 ]]", "[[ … ]]"),
            ("true;[[ x ]] && cat {a}", "[[ … ]]"),
            ("true&&\t[[ x =~ ^[[:digit:]]+$ && {a} -gt 5 ]]", "[[ … ]]"),
            ("cat <<END\n{a}\nEND", "a here-document"),
            ("cat <<{a}", "a here-document"),
            ("cat <<-'E' > x\n\t{a}\n\tE\n", "a here-document"),
            ("echo `cat {a}`", "backquotes"),
            ("echo \"`cat {a}`\"", "backquotes"),
            ("echo ${x:-{a}}", "${…}"),
            ("echo \"${x:-don't}\" {a}", "${…}"),
            ("echo ${x%.*} {a}", "${…}"),
            ("x=\"$(case a in a) printf {a};; esac)\"", "case"),
            ("echo $'it\\'s' {a}", "$'…'"),
            ("echo \\{a}", "behind a backslash"),
            ("echo ) {a}", "closes nothing"),
            ("echo \"$(echo '{a}')\"", "between single quotes"),
        ];
        for (text, expected) in table {
            let told = made(text).err().unwrap_or_default();
            assert!(told.iter().any(|one| one.contains(expected)), "{text}: {told:?} {:?}", made(text));
        }
    }
}
