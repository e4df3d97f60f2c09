//! Whether a file says one version of each package, so that what is installed by it is the same today and later.

use pipe_plugin::stage::StageError;

use super::VENV;

/// Options of pip that may stand in a lock: where packages come from, and in which form.
const OPTIONS: [&str; 10] = [
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
];

/// Checks a lock.
///
/// # Errors
/// The first line that leaves something open, with how to make a lock.
pub(super) fn check(input: &str, lock: &str) -> Result<(), StageError> {
    let found = if input == VENV { pinned(lock) } else { explicit(lock) };
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

/// Requirements of pip, each with one version.
fn pinned(lock: &str) -> Result<(), Open> {
    for (number, line) in logical_lines(lock) {
        let first = line.split([' ', '=', '\t']).next().unwrap_or_default();
        if let Some(url) = line.split_whitespace().find(|word| has_password(word)) {
            let shown = url.split("://").next().unwrap_or_default();
            return Err((
                number,
                format!("an address ({shown}://…) has a password, which would be copied with the lock"),
            ));
        }
        if line.starts_with('-') {
            if !OPTIONS.contains(&first) {
                return Err((number, format!("`{first}` leads to what the lock does not hold")));
            }
            continue;
        }
        let requirement = line.split(" --hash").next().unwrap_or(line.as_str());
        let requirement = requirement.split(';').next().unwrap_or_default().trim();
        let is_hashed = requirement.contains("#sha256=") || line.contains("--hash=");
        let is_pinned = match requirement.split_once("==") {
            Some((name, version)) => {
                !name.contains(['<', '>', '~', '!', '@', ','])
                    && !version.trim_start_matches('=').contains(['*', ',', '<', '>'])
            }
            None => requirement.contains(" @ ") && is_hashed,
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
    for (at, line) in text.lines().enumerate() {
        let line = line.split(" #").next().unwrap_or_default().trim();
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

fn has_password(word: &str) -> bool {
    let host = word.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    host.and_then(|host| host.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'))
}

/// Addresses of packages, as conda writes them.
fn explicit(lock: &str) -> Result<(), Open> {
    let lines = logical_lines(lock);
    if !lines.iter().any(|(_, line)| line == "@EXPLICIT") {
        return Err((1, "it has no line `@EXPLICIT`".to_string()));
    }
    for (number, line) in lines.iter().filter(|(_, line)| line != "@EXPLICIT") {
        if has_password(line) || line.contains("/t/") {
            return Err((
                *number,
                "an address has a password, which would be copied with the lock".to_string(),
            ));
        }
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
            ("--extra-index-url=https://me:secret@packages.example\na==1\n", Some("has a password")),
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
    fn a_lock_of_conda_names_each_package_by_digest() {
        let digest = "0123456789abcdef0123456789abcdef";
        let whole =
            format!("# platform: linux-64\n@EXPLICIT\nhttps://c.example/python-3.12-0.conda#{digest}\n");
        check("conda", &whole).unwrap();
        for (text, problem) in [
            ("name: a\ndependencies:\n  - python\n".to_string(), "no line `@EXPLICIT`"),
            ("@EXPLICIT\nhttps://c.example/python.conda\n".to_string(), "line 2"),
            (whole.replace("https://", "https://me:secret@"), "has a password"),
        ] {
            let told = check("conda", &text).unwrap_err().to_string();
            assert!(told.contains(problem) && !told.contains("secret"), "{told}");
        }
    }
}
