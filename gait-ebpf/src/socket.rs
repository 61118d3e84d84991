//! What the supervisor tells the socket hooks before it makes a call for the agent.

use crate::record::Address;

/// `AF_INET`.
pub const INET: u32 = 2;
/// `AF_INET6`.
pub const INET6: u32 = 10;

/// Threads of the supervisor that can be about to make a call.
pub const THREADS: usize = 4096;

/// The call.
pub mod call {
    /// `connect`, and sending that connects.
    pub const CONNECT: u32 = 1;
    /// A datagram with an address.
    pub const SEND: u32 = 2;
    /// `bind`.
    pub const BIND: u32 = 3;
    /// `socket`.
    pub const CREATE: u32 = 4;
}

/// One call that was judged.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// One of [`call`].
    pub call: u32,
    /// `AF_INET` or `AF_INET6`, after [`normal`].
    pub family: u32,
    /// In the machine's byte order.
    pub port: u32,
    /// Nothing.
    pub reserved: u32,
    /// IPv4 in the first four bytes, the others 0.
    pub bytes: [u8; 16],
}

impl Expected {
    /// Whether `seen`, in normal form, is what was judged.
    #[inline(always)]
    pub fn agrees(&self, call: u32, seen: &Address) -> bool {
        self.call == call && self.family == seen.family && self.port == seen.port && same(&self.bytes, &seen.bytes)
    }
}

#[inline(always)]
fn same(one: &[u8; 16], other: &[u8; 16]) -> bool {
    // Without a loop, and without a call to compare memory, which programs of the kernel don't have.
    let word = |of: &[u8; 16], at: usize| u32::from_ne_bytes([of[at], of[at + 1], of[at + 2], of[at + 3]]);
    word(one, 0) == word(other, 0)
        && word(one, 4) == word(other, 4)
        && word(one, 8) == word(other, 8)
        && word(one, 12) == word(other, 12)
}

/// The address as it is judged: a v4-mapped one is IPv4.
#[inline(always)]
pub fn normal(mut address: Address) -> Address {
    let b = address.bytes;
    let word = |at: usize| u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
    if address.family == INET6 && word(0) == 0 && word(4) == 0 && word(8) == 0xffff {
        address.family = INET;
        address.bytes = [b[12], b[13], b[14], b[15], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    }
    address
}

/// Whether an internet socket of this type and protocol is one that the filter lets the agent make.
#[inline(always)]
pub const fn is_mediated(kind: u32, protocol: u32) -> bool {
    const STREAM: u32 = 1;
    const DATAGRAM: u32 = 2;
    const ICMP: u32 = 1;
    const TCP: u32 = 6;
    const UDP: u32 = 17;
    const ICMP6: u32 = 58;
    match kind {
        STREAM => protocol == 0 || protocol == TCP,
        DATAGRAM => protocol == 0 || protocol == UDP || protocol == ICMP || protocol == ICMP6,
        _ => false,
    }
}

/// Whether a socket is of a kind that the filter lets the agent make: UNIX, the kernel's routes, and what is mediated.
#[inline(always)]
pub const fn is_let(family: u32, kind: u32, protocol: u32) -> bool {
    const UNIX: u32 = 1;
    const NETLINK: u32 = 16;
    match family {
        UNIX => true,
        // NETLINK_ROUTE
        NETLINK => protocol == 0,
        INET | INET6 => is_mediated(kind, protocol),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(family: u32, bytes: [u8; 16]) -> Address {
        Address { bytes, family, port: 80, socket: 1, protocol: 6 }
    }

    #[test]
    fn a_mapped_address_is_ipv4() {
        let mapped = address(INET6, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]);
        let plain = address(INET, [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(normal(mapped), plain);
        assert_eq!(normal(plain), plain);
        let other = address(INET6, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 127, 0, 0, 1]);
        assert_eq!(normal(other), other);
    }

    #[test]
    fn every_part_of_a_call_counts() {
        let seen = address(INET, [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let expected = Expected { call: call::CONNECT, family: INET, port: 80, reserved: 0, bytes: seen.bytes };
        assert!(expected.agrees(call::CONNECT, &seen));
        assert!(!expected.agrees(call::SEND, &seen));
        assert!(!Expected { port: 81, ..expected }.agrees(call::CONNECT, &seen));
        assert!(!Expected { family: INET6, ..expected }.agrees(call::CONNECT, &seen));
        for at in 0..16 {
            let mut bytes = seen.bytes;
            bytes[at] ^= 1;
            assert!(!Expected { bytes, ..expected }.agrees(call::CONNECT, &seen));
        }
    }

    #[test]
    fn raw_sockets_are_not_mediated() {
        assert!(is_mediated(1, 6) && is_mediated(2, 17) && is_mediated(2, 0));
        assert!(!is_mediated(3, 255) && !is_mediated(1, 132) && !is_mediated(2, 136));
    }
}
