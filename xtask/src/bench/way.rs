//! The ways in which a program is run: bare, and under what guards it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

/// One way.
pub struct Way {
    /// Heads its column.
    pub name: &'static str,
    /// The words before those of the program.
    before: Vec<String>,
}

/// A way that this build or machine does not have, and why.
pub struct Missing {
    pub name: &'static str,
    pub why: String,
}

impl Way {
    /// Without a guard.
    pub fn bare() -> Self {
        Self { name: "bare", before: Vec::new() }
    }

    /// Under the cheapest race-free supervisor (`baseline/supervisor.c`): what no supervisor can go below.
    pub fn cheapest(supervisor: &Path) -> Self {
        Self { name: "cheapest", before: vec![text(supervisor), "/nowhere".to_owned()] }
    }

    /// Under `gait exec --engine <engine>`, if that works in `folder` with `home`.
    pub fn engine(engine: &'static str, gait: &Path, policy: &Path, folder: &Path) -> Result<Result<Self, Missing>> {
        let flags = |engine_flags: &[&str]| {
            let mut words = vec![text(gait), "exec".to_owned()];
            words.extend(engine_flags.iter().map(|word| (*word).to_owned()));
            // Apart from the guard's own folders, as `hybrid` demands; the policy says what may be written.
            let workspace = folder.join("work");
            words.extend(["--policy".to_owned(), text(policy), "--workspace".to_owned(), text(&workspace)]);
            words.extend(["--out-dir".to_owned(), text(&folder.join("out"))]);
            words.extend(["--run-id", "bench", "--identity", "bench", "--"].map(str::to_owned));
            Self { name: engine, before: words }
        };
        let way = flags(&["--engine", engine]);
        let why = match way.fails(folder)? {
            None => return Ok(Ok(way)),
            Some(why) => why,
        };
        // Before there was a choice, notify was what there was.
        let unchosen = flags(&[]);
        if engine == "notify" && why.contains("not defined: -engine") && unchosen.fails(folder)?.is_none() {
            return Ok(Ok(unchosen));
        }
        Ok(Err(Missing { name: engine, why }))
    }

    /// The words that run `program` this way.
    pub fn words(&self, program: &[&str]) -> Vec<String> {
        self.before.iter().cloned().chain(program.iter().map(|word| (*word).to_owned())).collect()
    }

    /// What a program that does nothing says of this way, if it does not get to run.
    fn fails(&self, folder: &Path) -> Result<Option<String>> {
        let words = self.words(&["/bin/true"]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(folder).env("HOME", folder.join("home")).stdin(Stdio::null());
        let output = command.output()?;
        if output.status.success() {
            return Ok(None);
        }
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said);
        let lines = || said.lines().filter(|line| !line.is_empty());
        let said = lines().find(|line| line.contains("error: ")).or_else(|| lines().next()).unwrap_or_default();
        Ok(Some(format!("{}: {said}", output.status)))
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
