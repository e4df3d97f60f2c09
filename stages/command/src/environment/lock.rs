//! Whether a file says one version of each package, so that what is installed by it is the same today and later.

use pipe_plugin::stage::StageError;

use super::VENV;

/// Options of pip that may stand in a lock: where packages come from, and in which form.
const OPTIONS: [&str; 11] = [
    "-i",
    "-f",
    "--index-url",
    "--extra-index-url",
    "--find-links",
    "--no-index",
    "--only-binary",
    "--no-binary",
    "--prefer-binary",
    "--require-hashes",
    "--trusted-host",
];

/// Checks a lock.
///
/// # Errors
/// The first line that leaves something open, with how to make a lock.
pub(super) fn check(input: &str, lock: &str) -> Result<(), StageError> {
    let found = secrets(lock).and_then(|()| if input == VENV { pinned(lock) } else { explicit(lock) });
    found.map_err(|(line, problem)| {
        let advice = match input {
            VENV => {
                "write a lock of all packages with their versions, by `uv pip compile --generate-hashes requirements.in -o \
                 requirements.txt` or by `pip freeze` in an environment that works, and name that"
            }
            _ => {
                "write a lock by `conda list --explicit --md5 > environment.lock` in an environment that works, and name that"
            }
        };
        StageError::message(format!("the file in `{input}` is no lock: line {line}: {problem}")).advise(advice)
    })
}

/// What is wrong with a line, and its number.
type Open = (usize, String);

/// Passwords and tokens in addresses, also in comments: whoever is given the lock, or a pack of a run, would have them. Names of
/// variables in their place are none.
fn secrets(lock: &str) -> Result<(), Open> {
    let is_secret = |word: &str| {
        let (_, rest) = word.split_once("://")?;
        let (user, _) = rest.split('/').next()?.rsplit_once('@')?;
        let is_variable = |part: &str| part.starts_with("${") && part.ends_with('}');
        let has_secret = !user.rsplit(':').next().is_some_and(is_variable);
        (has_secret && !word.contains("ssh://")).then_some(())
    };
    let is_token = |word: &str| word.contains("://") && word.contains("/t/");
    for (at, line) in lock.lines().enumerate() {
        let mut words = line.split(|c: char| c.is_whitespace() || c == '=' || c == '"' || c == '\'');
        if words.any(|word| is_secret(word).is_some() || is_token(word)) {
            let problem = "an address has a password or token, which would be copied with the lock; pip knows `${NAME}` of a variable";
            return Err((at + 1, problem.to_string()));
        }
    }
    Ok(())
}

/// The names of the packages that a lock asks for on any machine.
pub(super) fn packages(lock: &str) -> Vec<String> {
    let lines = logical_lines(lock).into_iter().map(|(_, line)| line);
    let unconditional = lines.filter(|line| !line.starts_with('-') && !line.contains(';'));
    let name = |line: String| line.split(|c: char| !is_of_name(c)).next().unwrap_or_default().to_string();
    unconditional.map(name).filter(|name| !name.is_empty()).collect()
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// Whether an address is of one commit or of bytes that are known.
fn is_fixed(address: &str, is_hashed: bool) -> bool {
    let commit = address.split('#').next().unwrap_or_default().rsplit_once('@').map(|(_, commit)| commit);
    is_hashed
        || commit.is_some_and(|commit| commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()))
}

/// Requirements of pip, each with one version.
fn pinned(lock: &str) -> Result<(), Open> {
    for (number, line) in logical_lines(lock) {
        let first = line.split([' ', '=', '\t']).next().unwrap_or_default();
        if line.starts_with('-') {
            if !OPTIONS.contains(&first) {
                return Err((number, format!("`{first}` leads to what the lock does not hold")));
            }
            continue;
        }
        let requirement = line.split(" --hash").next().unwrap_or(line.as_str());
        let requirement = requirement.split(';').next().unwrap_or_default().trim();
        let is_hashed = requirement.contains("#sha256=") || line.contains("--hash=");
        // Extras stand in brackets behind the name.
        let is_name = |name: &str| name.trim().chars().all(|c| is_of_name(c) || "[], ".contains(c));
        let is_pinned = match (requirement.split_once(" @ "), requirement.split_once("==")) {
            (Some((name, address)), _) => is_name(name) && is_fixed(address, is_hashed),
            (None, Some((name, version))) => {
                is_name(name) && !version.trim_start_matches('=').contains(['*', ',', '<', '>'])
            }
            (None, None) => false,
        };
        if !is_pinned {
            return Err((number, format!("`{requirement}` does not say one version (`NAME==VERSION`)")));
        }
    }
    Ok(())
}

