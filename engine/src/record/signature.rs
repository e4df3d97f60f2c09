//! Signatures of records, as `ssh-keygen -Y sign` makes and checks them: over the hexadecimal digits of a record's last seal
//! and an end of line, in the namespace `pipe-run`. Each is a file in the run's folder, named by its key.
//!
//! Who a key belongs to is said by a file of allowed signers, as of `ssh-keygen`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pipe_cache::{Digest, Error, create_folder, write_atomically};
use ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

use super::{RecordError, RunHead, Sealed, read_seals, utc};

/// What signatures of records are for.
pub const NAMESPACE: &str = "pipe-run";
/// Where in a run's folder signatures are.
const FOLDER: &str = "signatures";

/// Why a record cannot be signed, or signatures not be checked.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// A key cannot be read.
    #[error("the key {} cannot be read: {problem}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A key needs a passphrase.
    #[error("the key {} needs a passphrase", path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// A line of a file of allowed signers is not understood.
    #[error("{}:{line}: {problem}", path.display())]
    Signers {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The record has no seal, or is not as it was written.
    #[error("the record {} has no seal that could be signed", path.display())]
    NoSeal {
        /// The file.
        path: PathBuf,
    },
    /// The record's reason.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store's reason.
    #[error(transparent)]
    Store(#[from] Error),
}

/// A key to sign with.
#[derive(Clone, Debug)]
pub struct SigningKey(PrivateKey);

impl SigningKey {
    /// Reads a private key as `ssh-keygen` writes it.
    ///
    /// # Errors
    /// When it cannot be read, or has a passphrase that was not given or is another one.
    pub fn read(path: &Path, passphrase: Option<&str>) -> Result<Self, SignatureError> {
        let unreadable = |problem: String| SignatureError::Key { path: path.to_path_buf(), problem };
        let text = fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let key = PrivateKey::from_openssh(text).map_err(|error| unreadable(error.to_string()))?;
        let key = match (key.is_encrypted(), passphrase) {
            (false, _) => key,
            (true, None) => return Err(SignatureError::Encrypted { path: path.to_path_buf() }),
            (true, Some(passphrase)) => {
                key.decrypt(passphrase).map_err(|_| unreadable("it has another passphrase".to_string()))?
            }
        };
        match key.algorithm() {
            ssh_key::Algorithm::Ed25519 => Ok(Self(key)),
            other => Err(unreadable(format!("it is a key of {other}; make one with ssh-keygen -t ed25519"))),
        }
    }

    /// Signs a run's record as it is now; gives the signature's file.
    ///
    /// # Errors
    /// A record without seals, or that is not as it was written; a folder that cannot be written.
    pub fn sign(&self, run: &RunHead) -> Result<PathBuf, SignatureError> {
        let sealed = read_seals(run)?;
        let head = sealed.head().filter(|_| sealed.broken.is_none() && !sealed.cut);
        let head = head.ok_or_else(|| SignatureError::NoSeal { path: run.path() })?;
        let name = fingerprint(self.0.public_key()).replace(['/', ':'], "_");
        let path = run.folder.join(FOLDER).join(format!("{name}.sig"));
        let refuse = |error: ssh_key::Error| SignatureError::Key {
            path: path.clone(),
            problem: format!("it does not sign: {error}"),
        };
        let signature = self.0.sign(NAMESPACE, HashAlg::Sha512, &message(head)).map_err(refuse)?;
        let text = signature.to_pem(LineEnding::LF).map_err(refuse)?;
        create_folder(&run.folder.join(FOLDER))?;
        write_atomically(&path, text.as_bytes())?;
        Ok(path)
    }
}

impl SigningKey {
    /// The key's name, `SHA256:…`.
    pub(crate) fn name(&self) -> String {
        fingerprint(self.0.public_key())
    }

    /// A plain Ed25519 signature, 64 bytes.
    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        fn sign<K: ssh_key::SigningKey>(key: &K, bytes: &[u8]) -> Option<Vec<u8>> {
            key.try_sign(bytes).ok().map(|signature| signature.as_bytes().to_vec())
        }
        sign(&self.0, bytes)
    }
}

