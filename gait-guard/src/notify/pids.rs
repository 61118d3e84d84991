//! Calls that name a process or a group by number: decided by registers alone.
//!
//! A number can be anybody's: the agent is in the pid namespace of everybody else.

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::agent::Stop;
use super::refuse::{self, Refusal, Whose};
use super::tree::kin;
use super::{Call, Context, RegisterOnly, Reply};
use crate::event::{Action, SystemObject};
use crate::session::Floor;
use crate::sys;

const PRIO_PROCESS: i32 = 0;
const PRIO_PGRP: i32 = 1;

/// Whom a call names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// The caller, or its own group.
    Own,
    /// A process or thread.
    Process(i32),
    /// A process group.
    Group(i32),
    /// Everybody that the caller may reach.
    All,
    /// Everybody of a user.
    User,
}

impl Named {
    fn by(name: &str, call: &Call) -> Self {
        let process = |pid: i32| if pid <= 0 { Self::Own } else { Self::Process(pid) };
        let group = |group: i32| if group <= 0 { Self::Own } else { Self::Group(group) };
        match name {
            "kill" => Self::signalled(call.int(0)),
            "tgkill" | "rt_tgsigqueueinfo" => process(call.int(1)),
            "setpriority" => match call.int(0) {
                PRIO_PROCESS => process(call.int(1)),
                PRIO_PGRP => group(call.int(1)),
                _ => Self::User,
            },
            // IOPRIO_WHO_PROCESS, _PGRP, _USER
            "ioprio_set" => match call.int(0) {
                1 => process(call.int(1)),
                2 => group(call.int(1)),
                _ => Self::User,
            },
            _ => process(call.int(0)),
        }
    }

    /// The first argument of `kill`, or the owner of a descriptor.
    fn signalled(pid: i32) -> Self {
        match pid {
            0 => Self::Own,
            -1 => Self::All,
            pid if pid > 0 => Self::Process(pid),
            pid => pid.checked_neg().map_or(Self::All, Self::Group),
        }
    }
}

/// Decides a call of the class `Pid`.
pub(super) fn handle(context: &mut Context, call: &Call) -> Reply {
    let name = refuse::name(call.nr);
    decide(context, call, name, Named::by(name, call))
}

/// Decides `fcntl(F_SETOWN)`: who gets signals about a descriptor.
pub(super) fn owner(context: &mut Context, call: &Call) -> Reply {
    let owner = call.int(2);
    // Here a number below 0 is a group whatever it is.
    let named = if owner == -1 { Named::Group(1) } else { Named::signalled(owner) };
    decide(context, call, "fcntl", named)
}

fn decide(context: &Context, call: &Call, name: &'static str, named: Named) -> Reply {
    let whose = match named {
        Named::Own => Whose::Tree,
        Named::Process(pid) => whose(context, pid),
        Named::Group(group) => whose_group(context, group),
        Named::All | Named::User => Whose::Outside,
    };
    match whose {
        Whose::Tree => Reply::Continue(RegisterOnly::because("the process is named by a register")),
        Whose::Nobody => Reply::Errno(Errno::SRCH),
        Whose::Guard => refused(context, call, name, "guard", Floor::GuardAccess),
        Whose::Outside => refused(context, call, name, "outside", Floor::Outsider),
    }
}

fn refused(context: &Context, call: &Call, name: &'static str, detail: &'static str, floor: Floor) -> Reply {
    let action = Action::System { name, object: SystemObject { class: "process", detail } };
    Reply::Errno(context.judge.deny(call.actor(), &action, floor))
}

/// Whose the process or thread `pid` is.
pub(super) fn whose(context: &Context, pid: i32) -> Whose {
    match kin(pid) {
        None => Whose::Nobody,
        Some(kin) if context.tree.is_guard(kin.process) => Whose::Guard,
        Some(_) if context.tree.contains(pid) => Whose::Tree,
        Some(_) => Whose::Outside,
    }
}

/// A group is of one session, and sessions of the tree were begun by the tree: so any member tells.
fn whose_group(context: &Context, group: i32) -> Whose {
    match kin(group) {
        Some(_) if group_of(group) == Some(group) => whose(context, group),
        _ => member_of(group).map_or(Whose::Nobody, |pid| whose(context, pid)),
    }
}

/// The process group of a process, from field 5 of its `stat`; 0 for threads of the kernel.
fn group_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.get(stat.iter().rposition(|&b| b == b')')? + 1..)?;
    std::str::from_utf8(after_name).ok()?.split_ascii_whitespace().nth(2)?.parse().ok()
}

/// Some process of a group whose leader has ended.
fn member_of(group: i32) -> Option<i32> {
    let entries = std::fs::read_dir("/proc").ok()?;
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| group_of(*pid) == Some(group))
}