/// Lines without comments; one that ends in a backslash goes on in the next.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (at, line) in text.lines().enumerate() {
        let comment = line.find(" #").or_else(|| line.find("\t#"));
        let line = line[..comment.unwrap_or(line.len())].trim();
        let line = if line.starts_with('#') { "" } else { line };
        let part = line.strip_suffix('\\').unwrap_or(line).trim();
        match lines.last_mut().filter(|_| goes_on) {
            Some((_, last)) => {
                last.push(' ');
                last.push_str(part);
            }
            None => lines.push((at + 1, part.to_string())),
        }
        goes_on = line.ends_with('\\');
    }
    lines.retain(|(_, line)| !line.is_empty());
    lines
}

/// Addresses of packages, as conda writes them.
fn explicit(lock: &str) -> Result<(), Open> {
    let lines = logical_lines(lock);
    if !lines.iter().any(|(_, line)| line == "@EXPLICIT") {
        return Err((1, "it has no line `@EXPLICIT`".to_string()));
    }
    for (number, line) in lines.iter().filter(|(_, line)| line != "@EXPLICIT") {
        let (_, digest) = line.rsplit_once('#').unwrap_or_default();
        let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
        let is_digest = [32, 64].contains(&digest.len()) && digest.chars().all(|c| c.is_ascii_hexdigit());
        if !line.contains("://") || !is_digest {
            return Err((*number, format!("`{line}` is no address of a package with its digest")));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_lock_says_one_version_of_each_package() {
        for (text, problem) in [
            ("numpy==2.1.0\n# a comment\n\nscipy[all]==1.0 ; python_version > '3' # why\n", None),
            ("numpy==2.1.0 \\\n    --hash=sha256:ab \\\n    --hash=sha256:cd\n", None),
            ("--index-url https://packages.example/simple\nnumpy===2.1.0\n", None),
            ("a @ https://packages.example/a.whl#sha256=ab\n", None),
            ("numpy==2.1.0\nscipy>=1\n", Some("line 2: `scipy>=1` does not say one version")),
            ("numpy\n", Some("line 1: `numpy`")),
            ("numpy==2.*\n", Some("line 1")),
            ("numpy>=1,==2.1\n", Some("line 1")),
            ("a @ git+https://code.example/a\n", Some("line 1")),
            ("\n-r other.txt\n", Some("line 2: `-r` leads to")),
            ("-e .\n", Some("`-e` leads to")),
            (
                "--extra-index-url=https://me:secret@packages.example\na==1\n",
                Some("line 1: an address has a password"),
            ),
            (
                "a==1\n# uv pip compile --index-url https://secret@packages.example\n",
                Some("line 2: an address has a password"),
            ),
            ("--index-url https://me:${TOKEN}@packages.example/simple\na==1\n", None),
            ("--trusted-host packages.example\na==1\n", None),
            ("\u{feff}# a comment\na==1\t# via b, c\n", None),
            ("git+file:///code#egg=a==1.0\n", Some("line 1")),
            ("a @ git+https://code.example/a@main\n", Some("line 1")),
            ("a @ git+https://code.example/a@0123456789012345678901234567890123456789\n", None),
        ] {
            let told = check(VENV, text).map_err(|error| error.to_string());
            match problem {
                None => assert!(told.is_ok(), "{text}: {told:?}"),
                Some(problem) => {
                    let told = told.unwrap_err();
                    assert!(told.contains(problem) && !told.contains("secret"), "{text}: {told}");
                }
            }
        }
    }

    #[test]
    fn packages_are_named_without_versions_and_conditions() {
        let lock = "--no-index\nnumpy==2.1.0 --hash=sha256:ab\nscipy[all]==1.0\nold==1 ; python_version < '3'\na.b @ https://x/a.whl#sha256=ab\n";
        assert_eq!(packages(lock), ["numpy", "scipy", "a.b"]);
    }

    #[test]
    fn a_lock_of_conda_names_each_package_by_digest() {
        let digest = "0123456789abcdef0123456789abcdef";
        let whole =
            format!("# platform: linux-64\n@EXPLICIT\nhttps://c.example/python-3.12-0.conda#{digest}\n");
        check("conda", &whole).unwrap();
        for (text, problem) in [
            ("name: a\ndependencies:\n  - python\n".to_string(), "no line `@EXPLICIT`"),
            ("@EXPLICIT\nhttps://c.example/python.conda\n".to_string(), "line 2"),
            (whole.replace("https://", "https://me:secret@"), "has a password"),
            (whole.replace("c.example/", "c.example/t/secret/"), "has a password or token"),
        ] {
            let told = check("conda", &text).unwrap_err().to_string();
            assert!(told.contains(problem) && !told.contains("secret"), "{told}");
        }
    }
}
