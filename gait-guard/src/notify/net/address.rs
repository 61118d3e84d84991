//! Socket addresses as the kernel will read them: one copy, parsed once, judged, and then used.
//!
//! What decides is the domain of the *socket* as much as the family in the address: an IPv4 datagram
//! socket takes `AF_UNSPEC` for `AF_INET` in `sendto`, an IPv6 one sends to nobody at all then.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use rustix::io::Errno;

/// `struct sockaddr_storage`: no address may be longer (`move_addr_to_kernel`).
pub const LONGEST: usize = 128;
/// Room for the path of a UNIX socket, and where it starts.
const PATH_ROOM: usize = 108;
const PATH_START: usize = 2;
/// The part of `sockaddr_in6` that is required (RFC 2133 had no scope id).
const SHORTEST_IN6: usize = 24;
const SHORTEST_IN: usize = 16;

/// Which call the address was given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `connect`, or the destination of a message.
    Destination(Destination),
    /// `bind`.
    Local,
}

/// The two kinds of destination, which treat `AF_UNSPEC` differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Of `connect`.
    Peer,
    /// Of one message.
    Message,
}

/// What an address says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An internet address. IPv4-mapped ones are IPv4.
    Inet(SocketAddr),
    /// A socket file, as the agent spelt it.
    UnixPath(Vec<u8>),
    /// A name without a file, without its leading NUL.
    UnixAbstract(Vec<u8>),
    /// `bind` without a name: the kernel picks an abstract one.
    UnixUnnamed,
    /// The kernel's netlink port, or (for `bind`) the own one.
    NetlinkKernel,
    /// Ends the association of a socket: reaches nobody.
    Disconnect,
    /// The kernel will refuse this address with this error, before it looks at where it leads.
    Refused(Errno),
    /// Leads somewhere that nothing judges.
    Unmediated,
}

fn family(bytes: &[u8]) -> Option<i32> {
    Some(i32::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?)))
}

fn inet4(bytes: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
    (bytes.len() >= SHORTEST_IN).then(|| SocketAddr::from((Ipv4Addr::from(ip), port)))
}

fn inet6(bytes: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
    let scope = bytes.get(24..28).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes);
    let ip = Ipv6Addr::from(ip);
    Some(match ip.to_ipv4_mapped() {
        Some(ip) => SocketAddr::from((ip, port)),
        None => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)),
    })
}

/// Reads an address for a socket of `domain` in `role`.
pub fn parse(domain: i32, role: Role, bytes: &[u8]) -> Address {
    let Some(family) = family(bytes) else { return Address::Refused(Errno::INVAL) };
    match domain {
        libc::AF_INET => parse_inet4(family, role, bytes),
        libc::AF_INET6 => parse_inet6(family, role, bytes),
        libc::AF_UNIX => parse_unix(family, role, bytes),
        libc::AF_NETLINK => parse_netlink(family, role, bytes),
        _ => Address::Unmediated,
    }
}

fn parse_inet4(family: i32, role: Role, bytes: &[u8]) -> Address {
    match (family, role) {
        (libc::AF_INET, _) | (libc::AF_UNSPEC, Role::Destination(Destination::Message) | Role::Local) => {
            inet4(bytes).map_or(Address::Refused(Errno::INVAL), Address::Inet)
        }
        (libc::AF_UNSPEC, Role::Destination(Destination::Peer)) => Address::Disconnect,
        _ => Address::Refused(Errno::AFNOSUPPORT),
    }
}

fn parse_inet6(family: i32, role: Role, bytes: &[u8]) -> Address {
    match (family, role) {
        (libc::AF_INET6, _) if bytes.len() < SHORTEST_IN6 => Address::Refused(Errno::INVAL),
        (libc::AF_INET6, _) => inet6(bytes).map_or(Address::Refused(Errno::INVAL), Address::Inet),
        (libc::AF_INET, Role::Destination(_)) => inet4(bytes).map_or(Address::Refused(Errno::INVAL), Address::Inet),
        (libc::AF_UNSPEC, Role::Destination(_)) => Address::Disconnect,
        _ => Address::Refused(Errno::AFNOSUPPORT),
    }
}

