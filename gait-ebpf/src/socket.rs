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
    /// As [`Address::ip`]: IPv4 in the first word, the others 0.
    pub ip: [u32; 4],
}

impl Expected {
    /// Whether `seen`, in normal form, is what was judged: by one branch, see [`normal`].
    #[inline(always)]
    pub fn agrees(&self, call: u32, seen: &Address, opaque: impl Fn(u32) -> u32) -> bool {
        // No loop, and no call to compare memory, which programs of the kernel don't have.
        let differs = opaque(self.call ^ call)
            | opaque(self.family ^ seen.family)
            | opaque(self.port ^ seen.port)
            | opaque(self.ip[0] ^ seen.ip[0])
            | opaque(self.ip[1] ^ seen.ip[1])
            | opaque(self.ip[2] ^ seen.ip[2])
            | opaque(self.ip[3] ^ seen.ip[3]);
        differs == 0
    }
}

/// The address as it is judged: a v4-mapped one is IPv4. No branch: the verifier goes both ways at each, to the end of the program.
///
/// `opaque` gives the number that it gets, and keeps the compiler, which would make branches of what it knows of it, from knowing.
#[inline(always)]
pub fn normal(address: Address, opaque: impl Fn(u32) -> u32) -> Address {
    const MAPPED: u32 = 0xffff_u32.to_be();
    let [first, second, third, ip] = address.ip;
    let differs = first | second | (third ^ MAPPED) | (address.family ^ INET6);
    // 1 if it stays as it is: of a number that is not 0, it or its negative is negative.
    let stays = opaque((differs | opaque(differs.wrapping_neg())) >> 31);
    // And all ones. No mask of a constant, at which some kernels go both ways too.
    let kept = stays.wrapping_neg();
    let family = INET.wrapping_add(address.family.wrapping_sub(INET).wrapping_mul(stays));
    Address { ip: [(first & kept) | (ip & !kept), second & kept, third & kept, ip & kept], family, ..address }
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

/// [`is_mediated`] by one branch, see [`normal`].
#[inline(always)]
pub fn is_mediated_flatly(kind: u32, protocol: u32, opaque: impl Fn(u32) -> u32) -> bool {
    // Bit by bit: which protocols there are of a stream, and of datagrams.
    const STREAM: u64 = 1 << 6 | 1;
    const DATAGRAM: u64 = 1 << 58 | 1 << 17 | 1 << 1 | 1;
    let (first, second) = (opaque(kind & 1), opaque(kind >> 1 & 1));
    let protocols = (STREAM * u64::from(first)) ^ (DATAGRAM * u64::from(second));
    let is_other = opaque((protocols >> (protocol & 63)) as u32 & 1) ^ 1;
    // Both bits of the kind, or one beyond them, or a protocol that has no bit.
    is_other | opaque(first & second) | opaque(kind >> 2) | opaque(protocol >> 6) == 0
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

    fn same(number: u32) -> u32 {
        number
    }

    fn address(family: u32, bytes: [u8; 16]) -> Address {
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Address { ip: [word(0), word(4), word(8), word(12)], family, port: 80, socket: 1, protocol: 6 }
    }

    #[test]
    fn a_mapped_address_is_ipv4() {
        let mapped = address(INET6, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]);
        let plain = address(INET, [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let normal = |address| normal(address, same);
        assert_eq!(normal(mapped), plain);
        assert_eq!(normal(plain), plain);
        for at in 0..12 {
            let mut bytes = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
            bytes[at] ^= 1;
            assert_eq!(normal(address(INET6, bytes)), address(INET6, bytes));
        }
    }

    #[test]
    fn sockets_are_told_apart_flatly_too() {
        for kind in (0..20).chain([u32::MAX, 1 << 31 | 1]) {
            for protocol in (0..300).chain([u32::MAX, 1 << 31, 1 << 31 | 6]) {
                assert_eq!(is_mediated_flatly(kind, protocol, same), is_mediated(kind, protocol));
            }
        }
    }

    #[test]
    fn every_part_of_a_call_counts() {
        let bytes = [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let seen = address(INET, bytes);
        let expected = Expected { call: call::CONNECT, family: INET, port: 80, reserved: 0, ip: seen.ip };
        assert!(expected.agrees(call::CONNECT, &seen, same));
        assert!(!expected.agrees(call::SEND, &seen, same));
        assert!(!Expected { port: 81, ..expected }.agrees(call::CONNECT, &seen, same));
        assert!(!Expected { family: INET6, ..expected }.agrees(call::CONNECT, &seen, same));
        for at in 0..16 {
            let mut bytes = bytes;
            bytes[at] ^= 1;
            assert!(!Expected { ip: address(INET, bytes).ip, ..expected }.agrees(call::CONNECT, &seen, same));
        }
    }

    #[test]
    fn raw_sockets_are_not_mediated() {
        assert!(is_mediated(1, 6) && is_mediated(2, 17) && is_mediated(2, 0));
        assert!(!is_mediated(3, 255) && !is_mediated(1, 132) && !is_mediated(2, 136));
    }
}
