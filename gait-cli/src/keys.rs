//! Keys named on the command line (contract, artifacts 3.7 and control 3.2).

use crate::failure::Failure;
use crate::flags::Args;
use crate::{local_key, private_file};
use gait_core::file::PathError;
use gait_core::signature::{PrivateKey, PublicKey};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// The key that `--public-key[-env]` or, as its public half, `--private-key[-env]` name; a public source wins.
///
/// # Errors
/// Two sources of one kind, a source that can't be read, a text that is no key: all exit 6.
pub fn verify_key(args: &Args) -> Result<Option<PublicKey>, Failure> {
    verify_key_of(args, "")
}

/// The key that `--approval-public-key[-env]` or, as its public half, `--approval-private-key[-env]` name.
///
/// # Errors
/// As [`verify_key`].
pub fn approval_key(args: &Args) -> Result<Option<PublicKey>, Failure> {
    verify_key_of(args, APPROVAL)
}

/// What the names of flags for approval keys start with.
const APPROVAL: &str = "approval-";

fn verify_key_of(args: &Args, prefix: &str) -> Result<Option<PublicKey>, Failure> {
    let public = source(args, prefix, "public")?;
    let private = source(args, prefix, "private")?;
    match (public, private) {
        (Some(public), _) => {
            let text = public.text("public")?;
            PublicKey::from_base64(&text).map(Some).map_err(Failure::invalid)
        }
        (None, Some(private)) => load_private(&private).map(|key| Some(key.public())),
        (None, None) => Ok(None),
    }
}

/// The key that `--private-key[-env]` name.
///
/// # Errors
/// As [`verify_key`].
pub fn signing_key(args: &Args) -> Result<Option<PrivateKey>, Failure> {
    source(args, "", "private")?.map(|private| load_private(&private)).transpose()
}

/// Where a signing key comes from: `signing.key_source` of the enforcement receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    Local,
    File,
    Env,
}

impl KeySource {
    /// The word of the contract (guarded-run 4).
    pub const fn word(self) -> &'static str {
        match self {
            KeySource::Local => "local",
            KeySource::File => "file",
            KeySource::Env => "env",
        }
    }
}

/// The key that `--private-key[-env]` name, else the local key, which is made if there is none.
///
/// # Errors
/// As [`signing_key`] and [`local_key::load_or_make`].
pub fn signing_key_or_local(args: &Args) -> Result<(PrivateKey, KeySource), Failure> {
    match source(args, "", "private")? {
        Some(private @ Source::File(_)) => Ok((load_private(&private)?, KeySource::File)),
        Some(private @ Source::Variable(_)) => Ok((load_private(&private)?, KeySource::Env)),
        None => Ok((local_key::load_or_make()?.0, KeySource::Local)),
    }
}

/// The flags that make the strict profile accept what the key of these flags signed; nothing if no key is named.
pub fn strict_flags(args: &Args) -> Option<String> {
    let named = ["private-key", "private-key-env"].iter().find_map(|flag| Some((flag, given(args, flag)?)));
    named.map(|(flag, value)| format!("--profile strict --{flag} {}", shell_word(&value.to_string_lossy())))
}

/// `text` as one word of a shell.
pub fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) { text.into() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Whether any flag names a key, readable or not.
pub fn names_a_key(args: &Args) -> bool {
    ["public-key", "public-key-env", "private-key", "private-key-env"].iter().any(|flag| given(args, flag).is_some())
}

/// Whether a flag names a private key to sign with, readable or not.
pub fn names_a_private_key(args: &Args) -> bool {
    ["private-key", "private-key-env"].iter().any(|flag| given(args, flag).is_some())
}

/// The environment variables that hold private keys of this call: not for programs that it starts.
pub fn private_variables(args: &Args) -> Vec<OsString> {
    let names = ["private-key-env".to_owned(), format!("{APPROVAL}private-key-env")];
    names.iter().filter_map(|flag| given(args, flag).map(OsStr::to_os_string)).collect()
}

/// The public key in the file at `path`.
///
/// # Errors
/// It can't be read or is no key: exit 6.
pub fn public_key_file(path: &Path) -> Result<PublicKey, Failure> {
    PublicKey::from_base64(&Source::File(path).text("public")?).map_err(Failure::invalid)
}

fn load_private(private: &Source) -> Result<PrivateKey, Failure> {
    let text = private.text("private")?;
    PrivateKey::from_base64(&text).map_err(Failure::invalid)
}

enum Source<'a> {
    File(&'a Path),
    Variable(&'a OsStr),
}

impl Source<'_> {
    /// The text of a key, wiped when dropped.
    fn text(&self, half: &str) -> Result<Zeroizing<String>, Failure> {
        match self {
            Source::File(path) if half == "private" => private_file::read(path),
            Source::File(path) => read_public(path),
            Source::Variable(name) => {
                let value = std::env::var_os(name).map(|value| Zeroizing::new(value.to_string_lossy().into_owned()));
                value
                    .filter(|text| !text.trim().is_empty())
                    .ok_or_else(|| Failure::invalid(format!("{half} key env not set: {}", name.to_string_lossy())))
            }
        }
    }
}

/// Longer than any key in base64, with a lot of blanks.
const MAX_BYTES: u64 = 64 * 1024;

fn read_public(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::invalid(format!("read public key: {error}"));
    let file = File::open(path).map_err(PathError::of("open", path)).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(PathError::of("read", path))
        .map_err(|error| failed(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(failed(&format!("{} is too long for a key", path.display())));
    }
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

fn given<'a>(args: &'a Args, flag: &str) -> Option<&'a OsStr> {
    args.raw(flag).filter(|value| !value.is_empty())
}

fn source<'a>(args: &'a Args, prefix: &str, half: &str) -> Result<Option<Source<'a>>, Failure> {
    match (given(args, &format!("{prefix}{half}-key")), given(args, &format!("{prefix}{half}-key-env"))) {
        (Some(_), Some(_)) => Err(Failure::invalid(format!("{half} key source: set either path or env"))),
        (Some(path), None) => Ok(Some(Source::File(Path::new(path)))),
        (None, Some(name)) => Ok(Some(Source::Variable(name))),
        (None, None) => Ok(None),
    }
}
