//! What this host can do, found out by doing it: each capability the notify engine uses is tried once, in a process made
//! for the purpose or on this one's own child.

mod facts;

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, WaitOptions, pidfd_getfd, pidfd_open, waitpid};

pub use facts::facts;

use crate::launch::{Command, Confinement, hold};
use crate::layer::landlock::{Domain, LandlockError, domain};
use crate::layer::seccomp::Opens;
use crate::sys::child::{Failed, Held, Step};
use crate::sys::process::in_child;
use crate::sys::{mount, trace};

/// A part of the boundary, as flags and receipts name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// A session of its own, no inherited descriptors, no capabilities, a scrubbed environment.
    Descriptors,
    /// The static superset.
    Landlock,
    /// The filter.
    Seccomp,
    /// The supervisor.
    Notify,
    /// The second look at what an exec really runs.
    ExecStop,
    /// Judging addresses on a duplicate of the agent's socket.
    Network,
    /// Files that may not be executed can't be mapped executable either.
    Noexec,
    /// Nothing of the agent outlives the guard.
    Watchdog,
    /// BPF tracepoints: a second witness of each fork, exec and exit.
    Probes,
    /// BPF hooks in a control group: a second lock on each address.
    SocketHooks,
}

impl Layer {
    /// All, outermost first.
    pub const ALL: [Self; 10] = [
        Self::Descriptors,
        Self::Landlock,
        Self::Seccomp,
        Self::Notify,
        Self::ExecStop,
        Self::Network,
        Self::Noexec,
        Self::Watchdog,
        Self::Probes,
        Self::SocketHooks,
    ];

    /// Its name in flags and receipts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Descriptors => "descriptors",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::Notify => "notify",
            Self::ExecStop => "exec_stop",
            Self::Network => "network",
            Self::Noexec => "noexec",
            Self::Watchdog => "watchdog",
            Self::Probes => "probes",
            Self::SocketHooks => "socket_hooks",
        }
    }

    /// The layer of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| layer.name() == name)
    }

    /// Whether no run is started without it, unless the user says so.
    pub fn is_vital(self) -> bool {
        !matches!(self, Self::Network | Self::Noexec | Self::Probes | Self::SocketHooks)
    }

    /// What is lost without it.
    pub fn cost(self) -> &'static str {
        match self {
            Self::Descriptors | Self::Seccomp | Self::Notify | Self::Watchdog => "nothing can be guarded",
            Self::Landlock => {
                "if the guard and its watchdog die at once, what is left of the agent is bound by seccomp alone"
            }
            Self::ExecStop => "a program could be swapped between its check and its start",
            Self::Network => "addresses can't be judged, so only policies that deny all network can start",
            Self::Probes => {
                "there is no second witness of execs, the journal has no `exit` lines but the command's, and parents of orphans are not known"
            }
            Self::SocketHooks => "addresses are judged once, by the supervisor, not a second time by the kernel",
            Self::Noexec => "executable mappings are judged but can be raced: a guard against ld.so, not a boundary",
        }
    }
}

/// What a probe gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It fired.
    Present {
        /// E.g. the version.
        detail: String,
    },
    /// This host does not have it.
    Absent {
        /// The call that said so.
        call: &'static str,
        /// Its error.
        errno: Errno,
        /// What would help.
        remedy: &'static str,
    },
    /// It is there and does not do what it should.
    Broken {
        /// In words.
        what: String,
    },
}

impl State {
    /// Whether it can be relied on.
    pub fn is_present(&self) -> bool {
        matches!(self, Self::Present { .. })
    }

    fn present(detail: impl Into<String>) -> Self {
        Self::Present { detail: detail.into() }
    }
}

/// All layers and what their probes gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report(pub Vec<(Layer, State)>);

impl Report {
    /// What the probe of `layer` gave.
    pub fn state(&self, layer: Layer) -> Option<&State> {
        self.0.iter().find(|(of, _)| *of == layer).map(|(_, state)| state)
    }

    /// Adds what the probe of another layer gave.
    pub fn add(&mut self, layer: Layer, state: State) {
        self.0.push((layer, state));
    }

    /// The layers that can't be relied on.
    pub fn missing(&self) -> impl Iterator<Item = Layer> {
        self.0.iter().filter(|(_, state)| !state.is_present()).map(|(layer, _)| *layer)
    }
}

/// Tries everything but the BPF programs ([`crate::bpf::probes`]). Any thread may do this; a millisecond.
pub fn probe() -> Report {
    let mut on_canary = None;
    let canary = canary(&mut on_canary);
    let [seccomp, notify] = launch_states(&canary);
    let descriptors = match &canary {
        Err(failed)
            if matches!(failed.step, Step::Session | Step::Capabilities | Step::NoNewPrivs | Step::Descriptors) =>
        {
            State::Broken { what: failed.to_string() }
        }
        _ => State::present("own session, no capabilities, no_new_privs"),
    };
    let [landlock, watchdog] = in_restricted_child();
    let untried = || State::Broken { what: "not tried: there was no child behind the filter".into() };
    let [exec_stop, network] = on_canary.unwrap_or_else(|| [untried(), untried()]);
    Report(vec![
        (Layer::Descriptors, descriptors),
        (Layer::Landlock, landlock),
        (Layer::Seccomp, seccomp),
        (Layer::Notify, notify),
        (Layer::ExecStop, exec_stop),
        (Layer::Network, network),
        (Layer::Noexec, noexec()),
        (Layer::Watchdog, watchdog),
    ])
}

/// The number of the user that runs this.
pub fn user_id() -> String {
    rustix::process::getuid().as_raw().to_string()
}

