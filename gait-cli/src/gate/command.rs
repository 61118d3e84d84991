//! Runs a program that issues credentials: no shell, little time, little output.

use gait_core::broker::MAX_ANSWER_BYTES;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(5);

/// What `program` prints, given `input` on its standard input; nothing if it fails, takes too long or prints too much.
///
/// What it says on its standard error is dropped: it may hold a secret. Variables in `hidden` are taken away from it.
pub fn output(program: &Path, args: &[String], hidden: &[OsString], input: Vec<u8>) -> Option<Vec<u8>> {
    output_within(program, args, hidden, input, LIMIT)
}

fn output_within(
    program: &Path,
    args: &[String],
    hidden: &[OsString],
    input: Vec<u8>,
    limit: Duration,
) -> Option<Vec<u8>> {
    let deadline = Instant::now() + limit;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // In a group of its own, so that what it starts ends with it.
    command.process_group(0);
    hidden.iter().for_each(|name| {
        command.env_remove(name);
    });
    let mut child = command.spawn().ok()?;
    let answer = converse(&mut child, input, deadline);
    let ended = answer.is_some().then(|| wait_until(&mut child, deadline)).flatten();
    if ended.is_none() {
        end(&mut child);
    }
    answer.filter(|_| ended.is_some_and(|status| status.success()))
}

/// Everything that the program prints until it closes its output, if that is not too much and not too late.
fn converse(child: &mut Child, input: Vec<u8>, deadline: Instant) -> Option<Vec<u8>> {
    let (mut stdin, stdout) = (child.stdin.take()?, child.stdout.take()?);
    // Threads of their own: a program may print before it has read all, or read nothing.
    std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut answer = Vec::new();
        let read = stdout.take(MAX_ANSWER_BYTES as u64 + 1).read_to_end(&mut answer);
        let _ = sender.send(read.ok().map(|_| answer));
    });
    match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(answer) => answer.filter(|answer| answer.len() <= MAX_ANSWER_BYTES),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
    }
}

fn wait_until(child: &mut Child, deadline: Instant) -> Option<std::process::ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends the program and what it started.
fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Option<Vec<u8>> {
        output_within(
            Path::new("/bin/sh"),
            &["-c".into(), script.into()],
            &["HIDDEN".into()],
            b"{\"a\":1}".to_vec(),
            limit,
        )
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_program_gets_the_request_and_its_answer_is_kept() {
        assert_eq!(shell("cat", LONG).unwrap(), b"{\"a\":1}");
        assert_eq!(shell("echo x >&2; echo y", LONG).unwrap(), b"y\n");
        // One that does not read its input.
        assert_eq!(shell("exec 0<&-; echo y", LONG).unwrap(), b"y\n");
    }

    #[test]
    fn a_program_that_fails_or_is_not_there_answers_nothing() {
        assert_eq!(shell("echo y; exit 3", LONG), None);
        assert_eq!(shell("kill -9 $$", LONG), None);
        assert_eq!(output(Path::new("/no/such/program"), &[], &[], Vec::new()), None);
        assert_eq!(output(Path::new("/etc/passwd"), &[], &[], Vec::new()), None);
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("(sleep 2; echo late > {}) & sleep 60", mark.display());
        let started = Instant::now();
        assert_eq!(shell(&script, Duration::from_millis(200)), None);
        assert!(started.elapsed() < Duration::from_secs(2));
        std::thread::sleep(Duration::from_millis(2500));
        assert!(!mark.exists());
    }

    #[test]
    fn too_long_an_answer_is_no_answer() {
        let exactly = format!("head -c {MAX_ANSWER_BYTES} /dev/zero");
        assert_eq!(shell(&exactly, LONG).map(|answer| answer.len()), Some(MAX_ANSWER_BYTES));
        assert_eq!(shell("head -c 16385 /dev/zero", LONG), None);
        assert_eq!(shell("cat /dev/zero", LONG), None);
    }
}
