//! What an intent does not say about a target: class, domain, destructiveness (control 4.1).

use std::borrow::Cow;

use super::vocabulary::{EndpointClass, TargetKind};
use crate::text::lower;

/// The class of a target that names none, from its kind, its operation and the tool.
///
/// The tool counts by *substring* of its last `/`-separated element: `tool.format` holds `rm` and so
/// deletes. Digests depend on that; producers that know better send a class.
pub fn endpoint_class(kind: TargetKind, operation: &str, tool_name: &str) -> EndpointClass {
    let tool = tool_name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let hinted = |words: &[&str]| words.iter().any(|word| tool.contains(word));
    match kind {
        TargetKind::Path => path_class(operation, hinted),
        TargetKind::Host | TargetKind::Url => match operation {
            "dns" | "resolve" | "lookup" => EndpointClass::NetDns,
            _ => EndpointClass::NetHttp,
        },
        TargetKind::Other => {
            let words = ["exec", "shell", "command", "spawn", "run"];
            if words.contains(&operation) || hinted(&words) { EndpointClass::ProcExec } else { EndpointClass::Other }
        }
        TargetKind::Bucket | TargetKind::Queue | TargetKind::Repo | TargetKind::Table | TargetKind::Topic => {
            EndpointClass::Other
        }
    }
}

fn path_class(operation: &str, hinted: impl Fn(&[&str]) -> bool) -> EndpointClass {
    match operation {
        "read" | "get" | "list" | "open" | "cat" | "head" | "download" | "stat" => EndpointClass::FsRead,
        "write" | "append" | "put" | "create" | "update" | "save" | "copy" | "move" | "rename" => {
            EndpointClass::FsWrite
        }
        "delete" | "remove" | "rm" | "unlink" | "rmdir" | "drop" | "truncate" => EndpointClass::FsDelete,
        _ if hinted(&["read", "list", "fetch", "search"]) => EndpointClass::FsRead,
        _ if hinted(&["write", "update", "save", "create"]) => EndpointClass::FsWrite,
        _ if hinted(&["delete", "remove", "rm", "drop"]) => EndpointClass::FsDelete,
        _ => EndpointClass::Other,
    }
}

/// Whether class or operation alone make a target destructive.
pub fn is_destructive(class: EndpointClass, operation: &str) -> bool {
    matches!(class, EndpointClass::FsDelete | EndpointClass::ProcExec)
        || matches!(operation, "delete" | "remove" | "rm" | "unlink" | "rmdir" | "drop" | "truncate" | "exec" | "spawn")
}

/// The domain of a target that names none; empty if there is none. This is what digests depend on, with
/// its faults (`[::1]:80` gives `[`); [`domains`] is what decisions rest on.
pub fn endpoint_domain(kind: TargetKind, value: &str) -> Cow<'_, str> {
    match kind {
        TargetKind::Host => {
            let value = value.strip_prefix("http://").unwrap_or(value);
            let value = value.strip_prefix("https://").unwrap_or(value);
            let host = value.split('/').next().unwrap_or_default();
            lower(host.split(':').next().unwrap_or_default().trim())
        }
        TargetKind::Url => lower(url_host(value).unwrap_or_default()),
        _ => Cow::Borrowed(""),
    }
}

/// The host that a `host` or `url` target really names, whatever the intent says; nothing if it can't be
/// told. Lower case, without scheme, user, port, brackets and final dot.
pub fn derived_domain(kind: TargetKind, value: &str) -> Option<Cow<'_, str>> {
    let authority = match kind {
        TargetKind::Host => value.split_once("://").map_or(value, |(_, rest)| rest),
        TargetKind::Url => return url_host(value).filter(|host| !host.is_empty()).map(canonical_host),
        _ => return None,
    };
    let authority = authority.split(['/', '?', '#', '\\']).next()?;
    let host_port = authority.rsplit('@').next()?;
    let host = match host_port.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?.0,
        // More than one colon and no brackets: an IPv6 address without port.
        None if host_port.matches(':').count() > 1 => host_port,
        None => host_port.split(':').next()?,
    };
    let host = canonical_host(host.trim());
    (!host.is_empty()).then_some(host)
}

/// Lower case, without the final dot that names the same host.
pub fn canonical_host(host: &str) -> Cow<'_, str> {
    lower(host.strip_suffix('.').unwrap_or(host))
}

/// Host name of a URL as Go's `net/url` parses it: nothing if it does not parse, empty without authority.
fn url_host(url: &str) -> Option<&str> {
    let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
    if url.bytes().chain(fragment.bytes()).any(|byte| byte < 0x20 || byte == 0x7F) || !has_good_escapes(fragment) {
        return None;
    }
    let (scheme, rest) = split_scheme(url)?;
    let rest = rest.split('?').next().unwrap_or_default();
    if !rest.starts_with('/') {
        let first_segment = rest.split('/').next().unwrap_or_default();
        return (!scheme.is_empty() || !first_segment.contains(':')).then_some("");
    }
    let after_slashes = rest.strip_prefix("//").filter(|_| !scheme.is_empty() || !rest.starts_with("///"));
    let Some(after_slashes) = after_slashes else { return has_good_escapes(rest).then_some("") };
    let (authority, path) = after_slashes.split_at(after_slashes.find('/').unwrap_or(after_slashes.len()));
    if !has_good_escapes(path) {
        return None;
    }
    authority_host(authority)
}

