//! Subjects near what the patterns of a policy match, and far from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use gait_core::name::raw_bytes;
use gait_core::policy::Policy;
use gait_core::policy::pattern::{Token, Tree};
use gait_ebpf::tables::PATH_BYTES;

use super::dice::Dice;

const HOSTS: &[&str] =
    &["127.0.0.1", "127.0.0.11", "10.1.2.3", "10.12.0.1", "192.168.0.7", "::1", "2001:db8::7", "fe80::1"];
const ODD: &[&[u8]] = &[
    b"\n",
    b"\0",
    b"\"",
    b"\\",
    b" ",
    b"\xc2\xa0",
    b"\xe2\x80\x83",
    b"\xc3\xa9",
    b"\xe2\x82\xac",
    b"\xf0\x90\x8d\x88",
    b"\x80",
    b"\xff",
    b"\xc3",
    b"\xe2\x82",
    b"\xf4\x8f\xbb\xa9",
    b"\xed\xa0\x80",
    b"/",
    b"//",
    b"/.",
    b"/..",
    b"a",
    b"b",
    b"*",
];

const UNITS: &[&[u8]] = &[b"/a", b"/\xc3\xa9", b"/x ", b"y", b"/.env", b"\xff"];

/// What a policy's patterns and exact values are made of.
pub struct Subjects {
    patterns: Vec<Vec<Token>>,
    exact: Vec<Vec<u8>>,
    hosts: Vec<IpAddr>,
}

impl Subjects {
    /// Those of a policy.
    pub fn of(policy: &Policy) -> Self {
        let mut subjects = Self { patterns: Vec::new(), exact: Vec::new(), hosts: Vec::new() };
        subjects.hosts.extend(HOSTS.iter().map(|host| host.parse::<IpAddr>().unwrap()));
        for rule in policy.rules() {
            subjects.exact.extend(rule.matcher.target_values.iter().map(|value| raw_bytes(value)));
            let Some(endpoint) = &rule.endpoint else { continue };
            for pattern in endpoint.path_allowlist.iter().chain(&endpoint.path_denylist) {
                subjects.patterns.extend_from_slice(pattern.alternatives());
                subjects.exact.push(raw_bytes(pattern.text()));
            }
            let domains = endpoint.domain_allowlist.iter().chain(&endpoint.domain_denylist);
            subjects.hosts.extend(domains.filter_map(|domain| domain.text().parse::<IpAddr>().ok()));
        }
        subjects
    }

    /// Bytes of 0 to 4096, most of them near a pattern.
    pub fn bytes(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = match dice.below(16) {
            0 => noise(dice),
            1 if !self.exact.is_empty() => dice.pick(&self.exact).clone(),
            _ if self.patterns.is_empty() => [b"/".as_slice(), &segments(dice)].concat(),
            _ => {
                let pattern: &Vec<Token> = dice.pick(&self.patterns);
                instance(pattern, dice)
            }
        };
        if dice.once_in(2) {
            mutate(&mut bytes, dice);
        }
        if dice.once_in(64) {
            lengthen(&mut bytes, dice);
        }
        bytes.truncate(PATH_BYTES);
        bytes
    }

