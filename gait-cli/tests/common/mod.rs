//! What suites of the command line share: a folder of its own for each test, the binary, and packs made by hand.
#![allow(dead_code, reason = "not every suite needs all of it")]

use assert_cmd::Command;
use gait_core::canonical::canonical_bytes;
use gait_core::digest::Sha256Hex;
use gait_core::registry::RegistryManifest;
use gait_core::signature::PrivateKey;
use serde_json::{Map, Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Base64 of the 64 bytes of the key of 32 bytes 01, and of its public half (contract, artifacts 3.5).
pub const PRIVATE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQGKiOPddAnxlf1S2y08ul1yymcJvx2UEhvzdIgBtA9vXA==";
pub const PUBLIC: &str = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=";

/// A run in which each intent is of another kind: a stub, an error, a missing result.
pub const MIXED: &str = r#"{"run":{"run_id":"run_m","created_at":"2026-03-01T10:00:00.500+02:00",
  "env":{"os":"x","gpu":1},"timeline":[{"event":"e","ts":"2026-03-01T10:00:00Z","ref":"i1"},{"event":"f"}]},
 "intents":[{"intent_id":"i1","tool_name":" My.HTTP.Get ","args_digest":"ABC","args":{"n":1e3,"input_ref":" r1 "}},
  {"intent_id":"i2","tool_name":"noop"},{"intent_id":"i0","tool_name":"noop"}],
 "results":[{"intent_id":"i2","status":"ERROR","result_digest":"d"}],
 "refs":{"receipts":[{"ref_id":"r1"},{"ref_id":"r2"}]}}"#;

/// A folder of its own, with nothing of this machine's environment.
pub struct Place {
    folder: TempDir,
}

/// What a call answered.
pub struct Answer {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl Place {
    pub fn new() -> Self {
        // Closed to others, as a folder with private keys must be.
        let closed = fs::Permissions::from_mode(0o700);
        Place { folder: tempfile::Builder::new().permissions(closed).tempdir().unwrap() }
    }

    /// A place with the run of `gait demo`.
    pub fn with_demo() -> Self {
        let place = Self::new();
        assert_eq!(place.gait(&["demo"]).code, 0);
        place
    }

    /// A place with that run and one of [`MIXED`] intents.
    pub fn with_runs() -> Self {
        let place = Self::with_demo();
        place.write("m.json", MIXED);
        assert_eq!(place.line("run record m.json").code, 0);
        place
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::cargo_bin("gait").unwrap();
        command.args(words).current_dir(self.path()).env_clear().env("HOME", self.at("home"));
        command
    }

    pub fn gait(&self, words: &[&str]) -> Answer {
        Answer::of(&mut self.command(words))
    }

    /// One line of words without blanks in them.
    pub fn line(&self, line: &str) -> Answer {
        self.gait(&line.split(' ').collect::<Vec<_>>())
    }

    /// All files below this place, sorted.
    pub fn files(&self) -> Vec<String> {
        let (mut files, mut folders) = (Vec::new(), vec![self.path().to_path_buf()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                match entry.path() {
                    path if path.is_dir() => folders.push(path),
                    path => files.push(path.strip_prefix(self.path()).unwrap().display().to_string()),
                }
            }
        }
        files.sort();
        files
    }
}

impl Answer {
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Answer {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().unwrap(),
        }
    }

    pub fn whole(&self) -> String {
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.stdout.matches('\n').count(), 1, "{}", self.whole());
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// A pack whose members can be anything at all.
#[derive(Clone)]
pub struct Pack {
    pub members: Vec<(String, Vec<u8>)>,
}

impl Pack {
    /// The standard members of a small run, and a manifest that lists them.
    pub fn new() -> Self {
        let head = |kind: &str| {
            json!({"schema_id": format!("gait.runpack.{kind}"), "schema_version": "1.0.0", "run_id": "run_x",
                   "created_at": "2026-02-05T00:00:00Z", "producer_version": "test"})
        };
        let with = |kind: &str, more: Value| {
            let mut record = head(kind);
            record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            canonical_bytes(&record).unwrap()
        };
        let line = |kind: &str, more: Value| [with(kind, more), b"\n".to_vec()].concat();
        let members = vec![
            ("intents.jsonl", line("intent", json!({"intent_id": "i", "tool_name": "t", "args_digest": ""}))),
            ("refs.json", with("refs", json!({"receipts": []}))),
            ("results.jsonl", line("result", json!({"intent_id": "i", "status": "ok", "result_digest": ""}))),
            ("run.json", with("run", json!({"env": {"os": "o", "arch": "a", "runtime": "r"}, "timeline": []}))),
        ];
        let mut pack = Pack { members: members.into_iter().map(|(name, content)| (name.into(), content)).collect() };
        let listed: Vec<Value> = pack.members.iter().map(|(name, content)| listed(name, content)).collect();
        let mut manifest = head("manifest");
        manifest["capture_mode"] = "reference".into();
        manifest["files"] = listed.into();
        pack.members.push(("manifest.json".into(), Vec::new()));
        pack.set_manifest(sealed(manifest));
        pack
    }

