//! Random policies: what the property tests of the compiler draw, from the same pieces.

use gait_core::policy::{Policy, Strictness};
use serde_json::{Value, json};

use super::dice::Dice;

const PIECES: &[&str] = &[
    "/",
    "/",
    "/",
    "a",
    "b",
    "ab",
    ".env",
    ".git",
    "w",
    "p",
    "*",
    "*",
    "?",
    "/**",
    "**/",
    "/**/",
    "[a-c]",
    "[^a]",
    "[^/]",
    "\\*",
    "\\[",
    "é",
    "€",
    "[é-€]",
    " ",
    "\u{a0}",
    "\u{2003}x",
    "\u{10fe20}",
    "\u{10fec3}",
    "\u{10348}",
    "[",
    "a]",
    "..",
];
const PATTERNS: &[&str] = &[
    "/a/**",
    "/w/p/**",
    "**/.env",
    "/a/*/b",
    "**",
    "/**",
    "**/.git/**",
    "/a/**/b",
    "/a/b",
    "**/*a",
    "**/a*",
    "/w/*",
    "/a/??",
    "/ ",
    "/a\u{a0}",
    "**/\u{10fee9}*",
];
const DOMAINS: &[&str] =
    &["a.example", "*", "127.0.0.1", "127.*", "10.?.*", "::1", "2001:db8::*", "*:*", "*.*.*.*", "1[0-9].*", "["];
const VALUES: &[&str] =
    &["/a/b", "/a", "memfd:x", "unix:@x", "unix:unnamed", "127.0.0.1:443", "[::1]:53", "/é", "/a\u{10fe20}"];
const VERDICTS: &[&str] = &["allow", "allow", "block", "dry_run", "require_approval"];

/// A policy. Lenient: a malformed pattern has a meaning too.
pub fn policy(dice: &mut Dice) -> Policy {
    let rules: Vec<Value> = (0..1 + dice.below(5)).map(|_| rule(dice)).collect();
    let document = json!({
        "default_verdict": dice.pick(VERDICTS),
        "fail_closed": { "enabled": dice.once_in(6) },
        "rules": rules,
    });
    Policy::parse(&document.to_string(), Strictness::Lenient).unwrap()
}

fn rule(dice: &mut Dice) -> Value {
    let mut rule = json!({
        "name": dice.pick(&["r", "s x", "t"]), "priority": dice.below(3), "effect": dice.pick(VERDICTS),
        "match": matcher(dice), "endpoint": endpoint(dice), "min_approvals": dice.below(3),
    });
    if dice.once_in(4) {
        rule["dataflow"] = json!({
            "enabled": true, "tainted_sources": some_of(dice, &["system", "external"]),
            "destination_values": some_of(dice, VALUES), "destination_kinds": some_of(dice, &["path", "host"]),
            "destination_operations": some_of(dice, &["read", "exec"]),
        });
    }
    rule
}

fn matcher(dice: &mut Dice) -> Value {
    json!({
        "tool_names": some_of(dice, &["fs.read", "fs.write", "proc.exec", "net.connect", "net.unix", "FS.LIST"]),
        "risk_classes": some_of(dice, &["high", "low"]),
        "identities": some_of(dice, &["agent", "agent", "other"]),
        "workspace_prefixes": some_of(dice, &["/w", "/w/p", "/x"]),
        "target_kinds": some_of(dice, &["path", "host", "other"]),
        "target_values": some_of(dice, VALUES),
        "endpoint_classes": some_of(dice, &["fs.read", "fs.write", "fs.delete", "proc.exec", "net.http", "net.dns", "other"]),
        "destination_operations": some_of(dice, &["read", "truncate", "delete", "exec", "connect"]),
        "provenance_sources": some_of(dice, &["system", "system", "external"]),
    })
}

fn endpoint(dice: &mut Dice) -> Value {
    json!({
        "enabled": !dice.once_in(6),
        "path_allowlist": paths(dice), "path_denylist": paths(dice),
        "domain_allowlist": some_of(dice, DOMAINS), "domain_denylist": some_of(dice, DOMAINS),
        "egress_classes": some_of(dice, &["net.http", "net.dns"]),
        "action": dice.pick(&["", "block", "require_approval"]),
        "destructive_action": dice.pick(&["", "block", "require_approval"]),
        "reason_code": "code",
    })
}

/// Mostly none, as in policies that people write: conditions that hold together are rare by chance.
fn some_of(dice: &mut Dice, words: &[&str]) -> Vec<String> {
    let count = if dice.once_in(4) { 1 + dice.below(2) } else { 0 };
    (0..count).map(|_| (*dice.pick(words)).to_owned()).collect()
}

fn paths(dice: &mut Dice) -> Vec<String> {
    let count = if dice.once_in(3) { 0 } else { 1 + dice.below(5) };
    (0..count).map(|_| path(dice)).collect()
}

fn path(dice: &mut Dice) -> String {
    let start = match dice.below(10) {
        0..=2 => return (*dice.pick(PATTERNS)).to_owned(),
        3..=6 => "/",
        7..=8 => "**/",
        _ => "",
    };
    let pieces: Vec<&str> = (0..1 + dice.below(6)).map(|_| *dice.pick(PIECES)).collect();
    start.to_owned() + &pieces.concat()
}
