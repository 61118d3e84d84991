//! Keys for encrypting artifacts: from a variable, or from a command that prints one (contract, control 14.5).

use crate::failure::Failure;
use crate::flags::{Args, Flag};
use gait_core::evidence::encrypted::{ArtifactKey, KeySource};
use std::process::{Command, Stdio};
use zeroize::Zeroizing;

/// The flags that name a key. The usage line shows the arguments beside their command.
pub const FLAGS: [Flag; 3] = [
    Flag::value("key-env", "<ENV>", "environment variable with the key (base64 of 32 bytes)").or_next(),
    Flag::value("key-command", "<cmd> --key-command-args <csv>", "program that prints the key, and its arguments"),
    Flag::value("key-command-args", "<csv>", "arguments of the program").hidden(),
];

/// The key that the flags name, and what a record may say about it. A variable wins over a command.
///
/// # Errors
/// None is named, or what is named gives no key: exit 6.
pub fn named(args: &Args) -> Result<(ArtifactKey, KeySource), Failure> {
    if let Some(variable) = args.trimmed("key-env") {
        let text = Zeroizing::new(std::env::var(variable).unwrap_or_default());
        if text.trim().is_empty() {
            return Err(Failure::invalid(format!("encryption key env var is empty: {variable}")));
        }
        let source = KeySource { mode: "env".into(), reference: variable.into(), command: String::new() };
        return Ok((read(&text, "env")?, source));
    }
    let Some(program) = args.trimmed("key-command") else {
        return Err(Failure::invalid("missing key source: provide --key-env or --key-command"));
    };
    let text = printed(program, &args.csv("key-command-args"))?;
    let source = KeySource { mode: "command".into(), reference: String::new(), command: program.into() };
    Ok((read(&text, "command")?, source))
}

fn read(text: &str, from: &str) -> Result<ArtifactKey, Failure> {
    ArtifactKey::from_base64(text)
        .map_err(|error| Failure::invalid(format!("decode encryption key from {from}: {error}")))
}

fn printed(program: &str, words: &[String]) -> Result<Zeroizing<String>, Failure> {
    let failed = |why: String| Failure::invalid(format!("run encryption key command: {why}"));
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("{program}: {}", gait_core::file::os_text(&error))))?;
    if !output.status.success() {
        return Err(failed(format!("{program}: {}", output.status)));
    }
    let bytes = Zeroizing::new(output.stdout);
    let text = std::str::from_utf8(&bytes).map_err(|_| failed(format!("{program}: prints no text")))?;
    Ok(Zeroizing::new(text.to_owned()))
}
