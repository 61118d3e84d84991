//! SHA-256 digests as a type of their own.
