//! Which file or host a manifest may come from (contract, control 15.2).

use std::path::PathBuf;
use ureq::http::Uri;
use ureq::http::uri::Scheme;

/// Where a manifest comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A host that was allowed by name.
    Remote(Uri),
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
    #[error("source is not a URL that can be fetched: {0}")]
    Url(String),
    #[error("file URL {0:?} names no file of this machine")]
    FileUrl(String),
}

/// What the caller lets a manifest come from. Redirects are judged by it like the source itself.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// Names of hosts, without ports.
    pub hosts: Vec<String>,
    /// Whether `http` will do.
    pub insecure_http: bool,
}

impl Allowed {
    /// What `text` names, if it may.
    ///
    /// # Errors
    /// [`SourceError`], the first that applies.
    pub fn source(&self, text: &str) -> Result<Source, SourceError> {
        if has_scheme(text, "file:") {
            return file_url(text).map(Source::File).ok_or_else(|| SourceError::FileUrl(text.to_string()));
        }
        if has_scheme(text, "http://") || has_scheme(text, "https://") {
            return self.url(text).map(Source::Remote);
        }
        Ok(Source::File(PathBuf::from(text)))
    }

    /// The URL `text`, if it may be fetched. The host that is looked up in the list is the one of the value that the
    /// client connects with, so that no two parsers can disagree about it.
    ///
    /// # Errors
    /// [`SourceError`], the first that applies.
    pub fn url(&self, text: &str) -> Result<Uri, SourceError> {
        let is_secure = has_scheme(text, "https:");
        if !is_secure && (!self.insecure_http || !has_scheme(text, "http:")) {
            return Err(SourceError::NotHttps);
        }
        if self.hosts.is_empty() {
            return Err(SourceError::NoHosts);
        }
        let url: Uri = text.parse().map_err(|error| SourceError::Url(format!("{error}")))?;
        let is_http = url.scheme() == Some(&Scheme::HTTP) || url.scheme() == Some(&Scheme::HTTPS);
        let host = plain_host(url.host().unwrap_or_default());
        if !is_http || host.is_empty() {
            return Err(SourceError::Url("it has no host".into()));
        }
        if self.hosts.iter().any(|allowed| plain_host(allowed) == host) {
            Ok(url)
        } else {
            Err(SourceError::Host(host))
        }
    }
}

/// A host in lower case, and without the brackets of an IPv6 address.
fn plain_host(host: &str) -> String {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_lowercase()
}

fn has_scheme(text: &str, scheme: &str) -> bool {
    text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// The URL that `location` names in an answer to `base` (RFC 3986, 5.2), without fragment.
pub fn redirected(base: &Uri, location: &str) -> String {
    let location = location.trim().split('#').next().unwrap_or_default();
    let scheme = base.scheme_str().unwrap_or_default();
    let origin = format!("{scheme}://{}", base.authority().map_or("", |authority| authority.as_str()));
    let before_path = &location[..location.find(['/', '?']).unwrap_or(location.len())];
    if before_path.contains(':') {
        location.to_string()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{origin}{location}")
    } else if location.is_empty() {
        base.to_string()
    } else if location.starts_with('?') {
        format!("{origin}{}{location}", base.path())
    } else {
        let folder = &base.path()[..=base.path().rfind('/').unwrap_or_default()];
        let (path, query) = location.split_at(location.find('?').unwrap_or(location.len()));
        format!("{origin}{}{query}", without_dots(&format!("{folder}{path}")))
    }
}

/// An absolute path without `.` and `..`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let last = path.rsplit('/').next().unwrap_or_default();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(part),
        }
    }
    let end = if (last == "." || last == "..") && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
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
        let hosts = ["Registry.Example", "::1"];
        let allowed = |hosts: &[&str], insecure_http| Allowed {
            hosts: hosts.iter().map(|host| host.to_string()).collect(),
            insecure_http,
        };
        let file = |path: &str| Ok(Source::File(PathBuf::from(path)));
        let remote = |url: &str| Ok(Source::Remote(url.parse().unwrap()));
        let host = |name: &str| Err(SourceError::Host(name.into()));
        for (text, hosts, expected) in [
            ("pack.json", &hosts[..], file("pack.json")),
            ("http:pack.json", &hosts, file("http:pack.json")),
            ("file:///a/b%20c", &[], file("/a/b c")),
            ("file://localhost/a", &[], file("/a")),
            ("file://other/a", &[], Err(SourceError::FileUrl("file://other/a".into()))),
            ("file:///a%0", &[], Err(SourceError::FileUrl("file:///a%0".into()))),
            ("http://registry.example/p", &hosts, Err(SourceError::NotHttps)),
            ("HTTP://registry.example/p", &hosts, Err(SourceError::NotHttps)),
            ("https://registry.example/p", &[], Err(SourceError::NoHosts)),
            ("https://registry.example/p", &hosts, remote("https://registry.example/p")),
            ("https://u@REGISTRY.example:8443/p", &hosts, remote("https://u@REGISTRY.example:8443/p")),
            ("https://[::1]:8443/p", &hosts, remote("https://[::1]:8443/p")),
            ("https://evil.example/p?registry.example", &hosts, host("evil.example")),
            ("https://registry.example@evil.example/p", &hosts, host("evil.example")),
            ("https://registry.example.evil.example/p", &hosts, host("registry.example.evil.example")),
            ("https://registry.example./p", &hosts, host("registry.example.")),
        ] {
            assert_eq!(allowed(hosts, false).source(text), expected, "{text}");
        }
        for text in ["https://registry.example\\@evil.example/", "https://evil.example\\.registry.example/", "https://"]
        {
            assert!(matches!(allowed(&hosts, true).source(text), Err(SourceError::Url(_))), "{text}");
        }
        assert_eq!(allowed(&hosts, true).source("http://registry.example/p"), remote("http://registry.example/p"));
    }

    #[test]
    fn a_redirect_is_resolved_as_browsers_do() {
        let base = "https://u@a.example:8/b/c/d?q".parse().unwrap();
        for (location, expected) in [
            ("http://x.example/p#f", "http://x.example/p"),
            ("//x.example/p", "https://x.example/p"),
            ("/p?x=/../:", "https://u@a.example:8/p?x=/../:"),
            ("p", "https://u@a.example:8/b/c/p"),
            ("./p?y", "https://u@a.example:8/b/c/p?y"),
            ("../../../p", "https://u@a.example:8/p"),
            ("..", "https://u@a.example:8/b/"),
            ("?y", "https://u@a.example:8/b/c/d?y"),
            ("file:///etc/passwd", "file:///etc/passwd"),
        ] {
            assert_eq!(redirected(&base, location), expected, "{location}");
        }
    }
}
