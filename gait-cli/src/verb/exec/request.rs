//! From flags to a request: everything that can be wrong with them is found here.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::Args;
use crate::keys::KeySource;
use crate::verb::Call;
use crate::{app, clock, keys, local_key};
use gait_core::file;
use gait_core::policy::Strictness;
use gait_core::runpack::footer::is_plain_run_id;
use gait_core::time::Timestamp;
use gait_guard::exec::{DEFAULT_RING_BYTES, Demands, Engine, RING_BYTES, Request};
use gait_guard::host::Layer;
use gait_guard::session::{CaptureMode, Enforcement};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The policy that applies without `--policy`.
const DEFAULT_POLICY: &str = include_str!("../../../../policies/default.yaml");

/// What the command line asks for.
///
/// # Errors
/// Anything that is missing or malformed: exit 6.
pub fn read(call: &Call) -> Result<Request, Failure> {
    let args = &call.args;
    if args.positionals.is_empty() {
        return Err(Failure::invalid("no command was given").with_hint("gait exec [flags] -- <cmd> [args]"));
    }
    let (policy_source, policy_path) = policy(args)?;
    let demands = Demands { required: layers(args, "require")?, dispensable: layers(args, "allow-degraded")? };
    let capture = match args.trimmed("capture-mode") {
        None | Some("reference") => CaptureMode::Reference,
        Some("raw") => CaptureMode::Raw,
        Some(other) => {
            return Err(Failure::invalid(format!(
                "unsupported --capture-mode value {other:?} (expected reference or raw)"
            )));
        }
    };
    let timeout = args.trimmed("timeout").map(duration).transpose()?;
    let ring_bytes = args.trimmed("ring-bytes").map_or(Ok(DEFAULT_RING_BYTES), ring_bytes)?;
    let started_at = clock::now();
    let run_id = run_id(args, &started_at)?;
    let workspace = workspace(args)?;
    let (key, key_source) = keys::signing_key_or_local(args)?;
    let (closed, key_variable) = key_holders(args)?;
    let key_files = if key_source == KeySource::Local { vec![local_key::path()?] } else { closed.clone() };
    key_files.iter().try_for_each(|path| only_name("private key", path))?;
    let state = state()?;
    let out = out_folder(args)?;
    Ok(Request {
        command: args.positionals.clone(),
        policy_source,
        strictness: if args.is_on("lenient") { Strictness::Lenient } else { Strictness::Strict },
        policy_path,
        workspace,
        identity: args.trimmed("identity").map_or_else(user, str::to_owned),
        risk_class: args.trimmed("risk-class").unwrap_or("high").to_owned(),
        run_id,
        out,
        home: std::env::var_os("HOME").and_then(|home| fs::canonicalize(home).ok()),
        state,
        closed,
        capture,
        enforcement: if args.is_on("simulate") { Enforcement::Simulate } else { Enforcement::Enforce },
        engine: engine(args)?,
        demands,
        timeout,
        ring_bytes,
        // Not even with --keep-env: the agent could sign in the guard's name.
        environment: std::env::vars_os().filter(|(name, _)| Some(name) != key_variable.as_ref()).collect(),
        keep: args.csv("keep-env").into_iter().map(OsString::from).collect(),
        key,
        key_source: key_source.word().to_owned(),
        producer_version: app::VERSION.to_owned(),
        started_at,
    })
}

/// The policy's text, and its file if it has one. What it says is read beside what else a start takes.
fn policy(args: &Args) -> Result<(Vec<u8>, Option<PathBuf>), Failure> {
    let Some(path) = args.raw("policy").filter(|path| !path.is_empty()) else {
        return Ok((DEFAULT_POLICY.into(), None));
    };
    let path = Path::new(path);
    let refuse = |cause: &dyn std::fmt::Display| Failure::invalid(format!("policy {}: {cause}", path.display()));
    let text = fs::read(path).map_err(|error| refuse(&error))?;
    let path = fs::canonicalize(path).map_err(|error| refuse(&error))?;
    only_name("policy", &path)?;
    Ok((text, Some(path)))
}

/// Refuses a file that has a second name: the floor keeps the agent from names, and can't know the others.
fn only_name(what: &str, path: &Path) -> Result<(), Failure> {
    let refuse = |error: std::io::Error| Failure::invalid(format!("{what} {}: {error}", path.display()));
    match std::os::unix::fs::MetadataExt::nlink(&fs::metadata(path).map_err(refuse)?) {
        0 | 1 => Ok(()),
        names => Err(Failure::invalid(format!(
            "{what} {}: the file has {names} names (hard links); the agent could reach it by another one",
            path.display()
        ))
        .with_hint("use a copy of the file")),
    }
}

fn layers(args: &Args, flag: &str) -> Result<BTreeSet<Layer>, Failure> {
    let known = || Layer::ALL.map(Layer::name).join(", ");
    args.csv(flag)
        .iter()
        .map(|name| {
            Layer::parse(name).ok_or_else(|| {
                Failure::invalid(format!("unknown layer {name:?} for --{flag}"))
                    .with_hint(format!("layers: {}", known()))
            })
        })
        .collect()
}

fn engine(args: &Args) -> Result<Engine, Failure> {
    let Some(name) = args.trimmed("engine") else { return Ok(Engine::default()) };
    Engine::parse(name).ok_or_else(|| {
        let known = Engine::ALL.map(Engine::name).join(", ");
        Failure::invalid(format!("unknown engine {name:?} for --engine")).with_hint(format!("engines: {known}"))
    })
}

