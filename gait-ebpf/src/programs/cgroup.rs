//! Socket calls, judged on the kernel's own copy of the address: the second lock behind the supervisor.
//!
//! A hook is found by the socket's control group, which is that of the task that made it: the agent's. So it sees calls on
//! the agent's sockets whoever makes them. The agent makes none itself: each is held by its filter and made by a thread
//! of the supervisor, which says before what it was allowed to do ([`EXPECTED`]). Anything else is refused and recorded.

use aya_ebpf::EbpfContext;
use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::macros::{btf_map, cgroup_sock, cgroup_sock_addr};
use aya_ebpf::programs::{SockAddrContext, SockContext};
use gait_ebpf::record::{Address, kind};
use gait_ebpf::socket::{self, Expected, call};

use crate::kernel;
use crate::ring;

/// By thread of the supervisor: the one call that it is about to make on a socket of the agent.
#[btf_map]
static EXPECTED: HashMap<u32, Expected, { socket::THREADS }> = HashMap::new();

/// A field of the kernel's context: read by itself, since the verifier takes no access to two at once.
macro_rules! field {
    ($context:expr, $field:ident) => {
        // SAFETY: the kernel's context; the verifier knows which fields a hook may read.
        unsafe { core::ptr::read_volatile(&raw const (*$context).$field) }
    };
}

const REFUSE: i32 = 0;
const PASS: i32 = 1;

/// Whether the call is the one that the current thread announced.
#[inline(always)]
fn judge(ctx: &SockAddrContext, which: u32, ip: [u32; 4], family: u32) -> i32 {
    let port: u32 = field!(ctx.sock_addr, user_port);
    let kind = field!(ctx.sock_addr, type_);
    let protocol = field!(ctx.sock_addr, protocol);
    let port = u32::from(u16::from_be(port as u16));
    let seen = socket::normal(Address { ip, family, port, socket: kind, protocol }, kernel::opaque);
    let tid = kernel::number(kernel::current());
    // SAFETY: only the thread itself changes its entry, and it is in this call.
    if let Some(expected) = unsafe { EXPECTED.get(tid) }
        && expected.agrees(which, &seen, kernel::opaque)
    {
        return PASS;
    }
    refused(tid, which, &seen)
}

#[inline(always)]
fn refused(tid: u32, which: u32, seen: &Address) -> i32 {
    ring::put_denied_address(ring::header_of(tid, kind::ADDRESS, which, 0), seen);
    REFUSE
}

#[inline(always)]
fn four(ctx: &SockAddrContext, which: u32) -> i32 {
    judge(ctx, which, [field!(ctx.sock_addr, user_ip4), 0, 0, 0], socket::INET)
}

#[inline(always)]
fn six(ctx: &SockAddrContext, which: u32) -> i32 {
    // One field after the other: the context is no memory that could be copied.
    let word = |at: usize| {
        // SAFETY: the kernel's context.
        unsafe { core::ptr::read_volatile((&raw const (*ctx.sock_addr).user_ip6).cast::<u32>().add(at)) }
    };
    judge(ctx, which, [word(0), word(1), word(2), word(3)], socket::INET6)
}

/// `connect` to IPv4.
#[cgroup_sock_addr(connect4)]
pub fn on_connect4(ctx: SockAddrContext) -> i32 {
    four(&ctx, call::CONNECT)
}

/// `connect` to IPv6.
#[cgroup_sock_addr(connect6)]
pub fn on_connect6(ctx: SockAddrContext) -> i32 {
    six(&ctx, call::CONNECT)
}

/// A datagram with an IPv4 address.
#[cgroup_sock_addr(sendmsg4)]
pub fn on_sendmsg4(ctx: SockAddrContext) -> i32 {
    four(&ctx, call::SEND)
}

/// A datagram with an IPv6 address.
#[cgroup_sock_addr(sendmsg6)]
pub fn on_sendmsg6(ctx: SockAddrContext) -> i32 {
    six(&ctx, call::SEND)
}

/// `bind` to IPv4.
#[cgroup_sock_addr(bind4)]
pub fn on_bind4(ctx: SockAddrContext) -> i32 {
    four(&ctx, call::BIND)
}

/// `bind` to IPv6.
#[cgroup_sock_addr(bind6)]
pub fn on_bind6(ctx: SockAddrContext) -> i32 {
    six(&ctx, call::BIND)
}

/// An internet socket was made: only the kinds that the filter lets the agent make.
#[cgroup_sock(sock_create)]
pub fn on_sock_create(ctx: SockContext) -> i32 {
    let _ = ctx.as_ptr();
    let family = field!(ctx.sock, family);
    let kind = field!(ctx.sock, type_);
    let protocol = field!(ctx.sock, protocol);
    if socket::is_mediated_flatly(kind, protocol, kernel::opaque) {
        return PASS;
    }
    let tid = kernel::number(kernel::current());
    let zero = || kernel::zero() as u32;
    refused(
        tid,
        call::CREATE,
        &Address { ip: [zero(), zero(), zero(), zero()], family, port: 0, socket: kind, protocol },
    )
}
