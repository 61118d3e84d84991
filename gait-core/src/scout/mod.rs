//! What many runs say together: fingerprints, families, inventory.
