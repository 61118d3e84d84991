//! Keys for encrypting artifacts: from a variable, or from a command that prints one (contract, control 14.5).

use crate::failure::Failure;
use crate::flags::{Args, Flag};
use gait_core::evidence::encrypted::{ArtifactKey, KeySource};
use std::io::Read;
use std::process::{Command, Stdio};
use zeroize::Zeroizing;

/// More than any way to write a key, with blanks around it.
const MAX_PRINTED_BYTES: usize = 4096;

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

/// What the program prints. It may take its time: it may have to ask a person.
fn printed(program: &str, words: &[String]) -> Result<Zeroizing<String>, Failure> {
    let failed = |why: String| Failure::invalid(format!("run encryption key command: {program}: {why}"));
    let broken = |error: std::io::Error| failed(gait_core::file::os_text(&error));
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(broken)?;
    // With room to see the end: a vector that grows leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PRINTED_BYTES + 64));
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_PRINTED_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(broken)?;
    }
    if bytes.len() > MAX_PRINTED_BYTES {
        // What is no key need not end by itself.
        let _ = child.kill();
        let _ = child.wait();
        return Err(failed(format!("prints more than {MAX_PRINTED_BYTES} bytes")));
    }
    let status = child.wait().map_err(broken)?;
    if !status.success() {
        return Err(failed(status.to_string()));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| failed("prints no text".into()))?;
    Ok(Zeroizing::new(text.to_owned()))
}