    /// The same as a kernel gives paths: absolute, without empty segments, `.` or `..`, and without a NUL.
    pub fn path(&self, dice: &mut Dice) -> Vec<u8> {
        let mut path = Vec::new();
        for segment in self.bytes(dice).split(|byte| *byte == b'/' || *byte == 0) {
            if !matches!(segment, b"" | b"." | b"..") {
                path.push(b'/');
                path.extend_from_slice(segment);
            }
        }
        path.truncate(PATH_BYTES);
        while path.ends_with(b"/") || path.ends_with(b"/.") || path.ends_with(b"/..") {
            path.pop();
        }
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    /// An address that is in the policy, near one that is, or anywhere. Now and then of port 53, or IPv4 in IPv6.
    pub fn address(&self, is_dns: bool, dice: &mut Dice) -> SocketAddr {
        let mut host = match dice.below(4) {
            0 => IpAddr::V4(Ipv4Addr::from_bits(u32::from_ne_bytes(*dice.bytes().first_chunk().unwrap()))),
            1 => IpAddr::V6(Ipv6Addr::from(dice.bytes())),
            _ => *dice.pick(&self.hosts),
        };
        if dice.once_in(4) {
            host = match host {
                IpAddr::V4(host) => IpAddr::V4(Ipv4Addr::from_bits(host.to_bits() ^ 1 << dice.below(32))),
                IpAddr::V6(host) => IpAddr::V6(Ipv6Addr::from_bits(host.to_bits() ^ 1 << dice.below(128))),
            };
        }
        if let IpAddr::V4(v4) = host
            && dice.once_in(8)
        {
            host = IpAddr::V6(v4.to_ipv6_mapped());
        }
        let any = u16::from_ne_bytes(*dice.bytes().first_chunk().unwrap());
        let port = *dice.pick(&[443, 80, 0, 8080, 54, 65535, any]);
        SocketAddr::new(
            host,
            if is_dns {
                53
            } else if port == 53 {
                52
            } else {
                port
            },
        )
    }
}

fn noise(dice: &mut Dice) -> Vec<u8> {
    let length = dice.below(80);
    (0..length).map(|_| dice.byte()).collect()
}

fn segments(dice: &mut Dice) -> Vec<u8> {
    let parts: Vec<&[u8]> =
        (0..dice.below(4)).map(|_| *dice.pick(&[b"a".as_slice(), b"b", b"ab", b"w", b"p", b".env", b"x"])).collect();
    parts.join(&b'/')
}

/// Something that the tokens match.
fn instance(tokens: &[Token], dice: &mut Dice) -> Vec<u8> {
    let mut text = String::new();
    for token in tokens {
        match token {
            Token::Char(char) => text.push(*char),
            Token::AnyChar => text.push(*dice.pick(&['a', 'b', '.', 'é', '€', '\n', '\u{10fe80}', '\u{10feff}'])),
            Token::AnyRun => {
                (0..dice.below(4)).for_each(|_| text.push(*dice.pick(&['a', 'b', 'e', '.', 'é', ' ', '\u{10fec3}'])))
            }
            Token::Class { negated: false, ranges } if !ranges.is_empty() => {
                let (first, last) = *dice.pick(ranges);
                let width = (u32::from(last).saturating_sub(u32::from(first)) + 1) as usize;
                text.push(char::from_u32(u32::from(first) + dice.below(width) as u32).unwrap_or(first));
            }
            Token::Class { .. } => text.push(*dice.pick(&['z', 'b', '~', '€', '/'])),
            Token::Tree(tree) => {
                let inner = String::from_utf8_lossy(&segments(dice)).into_owned();
                let is_short = inner.is_empty();
                match tree {
                    Tree::Leading if is_short => {}
                    Tree::Leading => text.extend(["/", &inner, "/"]),
                    Tree::Middle if is_short => text.push('/'),
                    Tree::Middle => text.extend(["/", &inner, "/"]),
                    Tree::Trailing if is_short => {}
                    Tree::Trailing | Tree::Whole => text.extend(["/", &inner]),
                }
            }
        }
    }
    // Characters that stand for bytes become those bytes, so some of this is not UTF-8.
    raw_bytes(&text)
}

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..1 + dice.below(3) {
        let at = dice.below(bytes.len() + 1);
        let odd: &&[u8] = dice.pick(ODD);
        match dice.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_slice(odd),
            2 => drop(bytes.splice(at..at, odd.iter().copied())),
            3 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            4 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.extend_from_slice(&segments(dice)),
        }
    }
}

/// Up to the longest path, often to the last byte of it.
fn lengthen(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let unit: &&[u8] = dice.pick(UNITS);
    let length = match dice.below(4) {
        0 => PATH_BYTES,
        1 => PATH_BYTES - 1,
        _ => dice.below(PATH_BYTES),
    };
    let tail = if dice.once_in(2) { std::mem::take(bytes) } else { Vec::new() };
    while bytes.len() + tail.len() < length {
        bytes.extend_from_slice(unit);
    }
    bytes.truncate(length.saturating_sub(tail.len()));
    bytes.extend(tail);
}
