//! A hundred thousand damaged runpacks, always the same ones: each ends in an answer or an error, none in a panic.
//!
//! Damage is done to the file, and to members that are then packed again with a manifest that fits them: the first
//! tries the container, the second what is behind the digests.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

#[path = "common/reading.rs"]
mod reading;

use gait_core::digest::Sha256Hex;
use gait_core::runpack::container::{Container, ContainerWriter};
use gait_core::runpack::demo;
use gait_core::runpack::open::Runpack;
use gait_core::runpack::verify::MANIFEST;
use gait_core::runpack::write::write_pack;
use reading::{Reached, read_everything};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Pseudo-random numbers with a fixed seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// One to three changes: bytes flipped, set, put in, taken out, doubled, moved, the rest cut off.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            bytes.push(random.next() as u8);
        }
        let at = random.below(bytes.len());
        let to = (at + 1 + random.below(40)).min(bytes.len());
        match random.below(9) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.next() as u8),
            2 => drop(bytes.remove(at)),
            3 => bytes[at..(at + 4).min(to)].fill(if random.below(2) == 0 { 0xff } else { 0 }),
            4 => drop(bytes.drain(at..to)),
            5 => {
                let piece = bytes[at..to].to_vec();
                let place = random.below(bytes.len());
                bytes.splice(place..place, piece);
            }
            6 => {
                const SPICE: [&[u8]; 8] =
                    [b"\"", b"{", b"]", b"\\ud800", b"null", b"1e999", b"\n", b"-18446744073709551616"];
                let spice = SPICE[random.below(SPICE.len())].iter().copied();
                bytes.splice(at..at, spice);
            }
            7 => bytes[at] ^= 1 << random.below(8),
            _ => bytes[at] = random.next() as u8,
        }
    }
}

fn members(pack: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut container = Container::open(Cursor::new(pack)).unwrap();
    let names: Vec<String> = container.members().iter().map(|member| member.name.clone()).collect();
    let mut read = |name: String| {
        let bytes = container.read_all(&name, 1 << 20).unwrap().unwrap();
        (name, bytes)
    };
    names.into_iter().map(&mut read).collect()
}

/// The members as a container. The manifest is made to fit unless it is what was damaged.
fn packed(mut members: BTreeMap<String, Vec<u8>>, original: &[u8], damaged: &str) -> Vec<u8> {
    if damaged != MANIFEST {
        let mut manifest = Runpack::open(Cursor::new(original)).unwrap().manifest().clone();
        for file in &mut manifest.files {
            file.sha256 = Sha256Hex::of(&members[&file.path]).to_string();
        }
        manifest.manifest_digest = manifest.computed_digest().unwrap().to_string();
        members.insert(MANIFEST.into(), manifest.to_bytes().unwrap());
    }
    let mut writer = ContainerWriter::new(Vec::new());
    for (name, bytes) in &members {
        writer.member(name, bytes.as_slice()).unwrap();
    }
    writer.finish().unwrap()
}

/// The demo's pack and that of a guarded run.
fn packs() -> [Vec<u8>; 2] {
    let records = demo::records().unwrap();
    let mut plain = Vec::new();
    write_pack(&mut plain, &records.facts(), &records.members().unwrap(), &[]).unwrap();
    let guarded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/guarded/complete.zip");
    [plain, std::fs::read(guarded).unwrap()]
}

/// How often each point was reached.
type Counts = BTreeMap<Reached, usize>;

/// Damages one pack so many times.
type Job = fn(&[u8], usize, Random) -> Counts;

/// Damages `times` files of one pack.
fn damaged_files(pack: &[u8], times: usize, mut random: Random) -> Counts {
    let mut reached = Counts::new();
    for _ in 0..times {
        let mut file = pack.to_vec();
        damage(&mut file, &mut random);
        *reached.entry(read_everything(&file, pack)).or_default() += 1;
    }
    reached
}

/// The same for members.
fn damaged_members(pack: &[u8], times: usize, mut random: Random) -> Counts {
    let members = members(pack);
    let names: Vec<&String> = members.keys().collect();
    let mut reached = Counts::new();
    for _ in 0..times {
        let mut changed = members.clone();
        let name = names[random.below(names.len())];
        damage(changed.get_mut(name).unwrap(), &mut random);
        let file = packed(changed, pack, name);
        *reached.entry(read_everything(&file, pack)).or_default() += 1;
    }
    reached
}

/// Half a second for one of them would be a hang: all of them get minutes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(600);

#[test]
fn a_hundred_thousand_mutations_end_in_an_answer() {
    let [plain, guarded] = packs();
    assert_eq!([&plain, &guarded].map(|pack| read_everything(pack, &plain)), [Reached::Records; 2]);
    let start = Instant::now();
    // What damage to the file costs is mostly found at once; behind the digests there is more to do.
    let jobs: [(Job, &[u8], usize); 4] = [
        (damaged_files, &plain, 85_000),
        (damaged_members, &plain, 4_000),
        (damaged_files, &guarded, 10_800),
        (damaged_members, &guarded, 200),
    ];
    let counts: Vec<Counts> = thread::scope(|scope| {
        let started: Vec<_> = (20_260_205..)
            .zip(jobs)
            .map(|(seed, (job, pack, times))| scope.spawn(move || job(pack, times, Random(seed))))
            .collect();
        started.into_iter().map(|job| job.join().expect("no panic")).collect()
    });
    let mut reached = Counts::new();
    for (point, count) in counts.into_iter().flatten() {
        *reached.entry(point).or_default() += count;
    }
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert_eq!(reached.values().sum::<usize>(), 100_000);
    // Otherwise the damage would only ever have tried the first check.
    for point in [Reached::Nothing, Reached::Container, Reached::Manifest, Reached::Intact, Reached::Records] {
        assert!(reached.get(&point).is_some_and(|count| *count > 100), "{reached:?}");
    }
}

#[test]
fn a_runpack_cut_off_anywhere_is_not_one() {
    // The larger one not at each byte: it takes a minute.
    for (pack, step) in packs().into_iter().zip([1, 13]) {
        for length in (0..pack.len()).step_by(step) {
            assert_eq!(read_everything(&pack[..length], &pack), Reached::Nothing, "{length} of {}", pack.len());
        }
    }
}
