//! Calls that the floor refuses, whatever they ask for or because of what their registers say. Each
//! refusal is a recorded decision.

use rustix::io::Errno;

use super::{Call, Context, RegisterOnly, Reply, pids, refuse};
use crate::event::{Action, SystemObject};
use crate::session::{Floor, Ruling};

const F_SETOWN: i32 = 8;

/// A ring of io_uring.
pub const RING: Action<'static> =
    Action::System { name: "io_uring_setup", object: SystemObject { class: "io_uring", detail: "any" } };

/// Refuses a call of the class `Deny`.
pub(super) fn handle(context: &mut Context, call: &Call) -> Reply {
    match refuse::name(call.nr) {
        "pidfd_send_signal" => pids::pidfd_send_signal(context, call),
        "io_uring_setup" if context.judge.lets_rings() => match context.judge.judge(call.actor(), &RING) {
            Ruling::Allow => Reply::Continue(RegisterOnly::because("the ring, not the call, is what is judged")),
            Ruling::Deny(errno) => Reply::Errno(errno),
        },
        name => pids::refuse_call(context, call, name),
    }
}

/// Refuses a call of the class `Static` that the filter did not let through.
pub(super) fn by_registers(context: &mut Context, call: &Call) -> Reply {
    match refuse::name(call.nr) {
        "fcntl" if call.int(1) == F_SETOWN => pids::owner(context, call),
        name => pids::refuse_call(context, call, name),
    }
}

/// Refuses a call that nothing here mediates.
pub(super) fn unhandled(context: &mut Context, call: &Call) -> Reply {
    let object = SystemObject { class: "syscall", detail: "unmediated" };
    let action = Action::System { name: refuse::name(call.nr), object };
    context.judge.deny(call.actor(), &action, Floor::Unmediated);
    Reply::Errno(Errno::NOSYS)
}
