//! What a workspace could call, and which runs fail alike (contract, artifacts 6 and 7).
//!
//! [`adoption`] tells which first steps were taken, [`snapshot`] lists tools and servers of a workspace and how far a policy covers them, [`drift`] compares two such
//! lists, [`signal`] groups runs by what went wrong.

pub mod adoption;
pub mod coverage;
pub mod drift;
mod family;
mod glob;
mod python;
mod reason;
mod servers;
pub mod signal;
pub mod snapshot;

use crate::digest::Sha256Hex;

/// The schema version of every record here.
pub const SCHEMA_VERSION: &str = "1.0.0";

/// An identifier made of `a-z`, `0-9` and `_`; a hash where nothing would be left (contract, artifacts 6.1).
pub(crate) fn norm(text: &str) -> String {
    let plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    let mapped: String = crate::text::lower_trimmed(text)
        .chars()
        .map(|character| if plain(character) { character } else { '_' })
        .collect();
    match mapped.trim_matches('_') {
        "" => Sha256Hex::of(text).short(16),
        left => left.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_normalised_as_the_contract_says() {
        assert_eq!(norm(""), "e3b0c44298fc1c14");
        assert_eq!(norm("é"), "4a99557e4033c353");
        assert_eq!(norm(" Payment  API! "), "payment__api");
    }
}