/// `pidfd_send_signal`. What the descriptor number stands for can change until the kernel looks, so
/// the signal is sent from here, to the process that was found to be the agent's.
pub(super) fn pidfd_send_signal(context: &mut Context, call: &Call) -> Reply {
    match send(context, call) {
        Ok(reply) => reply,
        Err(Stop::Errno(errno)) => Reply::Errno(errno),
        Err(_) => refused(context, call, "pidfd_send_signal", "unreadable", Floor::Unreadable),
    }
}

fn send(context: &Context, call: &Call) -> Result<Reply, Stop> {
    const THREAD: u32 = 1;
    const THREAD_GROUP: u32 = 2;
    let flags = call.args[3] as u32;
    if flags & !(THREAD | THREAD_GROUP) != 0 {
        // A whole group may have members that are not the agent's.
        return Ok(refused(context, call, "pidfd_send_signal", "outside", Floor::Outsider));
    }
    let agent = context.agent(call.tid);
    let pid = process_of(call.tid, call.int(0))?;
    let info = match call.args[2] {
        0 => None,
        address => {
            let mut info = [0; 128];
            agent.bytes(address, &mut info)?;
            Some(info)
        }
    };
    let raw = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
    let target = match rustix::process::pidfd_open(raw, PidfdFlags::empty()) {
        // The descriptor of a thread.
        Err(Errno::INVAL | Errno::NOENT) => sys::socket::thread_pidfd(pid)?,
        other => other?,
    };
    // Asked with the descriptor held: the number can't have come to mean another process since.
    let whose = whose(context, pid);
    context.confirm(call)?;
    match whose {
        Whose::Tree => {}
        Whose::Nobody => return Err(Errno::SRCH.into()),
        Whose::Guard => return Ok(refused(context, call, "pidfd_send_signal", "guard", Floor::GuardAccess)),
        Whose::Outside => return Ok(refused(context, call, "pidfd_send_signal", "outside", Floor::Outsider)),
    }
    sys::signal::signal_pidfd(target.as_fd(), call.int(1), info.as_ref(), flags)?;
    Ok(Reply::Value(0))
}

/// The process behind a pidfd of thread `tid`.
fn process_of(tid: i32, fd: i32) -> Result<i32, Errno> {
    let text = std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).map_err(|_| Errno::BADF)?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse::<i32>().ok());
    match pid {
        None => Err(Errno::BADF),
        Some(pid) if pid <= 0 => Err(Errno::SRCH),
        Some(pid) => Ok(pid),
    }
}

/// Refuses a call whose registers say that nothing mediates it.
pub(super) fn refuse_call(context: &Context, call: &Call, name: &'static str) -> Reply {
    let Refusal { object, floor, errno } = refuse::refuse(name, &call.args, |pid| whose(context, pid));
    Reply::Errno(context.judge.deny_as(call.actor(), &Action::System { name, object }, floor, errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(args: [u64; 6]) -> Call {
        Call { id: 0, tid: 0, nr: 0, args }
    }

    fn negative(number: i32) -> u64 {
        u64::from(number as u32)
    }

    #[test]
    fn kill_names_processes_groups_and_everybody() {
        assert_eq!(Named::by("kill", &call([7, 9, 0, 0, 0, 0])), Named::Process(7));
        assert_eq!(Named::by("kill", &call([negative(-7), 9, 0, 0, 0, 0])), Named::Group(7));
        assert_eq!(Named::by("kill", &call([negative(-1), 9, 0, 0, 0, 0])), Named::All);
        assert_eq!(Named::by("kill", &call([negative(i32::MIN), 9, 0, 0, 0, 0])), Named::All);
        assert_eq!(Named::by("kill", &call([0xffff_ffff_0000_0007, 9, 0, 0, 0, 0])), Named::Process(7));
    }

    #[test]
    fn priorities_name_processes_groups_and_users() {
        assert_eq!(Named::by("setpriority", &call([0, 7, 0, 0, 0, 0])), Named::Process(7));
        assert_eq!(Named::by("setpriority", &call([1, 7, 0, 0, 0, 0])), Named::Group(7));
        assert_eq!(Named::by("setpriority", &call([2, 0, 0, 0, 0, 0])), Named::User);
        assert_eq!(Named::by("ioprio_set", &call([3, 0, 0, 0, 0, 0])), Named::User);
    }

    #[test]
    fn the_thread_decides_not_the_process_it_is_said_to_be_of() {
        assert_eq!(Named::by("tgkill", &call([7, 8, 9, 0, 0, 0])), Named::Process(8));
    }
}
