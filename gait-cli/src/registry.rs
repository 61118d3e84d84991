//! Where registry packs are kept and come from (contract, control 15.2).

use crate::failure::Failure;
use crate::flags::Args;
use gait_core::intent::TargetKind;
use gait_core::intent::infer::derived_domain;
use gait_core::registry::Cache;
use std::path::PathBuf;

/// The cache that `--cache-dir` names, else the one of this user.
///
/// # Errors
/// None is named, and there is no home: exit 6.
pub fn cache(args: &Args) -> Result<Cache, Failure> {
    if let Some(folder) = args.trimmed("cache-dir") {
        return Ok(Cache::new(folder));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.ok_or_else(|| Failure::invalid("no home directory").with_hint("add --cache-dir"))?;
    Ok(Cache::new(PathBuf::from(home).join(".gait/registry")))
}

/// Where a manifest comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A host that was allowed by name.
    Remote,
}

/// Why a source is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("remote source requires https")]
    NotHttps,
    #[error("remote source requires --allow-host")]
    NoHosts,
    #[error("source host {0} is not in allowlist")]
    Host(String),
    #[error("file URL {0:?} names no file of this machine")]
    FileUrl(String),
}

/// What `text` names, if it may.
///
/// # Errors
/// [`SourceError`], the first that applies.
pub fn source(text: &str, hosts: &[String], insecure: bool) -> Result<Source, SourceError> {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("file:") {
        return file_url(text).map(Source::File).ok_or_else(|| SourceError::FileUrl(text.to_string()));
    }
    let is_http = lower.starts_with("http://");
    if !is_http && !lower.starts_with("https://") {
        return Ok(Source::File(PathBuf::from(text)));
    }
    if is_http && !insecure {
        return Err(SourceError::NotHttps);
    }
    if hosts.is_empty() {
        return Err(SourceError::NoHosts);
    }
    let host = derived_domain(TargetKind::Url, text).unwrap_or_default().into_owned();
    if hosts.iter().any(|allowed| allowed.to_lowercase() == host) {
        Ok(Source::Remote)
    } else {
        Err(SourceError::Host(host))
    }
}

/// The path of `file:///path` or `file://localhost/path`.
fn file_url(text: &str) -> Option<PathBuf> {
    let rest = text.get("file://".len()..).filter(|_| text[.."file://".len()].eq_ignore_ascii_case("file://"))?;
    let path = if rest.starts_with('/') {
        rest
    } else {
        rest.strip_prefix("localhost").filter(|rest| rest.starts_with('/'))?
    };
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|byte| *byte != 0)?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_file_or_a_host_that_is_allowed() {
        let hosts = ["Registry.Example".to_string()];
        let file = |path: &str| Ok(Source::File(PathBuf::from(path)));
        for (text, hosts, expected) in [
            ("pack.json", &hosts[..], file("pack.json")),
            ("file:///a/b%20c", &[], file("/a/b c")),
            ("file://localhost/a", &[], file("/a")),
            ("file://other/a", &[], Err(SourceError::FileUrl("file://other/a".into()))),
            ("file:///a%0", &[], Err(SourceError::FileUrl("file:///a%0".into()))),
            ("http://registry.example/p", &hosts, Err(SourceError::NotHttps)),
            ("https://registry.example/p", &[], Err(SourceError::NoHosts)),
            ("https://registry.example/p", &hosts, Ok(Source::Remote)),
            ("https://u@REGISTRY.example:8443/p", &hosts, Ok(Source::Remote)),
            ("https://evil.example/p?registry.example", &hosts, Err(SourceError::Host("evil.example".into()))),
            ("https://registry.example@evil.example/p", &hosts, Err(SourceError::Host("evil.example".into()))),
        ] {
            assert_eq!(source(text, hosts, false), expected, "{text}");
        }
        assert_eq!(source("http://registry.example/p", &hosts, true), Ok(Source::Remote));
    }
}
