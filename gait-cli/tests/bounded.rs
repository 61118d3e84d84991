//! Files made to exhaust whoever reads them: a clear error, no panic, and no more memory than promised.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

use flate2::write::DeflateEncoder;
use flate2::{Compress, Compression, FlushCompress};
use gait_core::digest::{Hasher, Sha256Hex};
use gait_core::runpack::demo;
use gait_core::runpack::record::{Manifest, ManifestFile};
use gait_core::runpack::write::write_pack;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// What a command may need besides its largest record (artifacts: 64 MiB), and what the program itself takes, which
/// is larger without optimisation.
const MEMORY: u64 = 64 * MIB + 32 * MIB;
/// A member may have this many bytes (contract, artifacts 3.4).
const MEMBER: u64 = 104_857_600;

/// A member of a zip made by hand, which may lie about itself.
struct Entry {
    name: String,
    method: u16,
    crc32: u32,
    size: u32,
    content: Vec<u8>,
}

impl Entry {
    fn stored(name: &str, content: &[u8]) -> Self {
        let size = content.len().try_into().unwrap();
        Entry { name: name.into(), method: 0, crc32: crc32fast::hash(content), size, content: content.to_vec() }
    }

    /// A deflated member with the content that `source` gives.
    fn deflated(name: &str, mut source: impl Read) -> (Self, Sha256Hex) {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        let (mut hasher, mut crc, mut size) = (Hasher::new(), crc32fast::Hasher::new(), 0);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = source.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            encoder.write_all(&buffer[..count]).unwrap();
            hasher.update(&buffer[..count]);
            crc.update(&buffer[..count]);
            size += count as u64;
        }
        let entry = Entry {
            name: name.into(),
            method: 8,
            crc32: crc.finalize(),
            size: size.try_into().unwrap(),
            content: encoder.finish().unwrap(),
        };
        (entry, hasher.finish())
    }

    fn header(&self, signature: u32, made_by: &[u8], offset: Option<u32>) -> Vec<u8> {
        let mut bytes = signature.to_le_bytes().to_vec();
        bytes.extend(made_by);
        bytes.extend([20, 0, 0, 0]);
        bytes.extend(self.method.to_le_bytes());
        bytes.extend([0, 0, 0x21, 0]);
        bytes.extend(self.crc32.to_le_bytes());
        bytes.extend(u32::try_from(self.content.len()).unwrap().to_le_bytes());
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(u16::try_from(self.name.len()).unwrap().to_le_bytes());
        bytes.extend([0, 0]);
        if let Some(offset) = offset {
            bytes.extend([0; 10]);
            bytes.extend(offset.to_le_bytes());
        }
        bytes.extend(self.name.as_bytes());
        bytes
    }
}

/// Writes the entries as a zip with an end record that tells `count` of them.
fn write_zip(path: &Path, entries: impl Iterator<Item = Entry>, count: impl Fn(usize) -> u16) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    let (mut directory, mut at, mut written) = (Vec::new(), 0u32, 0);
    for entry in entries {
        directory.extend(entry.header(0x0201_4b50, &[20, 3], Some(at)));
        let header = entry.header(0x0403_4b50, &[], None);
        out.write_all(&header).unwrap();
        out.write_all(&entry.content).unwrap();
        at += u32::try_from(header.len() + entry.content.len()).unwrap();
        written += 1;
    }
    out.write_all(&directory).unwrap();
    let count = count(written).to_le_bytes();
    out.write_all(&0x0605_4b50u32.to_le_bytes()).unwrap();
    out.write_all(&[0; 4]).unwrap();
    out.write_all(&[count, count].concat()).unwrap();
    out.write_all(&u32::try_from(directory.len()).unwrap().to_le_bytes()).unwrap();
    out.write_all(&at.to_le_bytes()).unwrap();
    out.write_all(&[0, 0]).unwrap();
    out.flush().unwrap();
}

fn exactly(count: usize) -> u16 {
    count.try_into().unwrap()
}

struct Place(TempDir);

