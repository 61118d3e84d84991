//! Somebody's permission for one intent under one policy (control 10).
//!
//! [`token`] is the signed record and how it is minted, [`keys`] whose signatures count, [`assess`] what a set of
//! tokens is worth for one decision, [`audit`] the record of that, [`uses`] the memory that makes a token good for one
//! decision only. Reading files, the time and the lock on the memory are the caller's business.

pub mod assess;
pub mod audit;
pub mod fault;
pub mod keys;
pub mod token;
pub mod uses;

pub use assess::{Assessment, Demand, assess};
pub use audit::ApprovalAudit;
pub use fault::TokenFault;
pub use keys::{Distinct, KeyRing};
pub use token::{ApprovalToken, MintError, MintRequest};
pub use uses::TokenUses;

#[cfg(test)]
mod tests;
