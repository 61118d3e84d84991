//! RFC 8785 canonical JSON: the bytes that are hashed and signed.
