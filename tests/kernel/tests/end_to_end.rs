//! The product as people meet it: the example of the README, two runs compared, a guard that is killed, bad input,
//! an ordinary user, a container, the page of a run in a browser.

#[path = "end_to_end/bad_input.rs"]
mod bad_input;
#[path = "end_to_end/death.rs"]
mod death;
#[path = "end_to_end/engines.rs"]
mod engines;
#[path = "end_to_end/hybrid.rs"]
mod hybrid;
#[path = "end_to_end/identity.rs"]
mod identity;
#[path = "end_to_end/inspect.rs"]
mod inspect;
#[path = "end_to_end/kept.rs"]
mod kept;
#[path = "end_to_end/path_of_a_syscall.rs"]
mod path_of_a_syscall;
#[path = "end_to_end/probes.rs"]
mod probes;
#[path = "end_to_end/readme.rs"]
mod readme;
#[path = "end_to_end/volume.rs"]
mod volume;

fn main() -> std::process::ExitCode {
    let groups = [
        readme::tests(),
        path_of_a_syscall::tests(),
        bad_input::tests(),
        death::tests(),
        engines::tests(),
        hybrid::tests(),
        identity::tests(),
        inspect::tests(),
        kept::tests(),
        probes::tests(),
        volume::tests(),
    ];
    kernel_suite::suite::main(groups.into_iter().flatten().collect())
}
