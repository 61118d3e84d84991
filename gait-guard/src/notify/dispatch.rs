//! From a syscall to the handler of its class.
//!
//! A handler is a module with `fn handle(context: &mut Context, call: &Call) -> Reply`; what it keeps
//! between calls is a field of [`Context`].

use super::{Call, Context, Reply, deny, exec, map, mutate, net, open, pids, watch};
use crate::layer::seccomp::Class;
use crate::layer::seccomp::table::syscall;

/// Decides one held call. What has no handler is denied and recorded, never continued.
pub(super) fn dispatch(context: &mut Context, call: &Call) -> Reply {
    match syscall(call.nr).map(|known| known.class) {
        Some(Class::Open) => open::handle(context, call),
        Some(Class::Mutate | Class::FdMutate) => mutate::handle(context, call),
        Some(Class::Watch) => watch::handle(context, call),
        Some(Class::Deny) => deny::handle(context, call),
        Some(Class::Static) => deny::by_registers(context, call),
        Some(Class::Exec) => exec::handle(context, call),
        Some(Class::Map) => map::handle(context, call),
        Some(Class::Net) => net::handle(context, call),
        Some(Class::Pid) => pids::handle(context, call),
        Some(_) | None => deny::unhandled(context, call),
    }
}
