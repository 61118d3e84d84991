//! Syscalls that the floor refuses whatever their arguments are. Each refusal is a recorded decision.

use rustix::io::Errno;

use super::{Call, Context, Reply};
use crate::event::{Action, SystemObject};
use crate::layer::seccomp::table::syscall;
use crate::session::Floor;

/// Refuses a call of the class `Deny`.
pub(super) fn handle(context: &mut Context, call: &Call) -> Reply {
    let Some(known) = syscall(call.nr) else {
        return unhandled(context, call);
    };
    let (class, floor, errno) = reason(known.name);
    let object = SystemObject { class, detail: known.name };
    context.judge.deny(call.actor(), &Action::System { name: known.name, object }, floor);
    Reply::Errno(errno)
}

/// Refuses a call that nothing here mediates.
pub(super) fn unhandled(context: &mut Context, call: &Call) -> Reply {
    let name = syscall(call.nr).map_or("unknown", |known| known.name);
    let object = SystemObject { class: "syscall", detail: "unmediated" };
    context.judge.deny(call.actor(), &Action::System { name, object }, Floor::Unmediated);
    Reply::Errno(Errno::NOSYS)
}

/// What a syscall is aimed at, why the floor refuses it, and the error that programs expect where it is not
/// available: they have a way round for those.
fn reason(name: &str) -> (&'static str, Floor, Errno) {
    match name {
        // Work that no filter sees.
        "io_uring_setup" | "io_uring_enter" | "io_uring_register" => ("io_uring", Floor::Unmediated, Errno::NOSYS),
        "open_by_handle_at" => ("handle", Floor::Unmediated, Errno::PERM),
        // Would change what a path means.
        "mount" | "umount2" | "pivot_root" | "chroot" | "open_tree" | "open_tree_attr" | "move_mount" | "fsopen"
        | "fsconfig" | "fsmount" | "fspick" | "mount_setattr" => ("mount", Floor::Privilege, Errno::PERM),
        "unshare" | "setns" => ("namespace", Floor::Privilege, Errno::PERM),
        // Other processes.
        "ptrace" | "process_vm_readv" | "process_vm_writev" | "process_madvise" | "process_mrelease"
        | "pidfd_getfd" | "pidfd_send_signal" | "kcmp" | "migrate_pages" | "move_pages" => {
            ("process", Floor::Outsider, Errno::PERM)
        }
        // Would blind or stall the supervisor.
        "userfaultfd" | "memfd_secret" => ("memory", Floor::GuardAccess, Errno::PERM),
        // Reach outside without a path.
        "mq_open" | "mq_unlink" => ("ipc", Floor::Unmediated, Errno::NOSYS),
        "shmget" | "shmat" | "shmctl" | "msgget" | "msgsnd" | "msgrcv" | "msgctl" | "semget" | "semop" | "semctl"
        | "semtimedop" => ("ipc", Floor::Unmediated, Errno::NOSYS),
        // Its own sandbox would be hollow: descriptors come from us.
        "landlock_create_ruleset" | "landlock_add_rule" | "landlock_restrict_self" => {
            ("landlock", Floor::Unmediated, Errno::OPNOTSUPP)
        }
        "bpf" => ("bpf", Floor::Privilege, Errno::PERM),
        "perf_event_open" => ("perf", Floor::Privilege, Errno::PERM),
        "keyctl" | "add_key" | "request_key" => ("keyring", Floor::Unmediated, Errno::NOSYS),
        "init_module" | "finit_module" | "delete_module" => ("module", Floor::Privilege, Errno::PERM),
        "fanotify_init" | "fanotify_mark" => ("watch", Floor::Unmediated, Errno::PERM),
        _ => ("kernel", Floor::Privilege, Errno::PERM),
    }
}
