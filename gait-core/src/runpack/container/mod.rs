//! The zip container of runpacks and evidence packs, and nothing of what is in it.
//!
//! [`ContainerWriter`] writes the one form that the contract describes (artifacts 3.3), streaming.
//! [`Container`] reads what other writers may produce (3.4), streaming and bounded; [`Container::inexact`] says where
//! a container is not of the one form. We parse it ourselves because a guarded runpack is only accepted if no byte of
//! its file is left unaccounted for, which no zip library can tell.

mod exact;
mod inflate;
mod read;
mod watched;
mod write;

pub use exact::Inexact;
pub use read::{Container, ContainerError, Member, MemberError, MemberReader, Method};
pub use write::{ContainerWriter, Deflater, Facts, WriteError};

/// Members larger than this are refused (contract, artifacts 3.4).
pub const MEMBER_LIMIT_BYTES: u64 = 104_857_600;

/// How much of a member is best read at once: after each read its decoder keeps the last 32 KiB, which costs more the
/// less is read.
pub const READ_BYTES: usize = 1 << 18;

const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
const CENTRAL_SIGNATURE: u32 = 0x0201_4b50;
const DESCRIPTOR_SIGNATURE: u32 = 0x0807_4b50;
const END_SIGNATURE: u32 = 0x0605_4b50;

const LOCAL_LENGTH: u64 = 30;
const CENTRAL_LENGTH: usize = 46;
const DESCRIPTOR_LENGTH: u64 = 16;
const END_LENGTH: usize = 22;

/// The values that every member has (contract, artifacts 3.3).
mod fixed {
    pub const VERSION_NEEDED: u16 = 20;
    pub const MADE_BY: u16 = 0x0314;
    pub const FLAG_DESCRIPTOR: u16 = 0x0008;
    pub const FLAG_UTF8: u16 = 0x0800;
    pub const DEFLATE: u16 = 8;
    pub const TIME: u16 = 0;
    pub const DATE: u16 = 0x0021;
    /// Extended timestamp, modification time only: 1980-01-01T00:00:00Z.
    pub const EXTRA: [u8; 9] = [0x55, 0x54, 0x05, 0x00, 0x01, 0x00, 0xa6, 0xce, 0x12];
    /// A regular file, 0644, in the high half that Unix uses.
    pub const ATTRIBUTES: u32 = 0x81A4_0000;

    pub fn flags(name: &str) -> u16 {
        if name.is_ascii() { FLAG_DESCRIPTOR } else { FLAG_DESCRIPTOR | FLAG_UTF8 }
    }
}

/// Little-endian numbers out of bytes that were checked to be long enough; zero where they are not.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests;
