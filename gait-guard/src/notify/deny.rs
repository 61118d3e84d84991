//! Calls that the floor refuses, whatever they ask for or because of what their registers say. Each
//! refusal is a recorded decision.

use rustix::io::Errno;

use super::{Call, Context, Reply, pids, refuse};
use crate::event::{Action, SystemObject};
use crate::session::Floor;

const F_SETOWN: i32 = 8;

/// Refuses a call of the class `Deny`.
pub(super) fn handle(context: &mut Context, call: &Call) -> Reply {
    match refuse::name(call.nr) {
        "pidfd_send_signal" => pids::pidfd_send_signal(context, call),
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