/// What is signed.
fn message(seal: Digest) -> Vec<u8> {
    format!("{seal}\n").into_bytes()
}

fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// People whose signatures count.
#[derive(Clone, Debug, Default)]
pub struct AllowedSigners(Vec<Signer>);

#[derive(Clone, Debug)]
struct Signer {
    principals: String,
    key: PublicKey,
    /// From when on, and until when, as `YYYYMMDDHHMMSS` in UTC.
    valid: (Option<String>, Option<String>),
}

impl AllowedSigners {
    /// Reads a file of allowed signers: on each line principals, options, and a public key. Of options `namespaces`,
    /// `valid-after` and `valid-before` are understood; times count as UTC.
    ///
    /// # Errors
    /// A line that is not understood.
    pub fn read(path: &Path) -> Result<Self, SignatureError> {
        let refuse = |line: usize, problem: String| SignatureError::Signers {
            path: path.to_path_buf(),
            line,
            problem,
        };
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let mut signers = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                signers.extend(signer(line).map_err(|problem| refuse(number, problem))?);
            }
        }
        Ok(Self(signers))
    }

    /// The principals whose key it is, if it counts at a time.
    fn who(&self, key: &PublicKey, now: &str) -> Option<&str> {
        let counts = |signer: &&Signer| {
            let (after, before) = &signer.valid;
            signer.key.key_data() == key.key_data()
                && after.as_deref().is_none_or(|after| after <= now)
                && before.as_deref().is_none_or(|before| now < before)
        };
        self.0.iter().find(counts).map(|signer| signer.principals.as_str())
    }
}

/// A line's signer; `None` where signatures of records are not what it is for.
fn signer(line: &str) -> Result<Option<Signer>, String> {
    let words = words(line);
    let is_algorithm = |word: &String| ["ssh-", "sk-", "ecdsa-"].iter().any(|start| word.starts_with(start));
    let key_at = words.iter().skip(1).position(is_algorithm).map(|place| place + 1);
    let (Some(principals), Some(key_at)) = (words.first(), key_at) else {
        return Err("it names no key: write PRINCIPAL ssh-ed25519 KEY".to_string());
    };
    if words.get(key_at).is_some_and(|word| word != "ssh-ed25519") {
        // Records are signed with Ed25519 only.
        return Ok(None);
    }
    let key = words.get(key_at..key_at + 2).unwrap_or_default().join(" ");
    let key = PublicKey::from_openssh(&key).map_err(|error| format!("its key cannot be read: {error}"))?;
    let mut signer = Signer { principals: principals.clone(), key, valid: (None, None) };
    let options = words.get(1..key_at).unwrap_or_default();
    for option in options.iter().flat_map(|options| separated(options)) {
        let (name, value) = option.split_once('=').unwrap_or((&option, ""));
        let value = value.trim_matches('"');
        match name.to_ascii_lowercase().as_str() {
            "namespaces" if !value.split(',').any(|one| one == NAMESPACE || one == "*") => return Ok(None),
            "namespaces" => {}
            "valid-after" => signer.valid.0 = Some(time(value)?),
            "valid-before" => signer.valid.1 = Some(time(value)?),
            other => return Err(format!("the option `{other}` is not understood")),
        }
    }
    Ok(Some(signer))
}

/// The words of a line; what stands in quotes stays together.
fn words(line: &str) -> Vec<String> {
    split_outside_quotes(line, char::is_whitespace)
}

fn separated(options: &str) -> Vec<String> {
    split_outside_quotes(options, |c| c == ',')
}