/// Scheme (may be empty) and rest; nothing if the URL starts with a colon.
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    for (index, byte) in url.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index > 0 => return Some((&url[..index], &url[index + 1..])),
            b':' => return None,
            _ => break,
        }
    }
    Some(("", url))
}

fn authority_host(authority: &str) -> Option<&str> {
    let host_port = match authority.rsplit_once('@') {
        Some((user, host_port)) if is_userinfo(user) && has_good_escapes(user) => host_port,
        Some(_) => return None,
        None => authority,
    };
    let host = match host_port.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.rsplit_once(']')?;
            port.is_empty().then_some(()).or_else(|| optional_port(port))?;
            host
        }
        None => match host_port.rfind(':') {
            Some(colon) => {
                optional_port(&host_port[colon..])?;
                &host_port[..colon]
            }
            None => host_port,
        },
    };
    host.bytes().all(is_host_byte).then_some(host)
}

fn is_userinfo(user: &str) -> bool {
    user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte))
}

/// `:` and digits, or only `:`.
fn optional_port(port: &str) -> Option<()> {
    port.strip_prefix(':')?.bytes().all(|byte| byte.is_ascii_digit()).then_some(())
}

/// What a host may hold unescaped. Escapes in hosts stand for bytes that no name has, so such a URL is
/// treated as one without a domain.
fn is_host_byte(byte: u8) -> bool {
    byte >= 0x80 || byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}

fn has_good_escapes(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(index, _)| {
        bytes.get(index + 1..index + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(kind: TargetKind, operation: &str, tool: &str) -> &'static str {
        endpoint_class(kind, operation, tool).as_str()
    }

    #[test]
    fn classes_follow_the_table_of_control_4_1() {
        assert_eq!(class(TargetKind::Path, "append", "tool.read"), "fs.write");
        assert_eq!(class(TargetKind::Path, "", "tool.read"), "fs.read");
        assert_eq!(class(TargetKind::Path, "", "tool.format"), "fs.delete");
        assert_eq!(class(TargetKind::Path, "", "rm/x/"), "other");
        assert_eq!(class(TargetKind::Path, "", "x/rm//"), "fs.delete");
        assert_eq!(class(TargetKind::Host, "lookup", ""), "net.dns");
        assert_eq!(class(TargetKind::Url, "post", ""), "net.http");
        assert_eq!(class(TargetKind::Other, "", "tool.runner"), "proc.exec");
        assert_eq!(class(TargetKind::Bucket, "delete", ""), "other");
    }

    #[test]
    fn hosts_give_the_domain_that_the_contract_describes() {
        for (value, domain) in [
            ("books.example", "books.example"),
            ("http://https://Ex.Com/x", "ex.com"),
            ("HTTPS://Ex.Com:8443/p", "https"),
            ("[::1]:80", "["),
            ("a b:1", "a b"),
        ] {
            assert_eq!(endpoint_domain(TargetKind::Host, value), domain, "{value}");
        }
    }

    #[test]
    fn urls_give_the_host_that_go_parses() {
        for (value, domain) in [
            ("https://Books.Example:8443/v1", "books.example"),
            ("https://user:pw@Host.example/x?y#z", "host.example"),
            ("https://[::1]:80/x", "::1"),
            ("https://a.example:/", "a.example"),
            ("//a.example/x", "a.example"),
            ("///a.example/x", ""),
            ("file:///etc/passwd", ""),
            ("mailto:a@b.example", ""),
            ("a.example/x", ""),
            ("https://a b.example/", ""),
            ("https://a\\b.example/", ""),
            ("https://a.example:port/", ""),
            ("https://a.example/%zz", ""),
            ("https://a.example/%41", "a.example"),
            (":x", ""),
            ("https://a.example?x=1", "a.example"),
            ("https://a%2eexample/", ""),
        ] {
            assert_eq!(endpoint_domain(TargetKind::Url, value), domain, "{value}");
        }
    }

    #[test]
    fn the_derived_domain_sees_what_inference_misses() {
        for (kind, value, domain) in [
            (TargetKind::Host, "HTTPS://Ex.Com:8443/p", Some("ex.com")),
            (TargetKind::Host, "[::1]:80", Some("::1")),
            (TargetKind::Host, "fe80::1", Some("fe80::1")),
            (TargetKind::Host, "evil.example.:443", Some("evil.example")),
            (TargetKind::Host, "user@evil.example", Some("evil.example")),
            (TargetKind::Url, "https://a b.example/", None),
            (TargetKind::Url, "https://EVIL.example./", Some("evil.example")),
            (TargetKind::Other, "evil.example", None),
        ] {
            assert_eq!(derived_domain(kind, value).as_deref(), domain, "{value}");
        }
    }
}
