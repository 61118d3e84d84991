//! A folder in which the real binary is called.

use crate::document::{Document, answer, check, in_file};
use crate::schema::files;
use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// An empty folder to work in, with a home of its own, and what was printed there.
pub struct Place {
    /// Holds the working folder `work`, and `home`.
    folder: TempDir,
    answers: Vec<Document>,
}

impl Place {
    /// A new one.
    pub fn new() -> Self {
        // Closed to others, as a folder with private keys must be.
        let closed = fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().permissions(closed).tempdir().unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        Place { folder, answers: Vec::new() }
    }

    /// The file of the local key, once there is one.
    pub fn local_key(&self) -> String {
        self.folder.path().join("home/.gait/keys/signing.key").display().to_string()
    }

    /// Where gait is called.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Writes a file of the working folder; gives its name.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        name.to_owned()
    }

    /// Calls gait with `--json` before what may be the agent's own words, keeps the answer, gives it and the exit code.
    pub fn gait(&mut self, words: &[&str]) -> (i32, Value) {
        let split = words.iter().position(|word| *word == "--").unwrap_or(words.len());
        let (own, agent) = words.split_at(split);
        let line = [own, &["--json"], agent].concat();
        let output = Command::cargo_bin("gait")
            .unwrap()
            .args(&line)
            .current_dir(self.work())
            .env_clear()
            .env("HOME", self.folder.path().join("home"))
            .env("PATH", "/usr/bin:/bin")
            .env("GAIT_ADOPTION_LOG", self.work().join("logs/adoption.jsonl"))
            .env("GAIT_OPERATIONAL_LOG", self.work().join("logs/operational.jsonl"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let last = text.lines().last().unwrap_or_else(|| panic!("{words:?} prints nothing"));
        let document = answer(&format!("gait {}", words.join(" ")), own, last);
        let document = document.unwrap_or_else(|| panic!("no schema for what {words:?} prints: {last}"));
        let value = document.value.clone();
        self.answers.push(document);
        (output.status.code().unwrap(), value)
    }

    /// As [`Place::gait`], where anything but this exit code is a failure of the test.
    pub fn ends(&mut self, code: i32, words: &[&str]) -> Value {
        let (ended, answer) = self.gait(words);
        assert_eq!(ended, code, "{words:?}: {answer}");
        answer
    }

    /// Runs a session whose client says what is in the file `input`, with a shell script as the server, keeps the
    /// summary that it prints on standard error, and gives it.
    pub fn session(&mut self, words: &[&str], input: &str, server: &str) -> Value {
        let mut session = Command::cargo_bin("gait").unwrap();
        session.args(words).args(["--json", "--", "/bin/sh", "-c", server]).current_dir(self.work());
        session.env_clear().env("HOME", self.folder.path().join("home")).env("PATH", "/usr/bin:/bin");
        let output = session.write_stdin(fs::read(self.work().join(input)).unwrap()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let summary = answer(&format!("gait {}", words.join(" ")), words, text.lines().last().unwrap()).unwrap();
        let value = summary.value.clone();
        self.answers.push(summary);
        value
    }

    /// Everything that was printed and that lies in the working folder now.
    pub fn documents(&self) -> Vec<Document> {
        let written = files(&self.work()).into_iter().flat_map(|path| in_file(&path));
        self.answers.iter().cloned().chain(written).collect()
    }

    /// What of it is of this schema.
    pub fn of(&self, schema: &str) -> Vec<Value> {
        let all = self.documents().into_iter();
        all.filter(|document| document.schema == schema).map(|document| document.value).collect()
    }

    /// Fails unless everything is valid and documents of all these schemas are there.
    pub fn check(&self, expected: &[&str]) {
        let documents = self.documents();
        let (wrong, seen) = check(&documents);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let missing: Vec<_> = expected.iter().filter(|schema| !seen.contains_key(**schema)).collect();
        assert!(missing.is_empty(), "nothing of {missing:?} was written, only {seen:?}");
    }
}