/// How a command ended.
struct End {
    code: i32,
    text: String,
    peak_bytes: u64,
}

impl Place {
    fn new() -> Self {
        let place = Place(TempDir::new().unwrap());
        let records = demo::records().unwrap();
        let members = records.members().unwrap();
        write_pack(File::create(place.path("demo.zip")).unwrap(), &records.facts(), &members, &[]).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn gait(&self, words: &[&str]) -> End {
        // The kernel counts what the process had before it became `gait`: that must be small, which this one is not.
        const METER: &str = "import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code if code >= 0 else 255)";
        let mut command = Command::new("python3");
        command.args(["-c", METER, "peak", env!("CARGO_BIN_EXE_gait")]).args(words);
        command.current_dir(self.0.path()).env("HOME", self.path("home")).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let kib: u64 = fs::read_to_string(self.path("peak")).unwrap().parse().unwrap();
        End {
            code: output.status.code().unwrap(),
            text: String::from_utf8_lossy(&text).into_owned(),
            peak_bytes: kib << 10,
        }
    }

    /// Every command that opens a runpack, on `bad.zip`: each refuses it with one of `words` in its answer, or accepts
    /// it if `words` has an empty one, within `memory` bytes.
    fn every_command_ends(&self, words: &[&str], memory: u64) {
        for command in [
            &["verify", "./bad.zip"][..],
            &["run", "diff", "./bad.zip", "./demo.zip"],
            &["run", "diff", "./demo.zip", "./bad.zip", "--privacy", "metadata"],
            &["run", "replay", "./bad.zip"],
            &["run", "reduce", "./bad.zip"],
            &["run", "receipt", "./bad.zip"],
            &["migrate", "./bad.zip"],
            &["regress", "bootstrap", "--from", "./bad.zip"],
            &["scout", "signal", "./bad.zip"],
            &["guard", "verify", "./bad.zip"],
        ] {
            let end = self.gait(command);
            let start: String = end.text.chars().take(300).collect();
            assert!(
                [0, 2, 5, 6].contains(&end.code) && !end.text.contains("panicked"),
                "{command:?}: {} {start}",
                end.code
            );
            assert!(words.iter().any(|word| end.text.contains(word)), "{command:?}: {start}");
            assert!(end.peak_bytes < memory, "{command:?}: {} MiB, {start}", end.peak_bytes / MIB);
        }
    }

    /// A runpack like that of the demo, but with `entry` in the place of its member; the manifest fits.
    fn demo_with(&self, entry: Entry, digest: &Sha256Hex) {
        let records = demo::records().unwrap();
        let members = records.members().unwrap();
        let mut pack = Vec::new();
        let mut manifest: Manifest = write_pack(&mut pack, &records.facts(), &members, &[]).unwrap();
        for file in manifest.files.iter_mut().filter(|file| file.path == entry.name) {
            file.sha256 = digest.to_string();
        }
        self.pack(manifest, entry);
    }

    fn pack(&self, mut manifest: Manifest, entry: Entry) {
        manifest.manifest_digest = manifest.computed_digest().unwrap().to_string();
        let mut container =
            gait_core::runpack::container::Container::open(File::open(self.path("demo.zip")).unwrap()).unwrap();
        let names = ["intents.jsonl", "refs.json", "results.jsonl", "run.json"];
        let mut entries: Vec<Entry> = names
            .iter()
            .map(|name| Entry::stored(name, &container.read_all(name, MIB).unwrap().unwrap()))
            .chain([Entry::stored("manifest.json", &manifest.to_bytes().unwrap())])
            .collect();
        entries.retain(|other| other.name != entry.name);
        entries.push(entry);
        write_zip(&self.path("bad.zip"), entries.into_iter(), exactly);
    }
}

#[test]
fn a_member_of_one_endless_line_is_refused_before_it_is_in_memory() {
    let place = Place::new();
    let (entry, digest) = Entry::deflated("intents.jsonl", std::io::repeat(b' ').take(MEMBER));
    assert!(entry.content.len() * 100 < MEMBER as usize, "it is a bomb");
    place.demo_with(entry, &digest);
    // Its digests are right; what is in it can't be read. A receipt needs no records.
    let words = ["longer than 10485760 bytes", "verify ok", "GAIT run_id=", "missing pack_manifest.json"];
    place.every_command_ends(&words, MEMORY);
}

#[test]
fn a_member_that_is_one_huge_record_needs_memory_for_itself_at_most() {
    let place = Place::new();
    for name in ["refs.json", "run.json"] {
        let padded = (&b"{\"x\":\""[..]).chain(std::io::repeat(b'x').take(MEMBER - 8)).chain(&b"\"}"[..]);
        let (entry, digest) = Entry::deflated(name, padded);
        place.demo_with(entry, &digest);
        place.every_command_ends(&[""], MEMORY + MEMBER + MEMBER / 4);
    }
}

#[test]
fn a_record_of_more_values_than_fit_into_memory_is_refused_unread() {
    let place = Place::new();
    let events = (&b"{\"timeline\":["[..]).chain(std::io::repeat(b'[').take(30 << 20)).chain(&b"]}"[..]);
    let (entry, digest) = Entry::deflated("run.json", events);
    place.demo_with(entry, &digest);
    let words = ["would need more than 64 MiB", "verify ok", "GAIT run_id=", "missing pack_manifest.json"];
    place.every_command_ends(&words, MEMORY + (30 << 20));
}

/// What the values of a record may take besides three times its bytes.
const VALUES: u64 = 64 * MIB;

/// A line of `objects` objects of one member, which take ninety times their bytes in memory.
fn heavy_line(objects: usize) -> Vec<u8> {
    let mut line = br#"{"intent_id":"a","tool_name":"\u0061","args":{"x":["#.to_vec();
    line.extend(br#"{"":0},"#.repeat(objects));
    line.extend(b"0]}}\n");
    line
}

#[test]
fn a_record_of_many_small_values_takes_no_more_than_promised() {
    let place = Place::new();
    // As many as pass, and as many as a line has room for.
    for (objects, words) in [(92_000, ""), (1_000_000, "would need more than 64 MiB and 3 times its 7000055 bytes")] {
        let line = heavy_line(objects);
        let (entry, digest) = Entry::deflated("intents.jsonl", line.as_slice());
        place.demo_with(entry, &digest);
        let words = [words, "verify ok", "GAIT run_id=", "missing pack_manifest.json"];
        place.every_command_ends(&words, MEMORY + VALUES + 4 * line.len() as u64);
    }
}

/// A deflate stream of `mib` MiB of zeros, which is the stream of one of them again and again, and their CRC.
fn zeros(mib: u32) -> (Vec<u8>, u32) {
    let block = vec![0; MIB as usize];
    let mut compress = Compress::new(Compression::best(), false);
    let mut piece = Vec::with_capacity(1 << 16);
    compress.compress_vec(&block, &mut piece, FlushCompress::Full).unwrap();
    let mut stream = piece.repeat(mib as usize);
    // An empty last block.
    stream.extend([0x03, 0x00]);
    let mut one = crc32fast::Hasher::new();
    one.update(&block);
    let mut all = crc32fast::Hasher::new();
    for _ in 0..mib {
        all.combine(&one);
    }
    (stream, all.finalize())
}

#[test]
fn a_member_of_four_gibibytes_is_refused_whatever_it_says_of_itself() {
    let place = Place::new();
    let (stream, crc32) = zeros(4096);
    for (size, words) in [
        (u32::MAX - 1, "zip entry too large: 4294967294"),
        (u32::MAX, "zip64 is not supported"),
        (1000, "content is larger than the directory says"),
        (MEMBER as u32, "content is larger than the directory says"),
    ] {
        let entry = Entry { name: "results.jsonl".into(), method: 8, crc32, size, content: stream.clone() };
        place.demo_with(entry, &Sha256Hex::of("unknown"));
        place.every_command_ends(&[words, "missing pack_manifest.json"], MEMORY);
    }
}

#[test]
fn a_million_members_are_too_many() {
    let place = Place::new();
    let entries = || (0..1_000_000).map(|number| Entry::stored(&format!("{number:x}"), b""));
    // As far as a plain zip can count, modulo 65536, and as zip64 marks what it can't.
    for count in [(1_000_000u32 % 65_536) as u16, u16::MAX] {
        write_zip(&place.path("bad.zip"), entries(), |_| count);
        place.every_command_ends(&["zip directory too large", "zip64 is not supported"], MEMORY);
    }
}

#[test]
fn as_many_members_as_a_zip_can_have_are_read_and_refused() {
    let place = Place::new();
    let file = |number: u32| ManifestFile { path: format!("m/{number:x}"), sha256: Sha256Hex::of("").to_string() };
    let records = demo::records().unwrap();
    let mut manifest = write_pack(std::io::sink(), &records.facts(), &records.members().unwrap(), &[]).unwrap();
    manifest.files.extend((0..65_000).map(file));
    place.pack(manifest, Entry::stored("m/0", b""));
    place.every_command_ends(&["missing", "source runpack failed integrity checks", "verification failed"], MEMORY);
}

#[test]
fn a_truncated_runpack_is_not_one() {
    let place = Place::new();
    let whole = fs::read(place.path("demo.zip")).unwrap();
    for part in 0..8 {
        fs::write(place.path("bad.zip"), &whole[..whole.len() * part / 8]).unwrap();
        place.every_command_ends(&["zip: not a valid zip file"], MEMORY);
    }
}

/// A run of `size` intents as `run record` takes it.
fn input(path: &Path, size: usize) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    out.write_all(br#"{"run":{"run_id":"run_large","created_at":"2026-02-05T00:00:00Z"},"intents":["#).unwrap();
    for number in 0..size {
        let comma = if number == 0 { "" } else { "," };
        write!(out, r#"{comma}{{"intent_id":"i{number}","tool_name":"tool.search","args":{{"n":{number}}}}}"#).unwrap();
    }
    out.write_all(b"]}").unwrap();
    out.flush().unwrap();
}

#[test]
fn a_run_that_does_not_fit_into_a_runpack_is_refused_and_leaves_nothing() {
    let place = Place::new();
    input(&place.path("run.json"), 600_000);
    let end = place.gait(&["run", "record", "--input", "run.json", "--out-dir", "out"]);
    assert_eq!(end.code, 6, "{}", end.text);
    assert!(end.text.contains("member `intents.jsonl` is larger than 104857600 bytes"), "{}", end.text);
    assert!(end.peak_bytes < MEMORY, "{} MiB", end.peak_bytes / MIB);
    assert_eq!(fs::read_dir(place.path("out")).unwrap().count(), 0);
}

#[test]
fn memory_does_not_follow_the_size_of_a_run() {
    let place = Place::new();
    let mut peaks = Vec::new();
    for size in [1_000, 30_000] {
        input(&place.path("run.json"), size);
        let mut peak = 0;
        for words in [
            &["run", "record", "--input", "run.json", "--out-dir", "out"][..],
            &["verify", "./out/runpack_run_large.zip"],
            &["run", "diff", "./out/runpack_run_large.zip", "./out/runpack_run_large.zip"],
            &["run", "replay", "./out/runpack_run_large.zip", "--json"],
            &["run", "reduce", "./out/runpack_run_large.zip", "--out", "reduced.zip"],
            &["migrate", "./out/runpack_run_large.zip", "--out", "migrated.zip"],
            &["regress", "bootstrap", "--from", "./out/runpack_run_large.zip"],
            &["scout", "signal", "./out/runpack_run_large.zip"],
        ] {
            let end = place.gait(words);
            assert!([0, 2, 5].contains(&end.code), "{words:?}: {}", end.text);
            peak = peak.max(end.peak_bytes);
        }
        peaks.push(peak);
    }
    assert!(peaks[1] < MEMORY && peaks[1] < peaks[0] + 12 * MIB, "{peaks:?}");
}
