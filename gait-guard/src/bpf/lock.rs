//! What a thread of the supervisor announces to the socket hooks before it makes a call for the agent.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::{HashMap, MapData};
use gait_ebpf::socket::{INET, INET6, call};
use rustix::io::Errno;

use super::object::map_error;
use super::{BpfError, Object};
use crate::event::InetCall;
use crate::sys::thread::own_tid;

/// Bytes of [`gait_ebpf::socket::Expected`].
const EXPECTED: usize = size_of::<gait_ebpf::socket::Expected>();

type Announcements = HashMap<MapData, u32, [u8; EXPECTED]>;

/// The second lock: a call that was not announced, or is made with another address, is refused by the kernel.
pub struct SocketLock {
    announced: Mutex<Announcements>,
}

impl Object {
    /// What unlocks the socket hooks.
    ///
    /// # Errors
    /// [`BpfError::Map`]
    pub fn socket_lock(&self) -> Result<SocketLock, BpfError> {
        let map = self.map("EXPECTED")?;
        let announced = Announcements::try_from(map).map_err(map_error("EXPECTED"))?;
        Ok(SocketLock { announced: Mutex::new(announced) })
    }
}

impl SocketLock {
    /// Makes a call that was judged: `act` on `address`, from this thread.
    ///
    /// # Errors
    /// `ENOBUFS` if it could not be announced, so was not made; else those of `act`.
    pub fn announce<R>(
        &self,
        how: InetCall,
        address: SocketAddr,
        act: impl FnOnce() -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let tid = own_tid().unsigned_abs();
        self.announced().insert(tid, encode(how, address), 0).map_err(|_| Errno::NOBUFS)?;
        let done = act();
        // Left behind, it would allow this thread the same call again, which was judged too.
        let _ = self.announced().remove(&tid);
        done
    }

    fn announced(&self) -> MutexGuard<'_, Announcements> {
        // Each call on the map is whole or did nothing.
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode(how: InetCall, address: SocketAddr) -> [u8; EXPECTED] {
    let number = match how {
        InetCall::Connect => call::CONNECT,
        InetCall::Send => call::SEND,
        InetCall::Bind => call::BIND,
    };
    let (family, mut ip) = (if address.is_ipv4() { INET } else { INET6 }, [0; 16]);
    match address.ip() {
        IpAddr::V4(four) => ip[..4].copy_from_slice(&four.octets()),
        IpAddr::V6(six) => ip = six.octets(),
    }
    let mut out = [0; EXPECTED];
    let words = [number, family, u32::from(address.port()), 0].map(u32::to_ne_bytes);
    out[..16].copy_from_slice(words.as_flattened());
    out[16..].copy_from_slice(&ip);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_lies_as_the_kernel_reads_it() {
        let bytes = encode(InetCall::Send, "10.1.2.3:53".parse().unwrap());
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!([word(0), word(4), word(8), word(12)], [call::SEND, INET, 53, 0]);
        assert_eq!(bytes[16..], [10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let six = encode(InetCall::Bind, "[2001:db8::1]:80".parse().unwrap());
        assert_eq!((six[0], six[4], six[16], six[31]), (3, 10, 0x20, 1));
    }
}
