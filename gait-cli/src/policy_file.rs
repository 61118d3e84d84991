//! Policy files that commands are given: read, and their faults told with their place.

use crate::failure::Failure;
use crate::render::Form;
use gait_core::file;
use gait_core::policy::{Policy, PolicyError, Position, Strictness};
use std::ffi::OsStr;
use std::path::Path;

/// Largest file that is read as a policy.
const LIMIT_BYTES: usize = 64 << 20;

/// The bytes of the policy file at `path`.
///
/// # Errors
/// It can't be read, or is too large to be one: exit 6.
pub fn bytes(path: &OsStr) -> Result<Vec<u8>, Failure> {
    let bytes = file::read(Path::new(path)).map_err(|error| Failure::invalid(format!("read policy: {error}")))?;
    if bytes.len() > LIMIT_BYTES {
        return Err(Failure::invalid(format!("read policy: larger than {} MiB", LIMIT_BYTES >> 20)));
    }
    Ok(bytes)
}

/// The policy in `bytes`, which were read from `path`. In text form an error says where it is and what other readers do.
///
/// # Errors
/// It is none: exit 6.
pub fn parse(path: &OsStr, bytes: &[u8], strictness: Strictness, form: Form) -> Result<Policy, Failure> {
    let error = match Policy::parse_bytes(bytes, strictness) {
        Ok(policy) => return Ok(policy),
        Err(error) => error,
    };
    let only_strict = strictness == Strictness::Strict && Policy::parse_bytes(bytes, Strictness::Lenient).is_ok();
    let failure = Failure::invalid(&error);
    Err(match (only_strict, place(path, &error)) {
        (true, _) => failure.with_hint("correct the policy; --lenient reads it as other readers do"),
        (false, Some(place)) if form == Form::Text => failure.with_hint(format!("see {place}")),
        (false, _) => failure,
    })
}

/// The policy at `path`.
///
/// # Errors
/// As [`bytes`] and [`parse`].
pub fn read(path: &OsStr, strictness: Strictness, form: Form) -> Result<Policy, Failure> {
    parse(path, &bytes(path)?, strictness, form)
}

fn place(path: &OsStr, error: &PolicyError) -> Option<String> {
    error.position().map(|at| at_place(path, at))
}

/// `path:line:column`, as editors understand it.
pub fn at_place(path: &OsStr, at: Position) -> String {
    format!("{}:{}:{}", Path::new(path).display(), at.line, at.column)
}

/// A list as it is shown to people: the first few, and how many more there are.
pub fn some(list: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = list.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match list.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}
