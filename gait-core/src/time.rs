//! RFC 3339 timestamps that keep what they were written with.