    pub fn member(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.members.iter_mut().find(|(member, _)| member == name).unwrap().1
    }

    pub fn manifest(&mut self) -> Value {
        serde_json::from_slice(self.member("manifest.json")).unwrap()
    }

    pub fn set_manifest(&mut self, manifest: Value) {
        *self.member("manifest.json") = canonical_bytes(&manifest).unwrap();
    }

    /// The manifest changed by `change` and sealed again.
    pub fn resealed(mut self, change: impl FnOnce(&mut Map<String, Value>)) -> Self {
        let mut manifest = self.manifest();
        change(manifest.as_object_mut().unwrap());
        self.set_manifest(sealed(manifest));
        self
    }

    /// A member with other content, and a manifest that says so.
    pub fn replaced(mut self, name: &str, content: &[u8]) -> Self {
        *self.member(name) = content.to_vec();
        let entry = listed(name, content);
        self.resealed(|manifest| {
            let files = manifest["files"].as_array_mut().unwrap();
            *files.iter_mut().find(|file| file["path"] == name).unwrap() = entry;
        })
    }

    /// One member more, which no manifest lists.
    pub fn with(mut self, name: &str, content: &[u8]) -> Self {
        self.members.push((name.into(), content.to_vec()));
        self
    }

    /// The zip, members stored and in the order given.
    pub fn bytes(&self) -> Vec<u8> {
        self.zip(0, <[u8]>::to_vec)
    }

    /// The zip as `migrate` writes it, but for the compression: sorted members, each one block that is not compressed.
    pub fn sorted_and_deflated(mut self) -> Vec<u8> {
        self.members.sort();
        self.zip(8, |content| {
            let length = u16::try_from(content.len()).unwrap();
            [&[1], length.to_le_bytes().as_slice(), &(!length).to_le_bytes(), content].concat()
        })
    }

    fn zip(&self, method: u8, packed: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let (mut file, mut directory) = (Vec::new(), Vec::new());
        for (name, content) in &self.members {
            let at = u32::try_from(file.len()).unwrap();
            let packed = packed(content);
            let common = common_header(name, content, method, packed.len());
            file.extend([b"PK\x03\x04".as_slice(), &common, &0_u16.to_le_bytes(), name.as_bytes(), &packed].concat());
            let attributes = (0o100_644_u32 << 16).to_le_bytes();
            let place = [&[0; 8], attributes.as_slice(), &at.to_le_bytes(), name.as_bytes()].concat();
            directory.extend([b"PK\x01\x02\x14\x03".as_slice(), &common, &place].concat());
        }
        let (count, start) = (u16::try_from(self.members.len()).unwrap(), u32::try_from(file.len()).unwrap());
        let length = u32::try_from(directory.len()).unwrap();
        let counts = [count.to_le_bytes(), count.to_le_bytes()].concat();
        let end = [b"PK\x05\x06\0\0\0\0".as_slice(), &counts, &length.to_le_bytes(), &start.to_le_bytes(), &[0; 2]];
        [file, directory, end.concat()].concat()
    }
}

/// What the local and the central header of a member share: version to length of the name.
fn common_header(name: &str, content: &[u8], method: u8, packed: usize) -> Vec<u8> {
    let size = u32::try_from(content.len()).unwrap().to_le_bytes();
    let packed = u32::try_from(packed).unwrap().to_le_bytes();
    let length = u16::try_from(name.len()).unwrap().to_le_bytes();
    let crc = crc32fast::hash(content).to_le_bytes();
    [&[20, 0, 0, 0, method, 0, 0, 0, 0x21, 0], crc.as_slice(), &packed, &size, &length].concat()
}

pub fn listed(name: &str, content: &[u8]) -> Value {
    json!({"path": name, "sha256": Sha256Hex::of(content).to_string()})
}

/// The manifest with the digest that it must have (contract, artifacts 3.2).
pub fn sealed(mut manifest: Value) -> Value {
    let members = manifest.as_object_mut().unwrap();
    members.remove("signatures");
    members.insert("manifest_digest".into(), "".into());
    let digest = Sha256Hex::of(canonical_bytes(&manifest).unwrap()).to_string();
    manifest["manifest_digest"] = digest.into();
    manifest
}

/// A registry manifest, signed with [`PRIVATE`]; `change` sees it before it is signed.
pub fn registry_manifest(change: impl FnOnce(&mut Value)) -> Value {
    let mut manifest = json!({
        "schema_id": "gait.registry.pack", "schema_version": "1.0.0", "created_at": "2026-03-03T00:00:00Z",
        "producer_version": "x", "pack_name": "baseline", "pack_version": "1", "publisher": "acme", "artifacts": [],
    });
    change(&mut manifest);
    let key = PrivateKey::from_base64(PRIVATE).unwrap();
    let digest = gait_core::canonical::digest_of(&manifest).unwrap();
    manifest["signatures"] = json!([key.sign_digest(&digest)]);
    manifest
}

/// The digest of such a manifest.
pub fn registry_digest(manifest: &Value) -> String {
    RegistryManifest::read(manifest.to_string().as_bytes()).unwrap().digest().unwrap().to_string()
}
