//! One JSON line for each test, for programs: `GAIT_SUITE_REPORT` names the file, or device, that they are added to.
//!
//! | key | |
//! |---|---|
//! | `suite`, `name`, `ids` | which test, and the ids of the escape corpus that its name begins with |
//! | `result`, `reason` | `passed`, `failed`, `skipped`, and why not passed |
//! | `denied_by` | what a runpack holds of the denial: tool, rule or reason, the error that the agent saw |
//! | `notes` | what else should be known, such as fewer tries than usual |
//! | `guest`, `kernel`, `lsm` | where: `native` and the engine asked for, or the name of a virtual machine |
//! | `engine` | who enforced, from the runpacks; without one, what `GAIT_ENGINE` asked for |
//! | `ms` | how long it took |

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write;

use serde_json::{Value, json};

/// What a test said while it ran, beside passing or failing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Who denied, once each.
    pub denied_by: Vec<String>,
    /// What else should be known.
    pub notes: Vec<String>,
    /// Engines that runpacks of the test name, once each.
    pub engines: Vec<String>,
}

thread_local! {
    static SAID: RefCell<Said> = RefCell::default();
}

/// Says of the running test what denied its attack.
pub fn denied_by(text: impl Into<String>) {
    SAID.with_borrow_mut(|said| add(&mut said.denied_by, text.into()));
}

/// Says of the running test what should be known about it.
pub fn note(text: impl Into<String>) {
    SAID.with_borrow_mut(|said| add(&mut said.notes, text.into()));
}

/// Says which engine enforced a run of the test.
pub fn engine(name: impl Into<String>) {
    SAID.with_borrow_mut(|said| add(&mut said.engines, name.into()));
}

fn add(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}

/// What was said since this was asked last.
pub fn said() -> Said {
    SAID.take()
}

/// Ids of the escape corpus at the beginning of a test's name: `FS-01`, `DEG-01`.
pub fn ids(name: &str) -> Vec<&str> {
    name.split([' ', ',']).take_while(|word| is_id(word)).collect()
}

fn is_id(word: &str) -> bool {
    let Some((group, number)) = word.split_once('-') else { return false };
    (2..=3).contains(&group.len())
        && group.bytes().all(|byte| byte.is_ascii_uppercase())
        && number.len() == 2
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where the lines go.
pub struct Report {
    file: Option<File>,
    place: Value,
}

impl Report {
    /// The one that the environment asks for, if it does.
    ///
    /// # Errors
    /// It can't be written to.
    pub fn from_env() -> std::io::Result<Self> {
        let path = std::env::var_os("GAIT_SUITE_REPORT");
        let file = path.map(|path| File::options().append(true).create(true).open(path)).transpose()?;
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let var = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
        let program = std::env::current_exe().unwrap_or_default();
        let suite = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let place = json!({
            "suite": suite.split_once('-').map_or(suite.as_str(), |(name, _)| name),
            "guest": var("GAIT_SUITE_GUEST", &native()),
            "kernel": read("/proc/sys/kernel/osrelease"),
            "lsm": read("/sys/kernel/security/lsm"),
            "engine": var("GAIT_ENGINE", ""),
        });
        Ok(Self { file, place })
    }

    /// Adds the line of one test.
    ///
    /// # Errors
    /// It could not be written.
    pub fn add(&mut self, name: &str, result: &str, reason: &str, said: &Said, ms: u128) -> std::io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut line = self.place.clone();
        let ms = u64::try_from(ms).unwrap_or(u64::MAX);
        if !said.engines.is_empty() {
            line["engine"] = said.engines.join(" ").into();
        }
        let own = json!({
            "name": name, "ids": ids(name), "result": result, "reason": reason,
            "denied_by": said.denied_by, "notes": said.notes, "ms": ms,
        });
        if let (Value::Object(line), Value::Object(own)) = (&mut line, own) {
            line.extend(own);
        }
        file.write_all(format!("{line}\n").as_bytes())
    }
}

/// This machine, as a place of tests: each engine is one of its own.
fn native() -> String {
    crate::run::engine().map_or_else(|| "native".to_owned(), |engine| format!("native {engine}"))
}
