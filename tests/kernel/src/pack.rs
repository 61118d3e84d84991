//! A guarded run's runpack, read by the letter of its format and without any code of the product, so that what the
//! guard wrote is checked by somebody else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Everything that a runpack holds.
pub struct Pack {
    /// Member name to its bytes.
    pub members: BTreeMap<String, Vec<u8>>,
    /// The journal, line by line.
    pub journal: Vec<Value>,
    /// Distinct decisions.
    pub decided: Vec<Decided>,
}

/// One `define` line, and how often it was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// `fs.read`, ...
    pub tool: String,
    /// The target's value; empty without a target.
    pub value: String,
    /// The target's operation.
    pub operation: String,
    /// Whether it was let through.
    pub allowed: bool,
    /// `policy`, `floor`, `engine`.
    pub source: String,
    /// Sorted reason codes.
    pub reasons: Vec<String>,
    /// The rule, if one decided.
    pub rule: Option<String>,
    /// The error that the agent was given.
    pub errno: Option<String>,
    /// Decision lines.
    pub count: u64,
}

impl Pack {
    /// Reads the zip and its journal, whose chain must hold.
    ///
    /// # Errors
    /// Anything that the format does not allow and this reader notices.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let mut archive = zip::ZipArchive::new(File::open(path)?)?;
        let mut members = BTreeMap::new();
        for n in 0..archive.len() {
            let mut member = archive.by_index(n)?;
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes)?;
            members.insert(member.name()?.into_owned(), bytes);
        }
        let bytes: Vec<u8> = members
            .iter()
            .filter(|(name, _)| name.starts_with("decisions/"))
            .flat_map(|(_, bytes)| bytes.clone())
            .collect();
        let journal = chained(&bytes)?;
        let decided = decided(&journal)?;
        Ok(Self { members, journal, decided })
    }

    /// The denials.
    pub fn denied(&self) -> impl Iterator<Item = &Decided> {
        self.decided.iter().filter(|decided| !decided.allowed)
    }

    /// Journal lines of one type.
    pub fn lines<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.journal.iter().filter(move |line| line["type"] == kind)
    }

    /// A JSON member.
    ///
    /// # Errors
    /// It is missing or not JSON.
    pub fn json(&self, name: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(self.members.get(name).with_context(|| format!("no {name}"))?)?)
    }

    /// Digests of the distinct intents, sorted.
    pub fn intents(&self) -> Vec<String> {
        let mut all: Vec<String> = self.lines("define").map(|line| text(&line["intent_digest"])).collect();
        all.sort();
        all.dedup();
        all
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The lines of a journal after checking `seq` and the hash chain of its blocks.
fn chained(bytes: &[u8]) -> anyhow::Result<Vec<Value>> {
    ensure!(bytes.ends_with(b"\n"), "the journal ends in half a line");
    let (mut head, mut hasher) = ([0_u8; 32], Sha256::new());
    hasher.update(head);
    let mut lines = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let value: Value = serde_json::from_slice(line)?;
        ensure!(value["seq"] == lines.len() as u64 + 1, "line {} has seq {}", lines.len() + 1, value["seq"]);
        if value["type"] == "checkpoint" {
            ensure!(value["prev"] == hex(&head), "line {}: not the head before it", lines.len() + 1);
            head = std::mem::take(&mut hasher).finalize().into();
            ensure!(value["head"] == hex(&head), "line {}: not the hash of its block", lines.len() + 1);
            hasher.update(head);
        }
        hasher.update(line);
        lines.push(value);
    }
    ensure!(lines.last().is_some_and(|last| last["final"] == true), "no final checkpoint");
    Ok(lines)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decided(journal: &[Value]) -> anyhow::Result<Vec<Decided>> {
    let mut all: BTreeMap<u64, Decided> = BTreeMap::new();
    for line in journal {
        let Some(def) = line["def"].as_u64() else { continue };
        match line["type"].as_str() {
            Some("define") => {
                all.insert(def, definition(line));
            }
            Some("decision") => all.get_mut(&def).context("decision before its definition")?.count += 1,
            Some(other) => bail!("`def` in a line of type {other}"),
            None => bail!("a line without type"),
        }
    }
    Ok(all.into_values().collect())
}

fn definition(line: &Value) -> Decided {
    let (intent, decision) = (&line["intent"], &line["decision"]);
    let target = &intent["targets"][0];
    let reasons = decision["reason_codes"].as_array().map(|codes| codes.iter().map(text).collect());
    Decided {
        tool: text(&intent["tool_name"]),
        value: text(&target["value"]),
        operation: text(&target["operation"]),
        allowed: decision["enforced"] == "allow",
        source: text(&decision["source"]),
        reasons: reasons.unwrap_or_default(),
        rule: decision["matched_rule"].as_str().map(str::to_owned),
        errno: line["errno"].as_str().map(str::to_owned),
        count: 0,
    }
}