fn parse_unix(family: i32, role: Role, bytes: &[u8]) -> Address {
    if family == libc::AF_UNSPEC && role == Role::Destination(Destination::Peer) {
        return Address::Disconnect;
    }
    if family != libc::AF_UNIX || bytes.len() > PATH_START + PATH_ROOM {
        return Address::Refused(Errno::INVAL);
    }
    match bytes.get(PATH_START..) {
        None | Some([]) if role == Role::Local => Address::UnixUnnamed,
        None | Some([]) => Address::Refused(Errno::INVAL),
        Some([0, name @ ..]) => Address::UnixAbstract(name.to_vec()),
        Some(path) => {
            let end = path.iter().position(|&b| b == 0).unwrap_or(path.len());
            Address::UnixPath(path[..end].to_vec())
        }
    }
}

/// Messages to the kernel are answered by it; other ports belong to other processes.
/// An own port and its subscriptions only receive what the kernel says about the network.
fn parse_netlink(family: i32, role: Role, bytes: &[u8]) -> Address {
    if family == libc::AF_UNSPEC && role == Role::Destination(Destination::Peer) {
        return Address::Disconnect;
    }
    let word = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    match (family, word(4), word(8)) {
        (libc::AF_NETLINK, Some(_), Some(_)) if role == Role::Local => Address::NetlinkKernel,
        (libc::AF_NETLINK, Some(0), Some(0)) => Address::NetlinkKernel,
        (libc::AF_NETLINK, Some(_), Some(_)) => Address::Unmediated,
        _ => Address::Refused(Errno::INVAL),
    }
}

/// The unspecified address as a destination means this host: which of its addresses depends on the
/// socket, so the guard says it instead of leaving it to the kernel. `local` is what the socket is
/// bound to, as the kernel gives it.
pub fn without_unspecified(domain: i32, address: SocketAddr, local: &[u8]) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let bound = match family(local) {
        Some(libc::AF_INET) => inet4(local),
        Some(libc::AF_INET6) => inet6(local),
        _ => None,
    };
    let loopback = match (address, bound) {
        // The kernel routes from the bound address to itself.
        (SocketAddr::V4(_), Some(SocketAddr::V4(own))) if !own.ip().is_unspecified() => IpAddr::V4(*own.ip()),
        (SocketAddr::V4(_), _) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (SocketAddr::V6(_), Some(SocketAddr::V4(_))) if domain == libc::AF_INET6 => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (SocketAddr::V6(_), _) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(loopback, address.port())
}

