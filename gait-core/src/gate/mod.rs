//! One decision at a tool boundary, from the verdict of the policy to the one that holds (control 8).
//!
//! The policy says what it thinks of an intent; then its rate limit, approvals and the credential broker have their
//! say, each of which can only be asked when the one before has let the call pass. [`Ruling`] is the decision on that
//! way. Time, files, commands and keys come in as arguments.

mod profile;
mod ruling;

pub use profile::{Profile, ProfileError, UnknownProfile};
pub use ruling::{CredentialRefusal, Ruling, Simulated};

#[cfg(test)]
mod tests;
