//! The escape corpus: every attack with its control, its denial, and its record.

#[path = "escape/degraded.rs"]
mod degraded;
#[path = "escape/exec.rs"]
mod exec;
#[path = "escape/files.rs"]
mod files;
#[path = "escape/foreign.rs"]
mod foreign;
#[path = "escape/names.rs"]
mod names;
#[path = "escape/network.rs"]
mod network;
#[path = "escape/processes.rs"]
mod processes;
#[path = "escape/rings.rs"]
mod rings;
#[path = "escape/supervisor.rs"]
mod supervisor;

fn main() -> std::process::ExitCode {
    let groups = [
        files::tests(),
        exec::tests(),
        network::tests(),
        rings::tests(),
        names::tests(),
        foreign::tests(),
        processes::tests(),
        supervisor::tests(),
        degraded::tests(),
    ];
    kernel_suite::suite::main(groups.into_iter().flatten().collect())
}