fn split_outside_quotes(text: &str, is_between: impl Fn(char) -> bool) -> Vec<String> {
    let (mut parts, mut is_quoted) = (vec![String::new()], false);
    for c in text.chars() {
        is_quoted ^= c == '"';
        if !is_quoted && is_between(c) {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// A time of `YYYYMMDD[HHMM[SS]][Z]`, in full.
fn time(text: &str) -> Result<String, String> {
    let digits = text.trim_end_matches('Z');
    let is_time = [8, 12, 14].contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    match is_time {
        true => Ok(format!("{digits:0<14}")),
        false => Err(format!("`{text}` is no time such as 20271231 or 20271231235959Z")),
    }
}

/// A signature of a run's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) path: PathBuf,
    /// The key, as `SHA256:…`; none where the file is no signature.
    pub(crate) key: Option<String>,
    pub(crate) state: SignedState,
}

/// What a signature is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SignedState {
    /// It is of the record as it is, by somebody whose signature counts.
    By(String),
    /// It is of the record as it is, and nobody said whose key it is.
    ByUnknown,
    /// It is of the record's first lines only.
    OfLines(usize),
    /// It is of no state of this record.
    OfOther,
}

/// The signatures of a run's record.
pub(crate) fn signatures(run: &RunHead, sealed: &Sealed, signers: &AllowedSigners) -> Vec<Signed> {
    let folder = run.folder.join(FOLDER);
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let now: String = utc(SystemTime::now()).chars().filter(char::is_ascii_digit).collect();
    paths.into_iter().map(|path| signed(path, sealed, signers, &now)).collect()
}

fn signed(path: PathBuf, sealed: &Sealed, signers: &AllowedSigners, now: &str) -> Signed {
    let signature = fs::read(&path).ok().and_then(|text| SshSig::from_pem(text).ok());
    let Some(signature) = signature else {
        return Signed { path, key: None, state: SignedState::OfOther };
    };
    let key = PublicKey::from(signature.public_key().clone());
    let is_of = |seal: &&Digest| key.verify(NAMESPACE, &message(**seal), &signature).is_ok();
    let line = sealed.seals.iter().rev().find(is_of);
    let line = line.and_then(|seal| sealed.seals.iter().position(|one| one == seal));
    let state = match line {
        None => SignedState::OfOther,
        Some(line) if line + 1 < sealed.seals.len() => SignedState::OfLines(line + 1),
        Some(_) => match signers.who(&key, now) {
            Some(who) => SignedState::By(who.to_string()),
            None => SignedState::ByUnknown,
        },
    };
    Signed { path, key: Some(fingerprint(&key)), state }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJZc7j7ssXvCi0PTLUkNn8rcgFwIFkTYNlABzO07YAGG";

    #[test]
    fn lines_of_allowed_signers_are_read_as_ssh_keygen_reads_them() {
        let valid = |line: &str| signer(line).map(|signer| signer.map(|signer| signer.valid));
        assert_eq!(valid(&format!("a@b.c {KEY} comment")), Ok(Some((None, None))));
        let line = format!("a@b.c namespaces=\"git,pipe-run\",valid-before=\"20271231\" {KEY}");
        assert_eq!(valid(&line), Ok(Some((None, Some("20271231000000".to_string())))));
        let line = format!("a valid-after=202601020304Z {KEY}");
        assert_eq!(valid(&line), Ok(Some((Some("20260102030400".to_string()), None))));
        assert_eq!(valid("a ecdsa-sha2-nistp256 AAAA comment"), Ok(None));
        assert_eq!(valid(&format!("ssh-admins {KEY}")), Ok(Some((None, None))));
        assert_eq!(valid(&format!("a namespaces=\"git\" {KEY}")), Ok(None));
        for (line, problem) in [
            (format!("a cert-authority {KEY}"), "the option `cert-authority` is not understood"),
            (format!("a valid-before=soon {KEY}"), "`soon` is no time such as 20271231 or 20271231235959Z"),
            ("a b".to_string(), "it names no key: write PRINCIPAL ssh-ed25519 KEY"),
        ] {
            assert_eq!(signer(&line).map(|_| ()), Err(problem.to_string()));
        }
        assert!(signer("a ssh-ed25519 AAAA").is_err());
    }
}
