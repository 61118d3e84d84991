//! Ed25519 keys and signatures over canonical digests.
