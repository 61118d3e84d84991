//! The run as one verifiable file: container, records, read, write, verify, replay, diff, reduce.
