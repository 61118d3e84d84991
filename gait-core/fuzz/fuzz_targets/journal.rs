//! Any bytes at all as a journal: checked line by line. What is accepted adds up, and its records are derived.
#![no_main]

use gait_core::guarded::Derivation;
use gait_core::journal::Checker;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut checker = Checker::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if checker.line(line).is_err() {
            return;
        }
    }
    let Some((ledger, chain, _)) = checker.unfinished() else { return };
    let derivation = Derivation::new(&ledger, &chain).unwrap();
    assert!(derivation.records().all(|records| records.is_ok()));
    let counted: u64 = derivation.tallies().map(|tally| tally.count).sum();
    assert_eq!(counted, chain.decisions());
});
