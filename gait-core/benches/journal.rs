//! Decision lines per second of one core, with their share of checkpoints; and one signature. `cargo bench -p gait-core --bench journal`
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;
use std::io;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gait_core::digest::Sha256Hex;
use gait_core::journal::{DecisionLine, JOURNAL_SCHEMA, Open, Segments, Writer};
use gait_core::policy::Verdict;
use gait_core::signature::PrivateKey;

/// As many as a busy run writes; checkpoints every `EVERY`, as the guard has it.
const LINES: u64 = 100_000;
const EVERY: u64 = 1024;

#[derive(Default)]
struct Memory(Vec<u8>);

impl Segments for Memory {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(key: &PrivateKey) -> Open {
    Open {
        schema_id: JOURNAL_SCHEMA.into(),
        schema_version: "1.0.0".into(),
        producer_version: "0.0.0-dev".into(),
        run_id: "run_bench".into(),
        nonce: "0123456789abcdef0123456789abcdef".into(),
        started_at: "2026-03-04T10:00:00Z".into(),
        key_id: key.public().id().to_string(),
        public_key: key.public().to_base64(),
        policy_digest: Sha256Hex::of("policy"),
        plan_digest: Sha256Hex::of("plan"),
        checkpoint_every: EVERY,
        intent: serde_json::json!({}),
    }
}

fn begin() -> Writer<Memory> {
    let key = PrivateKey::from_seed([7; 32]);
    let memory = Memory(Vec::with_capacity(16 << 20));
    let open = open(&key);
    Writer::begin(memory, key, open).unwrap()
}

fn write(mut writer: Writer<Memory>) -> Writer<Memory> {
    for n in 0..LINES {
        let line = DecisionLine { def: n % 500, proc: 1 + n % 7, ..DecisionLine::default() };
        writer.decision(black_box(&line), Verdict::Allow, 1_000_000 + n * 1000).unwrap();
    }
    writer
}

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("journal");
    group.throughput(Throughput::Elements(LINES)).sample_size(20);
    group.bench_function("append decisions, hashed and signed", |b| {
        b.iter_batched(begin, write, BatchSize::LargeInput);
    });
    group.finish();
    // Of each distinct decision one is in the runpack: whatever else is done, a run takes this long for them.
    let (key, digest) = (PrivateKey::from_seed([7; 32]), Sha256Hex::of("a trace"));
    c.bench_function("sign a digest", |b| b.iter(|| key.sign_digest(black_box(&digest))));
}

criterion_group!(all, benches);
criterion_main!(all);
