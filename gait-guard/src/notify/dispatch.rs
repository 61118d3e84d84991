//! From a syscall to the handler of its class.
//!
//! A handler is a module with `fn handle(context: &mut Context, call: &Call) -> Reply`; what it keeps
//! between calls is a field of [`Context`].

use super::{Call, Context, Reply, deny};
use crate::layer::seccomp::Class;
use crate::layer::seccomp::table::syscall;

/// Decides one held call. What has no handler is denied and recorded, never continued.
pub(super) fn dispatch(context: &mut Context, call: &Call) -> Reply {
    match syscall(call.nr).map(|known| known.class) {
        Some(Class::Deny) => deny::handle(context, call),
        Some(_) | None => deny::unhandled(context, call),
    }
}
