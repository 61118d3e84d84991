//! Keys and where they come from.

use super::{Check, quoted};
use crate::flags::Args;
use crate::keys;
use gait_core::text::lower_trimmed;
use std::fs;
use std::path::Path;

/// Whether a key is named in two ways.
pub fn ambiguity(args: &Args) -> Check {
    for half in ["private", "public"] {
        let given = |name: String| args.trimmed(&name).is_some();
        if given(format!("{half}-key")) && given(format!("{half}-key-env")) {
            return Check::fail(
                "key_source_ambiguity",
                format!("{half} key path and env are both set"),
                format!("set only one of --{half}-key or --{half}-key-env"),
            );
        }
    }
    Check::pass("key_source_ambiguity", "key source configuration is unambiguous")
}

/// Whether others can read or change the files of keys.
pub fn permissions(args: &Args) -> Check {
    use std::os::unix::fs::MetadataExt;
    let name = "key_permissions";
    let paths: Vec<&str> = ["private-key", "public-key"].iter().filter_map(|flag| args.trimmed(flag)).collect();
    for (path, is_private) in
        ["private-key", "public-key"].iter().filter_map(|f| Some((args.trimmed(f)?, *f == "private-key")))
    {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => {
                let cause = match error.kind() {
                    std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                    _ => error.to_string(),
                };
                let message = format!("key file not accessible: {path} (stat {path}: {cause})");
                return Check::warn(name, message, format!("ls -l {}", quoted(Path::new(path))));
            }
        };
        if metadata.is_dir() {
            let fix = format!("ls -l {}", quoted(Path::new(path)));
            return Check::warn(name, format!("key path is a directory: {path}"), fix);
        }
        if metadata.mode() & 0o022 != 0 {
            return Check::warn(
                name,
                format!("key file is writable by others: {path}"),
                format!("chmod go-w {}", quoted(Path::new(path))),
            );
        }
        if is_private && metadata.mode() & 0o044 != 0 {
            return Check::warn(
                name,
                format!("private key is readable by others: {path}"),
                format!("chmod go-r {}", quoted(Path::new(path))),
            );
        }
    }
    let message = if paths.is_empty() { "no key file paths configured" } else { "key file permissions are strict" };
    Check::pass(name, message)
}

/// Whether the keys fit the key mode.
pub fn config(args: &Args) -> Check {
    let name = "key_config";
    let prod_fix = "set --private-key <path> or --private-key-env <VAR> for prod mode";
    match lower_trimmed(args.trimmed("key-mode").unwrap_or("dev")).as_ref() {
        "dev" if keys::names_a_key(args) => {
            Check::warn(name, "dev mode ignores explicit key sources", "use --key-mode prod to use the keys given")
        }
        "dev" => Check::pass(name, "dev key mode is configured"),
        "prod" => match keys::signing_key(args) {
            Ok(Some(_)) => Check::pass(name, "prod key configuration is valid"),
            Ok(None) => {
                let message = "invalid prod signing key config: prod mode requires a private key source";
                Check::fail(name, message, prod_fix)
            }
            Err(failure) => {
                Check::fail(name, format!("invalid prod signing key config: {}", failure.message), prod_fix)
            }
        },
        other => Check::fail(name, format!("unsupported key mode: {other}"), "use --key-mode dev or --key-mode prod"),
    }
}