/// `90s`, `1h30m`, `500ms`; a number alone is seconds.
fn duration(text: &str) -> Result<Duration, Failure> {
    let refuse = || Failure::invalid(format!("invalid --timeout value {text:?} (expected e.g. 90s, 5m, 1h30m)"));
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| refuse())?;
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let part = match unit {
            "ms" => Some(Duration::from_millis(number)),
            "s" | "" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3600).map(Duration::from_secs),
            _ => None,
        };
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(refuse)?;
        rest = after;
    }
    if total.is_zero() { Err(refuse()) } else { Ok(total) }
}

/// A size that the kernel takes for a ring, and that no run should need more or less than.
fn ring_bytes(text: &str) -> Result<u32, Failure> {
    let bytes = text.parse().ok().filter(|bytes: &u32| bytes.is_power_of_two() && RING_BYTES.contains(bytes));
    bytes.ok_or_else(|| {
        let (least, most) = (RING_BYTES.start(), RING_BYTES.end());
        Failure::invalid(format!(
            "invalid --ring-bytes value {text:?} (expected a power of two from {least} to {most})"
        ))
    })
}

/// The run id that the flags give, or a new one.
///
/// # Errors
/// One that is not usable in file names: exit 6.
pub fn run_id(args: &Args, started_at: &Timestamp) -> Result<String, Failure> {
    if let Some(id) = args.trimmed("run-id") {
        return if is_plain_run_id(id) {
            Ok(id.to_owned())
        } else {
            Err(Failure::invalid(format!("run id {id:?} is not made of letters, digits, `_` and `-`")))
        };
    }
    let time: String = started_at.to_utc().to_string().chars().take(19).filter(char::is_ascii_digit).collect();
    let mut random = [0u8; 4];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::new(Exit::Internal, format!("no random numbers: {error}")))?;
    Ok(format!("run_{time}_{:08x}", u32::from_be_bytes(random)))
}

/// The workspace that the flags give, or the working directory.
///
/// # Errors
/// It is no folder that can be read: exit 6.
pub fn workspace(args: &Args) -> Result<PathBuf, Failure> {
    let given = args.raw("workspace").filter(|path| !path.is_empty()).map_or(Path::new("."), Path::new);
    let refuse = |error: std::io::Error| Failure::invalid(format!("workspace {}: {error}", given.display()));
    let path = fs::canonicalize(given).map_err(refuse)?;
    fs::read_dir(&path).map_err(refuse)?;
    Ok(path)
}

/// `gait-out`: where it is or will be, tried out. What can't be written is found before the agent starts, and a folder
/// that was not there before is not there while the agent runs either.
fn out_folder(args: &Args) -> Result<PathBuf, Failure> {
    let given = args.raw("out-dir").filter(|path| !path.is_empty()).map_or(Path::new("gait-out"), Path::new);
    let refuse =
        |error: &dyn std::fmt::Display| Failure::invalid(format!("output folder {}: {error}", given.display()));
    let missing: Vec<&Path> =
        given.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    let tried = file::create_folders(given).map_err(|error| refuse(&error)).and_then(|()| {
        let path = fs::canonicalize(given).map_err(|error| refuse(&error))?;
        let probe = path.join(format!(".gait-{}", std::process::id()));
        fs::File::create_new(&probe).and_then(|_| fs::remove_file(&probe)).map_err(|error| refuse(&error))?;
        Ok(path)
    });
    for folder in missing {
        // Not empty: somebody else needs it by now.
        let _ = fs::remove_dir(folder);
    }
    tried
}

/// `$HOME/.gait`, made if it is not there.
fn state() -> Result<PathBuf, Failure> {
    let keys = local_key::folder()?;
    let state = keys.parent().unwrap_or(&keys);
    let refuse = |error: std::io::Error| Failure::invalid(format!("state folder {}: {error}", state.display()));
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
    builder.create(state).map_err(refuse)?;
    fs::canonicalize(state).map_err(refuse)
}

/// What holds the signing key and is not for the agent: the file, or the variable.
fn key_holders(args: &Args) -> Result<(Vec<PathBuf>, Option<OsString>), Failure> {
    let given = |flag: &str| args.raw(flag).filter(|value| !value.is_empty());
    let file = given("private-key").map(fs::canonicalize).transpose();
    let file = file.map_err(|error| Failure::invalid(format!("private key: {error}")))?;
    Ok((file.into_iter().collect(), given("private-key-env").map(OsString::from)))
}

/// The user's name, or their number.
pub fn user() -> String {
    let named = ["USER", "LOGNAME"].iter().filter_map(|name| std::env::var(name).ok());
    named.map(|name| name.trim().to_owned()).find(|name| !name.is_empty()).unwrap_or_else(gait_guard::host::user_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gait_core::digest::Sha256Hex;
    use gait_core::policy::Policy;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h30m", 5400), ("7", 7), ("1500ms", 1)] {
            assert_eq!(duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "0s", "s", "1d", "-1s", "1.5s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rings_are_powers_of_two_within_bounds() {
        for bytes in [65_536, 16_777_216, 1_073_741_824] {
            assert_eq!(ring_bytes(&bytes.to_string()).unwrap(), bytes);
        }
        for text in ["", "0", "32768", "65537", "100000", "2147483648", "4294967296", "-65536", "64K", "65536 "] {
            let failure = ring_bytes(text).unwrap_err();
            assert_eq!(failure.exit, Exit::InvalidInput, "{text}");
            assert!(failure.message.contains("--ring-bytes") && failure.message.contains("1073741824"), "{text}");
        }
    }

    #[test]
    fn the_embedded_policy_is_a_policy() {
        let (text, path) = policy(&Args::default()).unwrap();
        let policy = Policy::parse_bytes(&text, Strictness::Strict).unwrap();
        assert!(path.is_none() && !policy.rules().is_empty());
        assert_eq!(Sha256Hex::of(&text), Sha256Hex::of(DEFAULT_POLICY.as_bytes()));
    }
}
