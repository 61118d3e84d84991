//! `gait registry install`: a signed pack into the cache, and its pin.

use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Args, Flag, JSON, Order, VERIFY_KEYS};
use crate::keys;
use crate::registry::{Source, cache, source};
use crate::render::Outcome;
use gait_core::duration;
use gait_core::registry::{Cache, Terms, read_limited};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

pub const EXPLAIN: &str =
    "Install, list, and verify signed registry policy packs with allowlisted hosts, cache pinning, and offline checks.";
pub const CACHE_DIR: Flag = Flag::value("cache-dir", "<path>", "where packs are kept").default("~/.gait/registry");
pub const PUBLISHERS: Flag = Flag::value("publisher-allowlist", "<csv>", "publishers that are accepted").default("all");

pub static VERB: Verb = Verb {
    path: &["registry", "install"],
    label: "registry install",
    explain: EXPLAIN,
    positionals: "",
    flags: &[
        Flag::value("source", "<path|url>", "the manifest; may also be given without the flag").required(),
        Flag::value("allow-host", "<csv>", "hosts that a remote source may be on").required(),
        PUBLISHERS,
        Flag::value("pin", "sha256:<hex>", "the digest that the manifest must have; replaces a pin that is there"),
        CACHE_DIR,
        VERIFY_KEYS[0].or_next(),
        VERIFY_KEYS[1],
        VERIFY_KEYS[2].hidden(),
        VERIFY_KEYS[3].hidden(),
        Flag::value("retry-max-attempts", "<n>", "for remote sources").default("3"),
        Flag::value("retry-base-delay", "<duration>", "for remote sources").default("200ms"),
        Flag::switch("allow-cached-fallback", "with --pin: take the manifest from the cache if it can't be fetched"),
        Flag::switch("allow-insecure-http", "accept http:// too"),
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::UsageOnly,
    notes: &[
        "note: this version fetches nothing. A remote source is checked against --allow-host and then taken from the cache, \
         if --allow-cached-fallback and --pin say so; else download the manifest and install the file.",
    ],
    run,
};

/// What is said of a remote source.
const NOT_FETCHED: &str = "download source: this version of gait fetches nothing";

/// The bytes of a manifest, and where they were found instead of at the source.
struct Found {
    bytes: Vec<u8>,
    fallback: Option<PathBuf>,
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let named = match (call.args.trimmed("source"), words.as_slice()) {
        (Some(named), []) => named,
        (None, [named]) if !named.is_empty() => named,
        _ => return Err(Failure::invalid("expected --source <path|url>")),
    };
    check_retry(&call.args)?;
    let key = keys::verify_key(&call.args)?.ok_or_else(|| Failure::invalid("public key not configured"))?;
    let cache = cache(&call.args)?;
    let refused = |error: &dyn std::fmt::Display| Failure::new(Exit::VerificationFailed, error);
    let found = found(named, &call.args, &cache)?;
    let publishers = call.args.csv("publisher-allowlist");
    let terms = Terms { key: &key, publishers: &publishers, pin: call.args.text("pin").trim() };
    let installed = cache.install(&found.bytes, &terms).map_err(|error| refused(&error))?;
    let manifest = &installed.manifest;
    let mut lines = vec![
        format!("registry install ok: {}@{}", manifest.pack_name, manifest.pack_version),
        format!("digest: sha256:{}", installed.digest),
    ];
    let mut members = Map::new();
    for (name, value) in [
        ("source", named.to_string()),
        ("pack_name", manifest.pack_name.clone()),
        ("pack_version", manifest.pack_version.clone()),
        ("digest", installed.digest.to_string()),
        ("publisher", manifest.publisher.clone()),
        ("pack_source", manifest.source.clone()),
        ("metadata_path", installed.metadata_path.display().to_string()),
        ("pin_path", installed.pin_path.display().to_string()),
    ] {
        if !value.is_empty() {
            members.insert(name.into(), Value::String(value));
        }
    }
    members.insert("ok".into(), true.into());
    if let Some(path) = &found.fallback {
        lines.push(format!("fallback: cached manifest {}", path.display()));
        members.insert("fallback_used".into(), true.into());
        members.insert("fallback_path".into(), json!(path.display().to_string()));
    }
    Ok(Outcome::new(Exit::Ok, &lines, &members))
}

/// Values of flags about retries must be some, also where nothing is retried.
fn check_retry(args: &Args) -> Result<(), Failure> {
    let wrong =
        |flag: &str, value: &str| Failure::invalid(format!("invalid value {value:?} for flag -{flag}: parse error"));
    if let Some(text) = args.trimmed("retry-max-attempts") {
        text.parse::<i64>().map_err(|_| wrong("retry-max-attempts", text))?;
    }
    match args.trimmed("retry-base-delay") {
        Some(text) if duration::parse(text).is_none() => Err(wrong("retry-base-delay", text)),
        _ => Ok(()),
    }
}

fn found(named: &str, args: &Args, cache: &Cache) -> Result<Found, Failure> {
    let refused = |message: String| Failure::new(Exit::VerificationFailed, message);
    let source = source(named, &args.csv("allow-host"), args.is_on("allow-insecure-http"));
    match source.map_err(|error| refused(error.to_string()))? {
        Source::File(path) => {
            let bytes = read_limited(&path).map_err(|error| refused(format!("read source file: {error}")))?;
            Ok(Found { bytes, fallback: None })
        }
        Source::Remote if args.is_on("allow-cached-fallback") => {
            let failed =
                |why: String| refused(format!("remote fetch failed: {NOT_FETCHED}; cached fallback failed: {why}"));
            let path = cached(args.trimmed("pin"), cache).map_err(failed)?;
            let bytes = read_limited(&path).map_err(|error| failed(error.to_string()))?;
            Ok(Found { bytes, fallback: Some(path) })
        }
        Source::Remote => Err(refused(NOT_FETCHED.to_string())
            .with_hint("download the manifest with a client of your choice, then install the file")),
    }
}

/// The manifest with this digest in the cache.
fn cached(pin: Option<&str>, cache: &Cache) -> Result<PathBuf, String> {
    let pin = pin.ok_or("cached fallback requires --pin sha256:<digest>")?;
    let digest = pin.strip_prefix("sha256:").unwrap_or(pin);
    let found = cache.find(pin).map_err(|error| error.to_string())?;
    found.ok_or_else(|| format!("no cached manifest found for digest {digest}"))
}