/// The bytes of an address for the kernel: those of the agent, with the address and port that were
/// judged written into them.
pub fn encode(bytes: &[u8], address: SocketAddr) -> Vec<u8> {
    let mut out = bytes.to_vec();
    match (family(bytes), address.ip()) {
        (Some(libc::AF_INET6), ip) => {
            let ip = match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            if let Some(place) = out.get_mut(8..24) {
                place.copy_from_slice(&ip.octets());
            }
        }
        (_, IpAddr::V4(ip)) => {
            if let Some(place) = out.get_mut(4..8) {
                place.copy_from_slice(&ip.octets());
            }
        }
        _ => {}
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Role = Role::Destination(Destination::Peer);
    const MESSAGE: Role = Role::Destination(Destination::Message);

    fn in4(family: i32, ip: [u8; 4], port: u16) -> Vec<u8> {
        let mut bytes = (family as u16).to_ne_bytes().to_vec();
        bytes.extend(port.to_be_bytes());
        bytes.extend(ip);
        bytes.extend([0; 8]);
        bytes
    }

    fn in6(ip: Ipv6Addr, port: u16, scope: u32) -> Vec<u8> {
        let mut bytes = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
        bytes.extend(port.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(ip.octets());
        bytes.extend(scope.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_mapped_address_is_judged_as_ipv4() {
        let bytes = in6("::ffff:169.254.169.254".parse().unwrap(), 80, 0);
        assert_eq!(parse(libc::AF_INET6, PEER, &bytes), Address::Inet("169.254.169.254:80".parse().unwrap()));
    }

    #[test]
    fn an_ipv4_address_on_an_ipv6_socket_is_judged() {
        let bytes = in4(libc::AF_INET, [10, 0, 0, 1], 53);
        assert_eq!(parse(libc::AF_INET6, MESSAGE, &bytes), Address::Inet("10.0.0.1:53".parse().unwrap()));
    }

    #[test]
    fn a_message_to_af_unspec_on_an_ipv4_socket_is_a_message_to_that_address() {
        let bytes = in4(libc::AF_UNSPEC, [10, 0, 0, 1], 53);
        assert_eq!(parse(libc::AF_INET, MESSAGE, &bytes), Address::Inet("10.0.0.1:53".parse().unwrap()));
        assert_eq!(parse(libc::AF_INET, PEER, &bytes), Address::Disconnect);
    }

    #[test]
    fn a_truncated_address_is_refused_as_the_kernel_does() {
        let v4 = in4(libc::AF_INET, [10, 0, 0, 1], 53);
        assert_eq!(parse(libc::AF_INET, PEER, &v4[..15]), Address::Refused(Errno::INVAL));
        assert_eq!(parse(libc::AF_INET, PEER, &v4[..1]), Address::Refused(Errno::INVAL));
        let v6 = in6(Ipv6Addr::LOCALHOST, 53, 0);
        assert_eq!(parse(libc::AF_INET6, PEER, &v6[..23]), Address::Refused(Errno::INVAL));
        assert!(matches!(parse(libc::AF_INET6, PEER, &v6[..24]), Address::Inet(_)));
    }

    #[test]
    fn a_scope_is_kept_for_the_kernel() {
        let bytes = in6("fe80::1".parse().unwrap(), 80, 2);
        let Address::Inet(SocketAddr::V6(address)) = parse(libc::AF_INET6, PEER, &bytes) else { panic!() };
        assert_eq!(address.scope_id(), 2);
        assert_eq!(encode(&bytes, SocketAddr::V6(address)), bytes);
    }

    #[test]
    fn the_unspecified_destination_is_this_host() {
        let any: SocketAddr = "0.0.0.0:80".parse().unwrap();
        let unbound = in4(libc::AF_INET, [0, 0, 0, 0], 0);
        assert_eq!(without_unspecified(libc::AF_INET, any, &unbound), "127.0.0.1:80".parse().unwrap());
        let own = in4(libc::AF_INET, [10, 0, 0, 5], 0);
        assert_eq!(without_unspecified(libc::AF_INET, any, &own), "10.0.0.5:80".parse().unwrap());
        let any: SocketAddr = "[::]:80".parse().unwrap();
        let unbound = in6(Ipv6Addr::UNSPECIFIED, 0, 0);
        assert_eq!(without_unspecified(libc::AF_INET6, any, &unbound), "[::1]:80".parse().unwrap());
    }

    #[test]
    fn the_judged_address_is_the_one_the_kernel_gets() {
        let any = in6(Ipv6Addr::UNSPECIFIED, 80, 0);
        let judged: SocketAddr = "127.0.0.1:80".parse().unwrap();
        assert_eq!(encode(&any, judged), in6("::ffff:127.0.0.1".parse().unwrap(), 80, 0));
    }

    #[test]
    fn unix_names_are_told_apart() {
        let unix = |rest: &[u8]| [&(libc::AF_UNIX as u16).to_ne_bytes()[..], rest].concat();
        assert_eq!(parse(libc::AF_UNIX, PEER, &unix(b"/run/x\0junk")), Address::UnixPath(b"/run/x".to_vec()));
        assert_eq!(parse(libc::AF_UNIX, PEER, &unix(b"\0a\0b")), Address::UnixAbstract(b"a\0b".to_vec()));
        assert_eq!(parse(libc::AF_UNIX, Role::Local, &unix(b"")), Address::UnixUnnamed);
        assert_eq!(parse(libc::AF_UNIX, PEER, &unix(b"")), Address::Refused(Errno::INVAL));
        assert_eq!(parse(libc::AF_UNIX, PEER, &unix(&[b'a'; 109])), Address::Refused(Errno::INVAL));
    }

    #[test]
    fn netlink_reaches_the_kernel_and_nobody_else() {
        let netlink = |port: u32, groups: u32| {
            let mut bytes = (libc::AF_NETLINK as u16).to_ne_bytes().to_vec();
            bytes.extend([0; 2]);
            bytes.extend(port.to_ne_bytes());
            bytes.extend(groups.to_ne_bytes());
            bytes
        };
        assert_eq!(parse(libc::AF_NETLINK, MESSAGE, &netlink(0, 0)), Address::NetlinkKernel);
        assert_eq!(parse(libc::AF_NETLINK, MESSAGE, &netlink(7, 0)), Address::Unmediated);
        assert_eq!(parse(libc::AF_NETLINK, MESSAGE, &netlink(0, 1)), Address::Unmediated);
    }

    #[test]
    fn other_families_lead_where_nothing_judges() {
        assert_eq!(parse(libc::AF_VSOCK, PEER, &[40, 0, 0, 0]), Address::Unmediated);
    }
}
