//! `gait registry install`: a signed pack into the cache, and its pin.

use super::{Call, Help, Verb};
use crate::exit::{Category, Exit};
use crate::failure::Failure;
use crate::flags::{Args, Flag, JSON, Order, VERIFY_KEYS};
use crate::keys;
use crate::registry::cache;
use crate::registry::fetch::{BOUNDS, FetchError, Retry, fetch};
use crate::registry::source::{Allowed, Source};
use crate::render::Outcome;
use gait_core::duration;
use gait_core::registry::{Cache, Terms, read_limited};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::Duration;

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
        Flag::value("allow-host", "<csv>", "hosts that a remote source may be on, and that it may redirect to")
            .required(),
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
        "note: a remote source needs --allow-host, and https. One attempt takes 20 seconds at most, a manifest 5 MiB. The \
         certificate authorities are those of this machine (SSL_CERT_FILE and SSL_CERT_DIR name others); HTTPS_PROXY, \
         HTTP_PROXY, ALL_PROXY and NO_PROXY are followed.",
        "note: what is installed is checked, whatever it was fetched from: signature, publisher and pin.",
    ],
    run,
};

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
    let retry = retry(&call.args)?;
    let key = keys::verify_key(&call.args)?.ok_or_else(|| Failure::invalid("public key not configured"))?;
    let cache = cache(&call.args)?;
    let refused = |error: &dyn std::fmt::Display| Failure::new(Exit::VerificationFailed, error);
    let found = found(named, &call.args, retry, &cache)?;
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

/// What the flags about retries say; a number below one is one attempt. They are read also where nothing is retried.
fn retry(args: &Args) -> Result<Retry, Failure> {
    let wrong =
        |flag: &str, value: &str| Failure::invalid(format!("invalid value {value:?} for flag -{flag}: parse error"));
    let mut retry = Retry { attempts: 3, base: Duration::from_millis(200) };
    if let Some(text) = args.trimmed("retry-max-attempts") {
        let attempts: i64 = text.parse().map_err(|_| wrong("retry-max-attempts", text))?;
        retry.attempts = u32::try_from(attempts.max(1)).unwrap_or(u32::MAX);
    }
    if let Some(text) = args.trimmed("retry-base-delay") {
        let nanos = duration::parse(text).ok_or_else(|| wrong("retry-base-delay", text))?;
        retry.base = Duration::from_nanos(nanos.max(0).unsigned_abs());
    }
    Ok(retry)
}

fn found(named: &str, args: &Args, retry: Retry, cache: &Cache) -> Result<Found, Failure> {
    let refused = |message: String| Failure::new(Exit::VerificationFailed, message);
    let allowed = Allowed { hosts: args.csv("allow-host"), insecure_http: args.is_on("allow-insecure-http") };
    let url = match allowed.source(named).map_err(|error| refused(error.to_string()))? {
        Source::File(path) => {
            let bytes = read_limited(&path).map_err(|error| refused(format!("read source file: {error}")))?;
            return Ok(Found { bytes, fallback: None });
        }
        Source::Remote(url) => url,
    };
    let error = match fetch(&url, &allowed, retry, BOUNDS) {
        Ok(bytes) => return Ok(Found { bytes, fallback: None }),
        Err(error) => error,
    };
    if !args.is_on("allow-cached-fallback") {
        return Err(not_fetched(&error, error.to_string()));
    }
    let failed =
        |why: String| not_fetched(&error, format!("remote fetch failed: {error}; cached fallback failed: {why}"));
    let path = cached(args.trimmed("pin"), cache).map_err(failed)?;
    let bytes = read_limited(&path).map_err(|error| failed(error.to_string()))?;
    Ok(Found { bytes, fallback: Some(path) })
}

/// The failure to fetch, in the words `message`.
fn not_fetched(error: &FetchError, message: String) -> Failure {
    let failure = Failure::new(Exit::VerificationFailed, message);
    match error {
        FetchError::TooLarge => failure.with_hint("a manifest has at most 5 MiB: is this the URL of one?"),
        FetchError::NoAuthorities(_) => {
            failure.with_hint("install the package ca-certificates, or name a file with SSL_CERT_FILE")
        }
        error if error.is_transient() => failure.of_category(Category::NetworkTransient).with_hint(
            "retry later, or take a pack that was installed before: --allow-cached-fallback --pin sha256:<hex>",
        ),
        _ => failure.with_hint("check the URL and the server, or download the manifest and install the file"),
    }
}

/// The manifest with this digest in the cache.
fn cached(pin: Option<&str>, cache: &Cache) -> Result<PathBuf, String> {
    let pin = pin.ok_or("cached fallback requires --pin sha256:<digest>")?;
    let digest = pin.strip_prefix("sha256:").unwrap_or(pin);
    let found = cache.find(pin).map_err(|error| error.to_string())?;
    found.ok_or_else(|| format!("no cached manifest found for digest {digest}"))
}