/// No kernel gives this for `execve`.
const CANARY_ERROR: Errno = Errno::BADE;

/// A whole launch whose `execve` the supervisor's side answers with an error of its own: the filter fires, the listener
/// receives, the answer arrives. What else is needed of a child is tried on it before (`exec_stop`, `network`): a second one would
/// cost another filter, and the wait for its end.
fn canary(on_it: &mut Option<[State; 2]>) -> Result<(), Failed> {
    let at = |errno| Failed { step: Step::Seccomp, errno };
    let argv = ["/proc/self/exe".into()];
    let command = Command::new(&argv, [], None).map_err(|_| at(Errno::NOENT))?;
    let held: Held = hold(&command, &Confinement::default())?;
    *on_it = Some([exec_stop(held.pid), network(held.pid)]);
    let (pid, listener, execution) = held.release()?.into_parts();
    let notification = listener.receive().map_err(at)?;
    let is_canary = i64::from(notification.nr) == libc::SYS_execve && notification.tid == pid.as_raw_nonzero().get();
    listener.send_errno(notification.id, CANARY_ERROR).map_err(at)?;
    let outcome = execution.wait();
    let _ = waitpid(Some(pid), WaitOptions::empty());
    match outcome {
        Err(Failed { step: Step::Exec, errno }) if errno == CANARY_ERROR && is_canary => Ok(()),
        Err(failed) => Err(failed),
        Ok(()) => Err(Failed { step: Step::Exec, errno: Errno::PERM }),
    }
}

fn launch_states(canary: &Result<(), Failed>) -> [State; 2] {
    match canary {
        Ok(()) => [State::present("fired"), State::present("fired")],
        Err(Failed { step: Step::Seccomp, errno }) => {
            let absent = State::Absent {
                call: "seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE_RECV)",
                errno: *errno,
                remedy: "use Linux 5.19 or later, outside of another seccomp listener",
            };
            [absent.clone(), absent]
        }
        Err(failed) => {
            let broken = State::Broken { what: failed.to_string() };
            [broken.clone(), broken]
        }
    }
}

// What the child says of itself by its exit code.
const NOT_RESTRICTED: u8 = 1;
const OPENED: u8 = 2;
const NO_SUBREAPER: u8 = 4;

/// A child must be able to become a subreaper; and after it has restricted itself to nothing, no file may open for it.
fn in_restricted_child() -> [State; 2] {
    let domain = domain(&[], Opens::Held);
    let found = in_child(|| {
        let me = rustix::process::getpid();
        let subreaper = if rustix::process::set_child_subreaper(Some(me)).is_ok() { 0 } else { NO_SUBREAPER };
        let Ok(domain) = &domain else { return subreaper };
        let is_readable = || std::fs::File::open("/proc/self/status").is_ok();
        if !is_readable() || crate::sys::landlock::restrict(domain.ruleset.as_fd()).is_err() {
            return subreaper | NOT_RESTRICTED;
        }
        subreaper | if is_readable() { OPENED } else { 0 }
    });
    let found = found.map(|code| code as u8);
    [landlock(&domain, found), watchdog(found)]
}

fn landlock(domain: &Result<Domain, LandlockError>, found: Result<u8, Errno>) -> State {
    match (domain, found) {
        (Err(LandlockError::Absent(errno)), _) => State::Absent {
            call: "landlock_create_ruleset",
            errno: *errno,
            remedy: "boot a kernel with CONFIG_SECURITY_LANDLOCK and landlock in lsm=",
        },
        (Err(error), _) => State::Broken { what: error.to_string() },
        (_, Err(errno)) => no_process(errno),
        (Ok(domain), Ok(code)) => match code & (NOT_RESTRICTED | OPENED) {
            0 => State::present(format!("abi {}, fired", domain.plan.abi)),
            NOT_RESTRICTED => State::Broken { what: "a process could not restrict itself".into() },
            _ => State::Broken { what: "a restricted process could open a file".into() },
        },
    }
}

fn watchdog(found: Result<u8, Errno>) -> State {
    match found {
        Ok(code) if code & NO_SUBREAPER == 0 => State::present("subreapers; a pid namespace is not used"),
        Ok(_) => State::Broken { what: "a process can't become a subreaper".into() },
        Err(errno) => no_process(errno),
    }
}

fn no_process(errno: Errno) -> State {
    State::Broken { what: format!("no process for the test: {errno}") }
}

fn exec_stop(child: Pid) -> State {
    match trace::seize_and_release(child) {
        Ok(()) => State::present("ptrace attaches to descendants"),
        Err(errno) => State::Absent {
            call: "ptrace(PTRACE_SEIZE)",
            errno,
            remedy: "set kernel.yama.ptrace_scope to 0 or 1, or give CAP_SYS_PTRACE",
        },
    }
}

fn network(child: Pid) -> State {
    let got = pidfd_open(child, PidfdFlags::empty()).and_then(|pidfd| pidfd_getfd(pidfd, 2, PidfdGetfdFlags::empty()));
    match got {
        Ok(_) => State::present("sockets of descendants can be duplicated"),
        Err(errno) => State::Absent {
            call: "pidfd_getfd",
            errno,
            remedy: "give the container CAP_SYS_PTRACE, or a seccomp profile that allows pidfd_getfd",
        },
    }
}

fn noexec() -> State {
    match mount::noexec_root() {
        Ok(_) => State::present("a noexec view of / was made"),
        Err(errno) => State::Absent {
            call: "open_tree(OPEN_TREE_CLONE), mount_setattr(MOUNT_ATTR_NOEXEC)",
            errno,
            remedy: "run as root with CAP_SYS_ADMIN",
        },
    }
}
