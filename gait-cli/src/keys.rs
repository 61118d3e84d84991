//! Keys named on the command line (contract, artifacts 3.7 and control 3.2).

use crate::failure::Failure;
use crate::flags::Args;
use crate::local_key;
use gait_core::file;
use gait_core::signature::{PrivateKey, PublicKey};
use std::ffi::OsStr;
use std::path::Path;

/// The key that `--public-key[-env]` or, as its public half, `--private-key[-env]` name; a public source wins.
///
/// # Errors
/// Two sources of one kind, a source that can't be read, a text that is no key: all exit 6.
pub fn verify_key(args: &Args) -> Result<Option<PublicKey>, Failure> {
    let public = source(args, "public")?;
    let private = source(args, "private")?;
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
    source(args, "private")?.map(|private| load_private(&private)).transpose()
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
    match source(args, "private")? {
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

fn load_private(private: &Source) -> Result<PrivateKey, Failure> {
    let text = private.text("private")?;
    PrivateKey::from_base64(&text).map_err(Failure::invalid)
}

enum Source<'a> {
    File(&'a Path),
    Variable(&'a OsStr),
}

impl Source<'_> {
    fn text(&self, half: &str) -> Result<String, Failure> {
        match self {
            Source::File(path) => {
                let bytes = file::read(path).map_err(|error| Failure::invalid(format!("read {half} key: {error}")))?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Source::Variable(name) => {
                let value = std::env::var_os(name).map(|value| value.to_string_lossy().trim().to_string());
                value
                    .filter(|text| !text.is_empty())
                    .ok_or_else(|| Failure::invalid(format!("{half} key env not set: {}", name.to_string_lossy())))
            }
        }
    }
}

fn given<'a>(args: &'a Args, flag: &str) -> Option<&'a OsStr> {
    args.raw(flag).filter(|value| !value.is_empty())
}

fn source<'a>(args: &'a Args, half: &str) -> Result<Option<Source<'a>>, Failure> {
    match (given(args, &format!("{half}-key")), given(args, &format!("{half}-key-env"))) {
        (Some(_), Some(_)) => Err(Failure::invalid(format!("{half} key source: set either path or env"))),
        (Some(path), None) => Ok(Some(Source::File(Path::new(path)))),
        (None, Some(name)) => Ok(Some(Source::Variable(name))),
        (None, None) => Ok(None),
    }
}
