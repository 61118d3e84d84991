//! Tasks of this workspace that cargo itself has no command for. `cargo xtask` lists them.

fn main() -> std::process::ExitCode {
    eprintln!("usage: cargo xtask <task>\n\nThere are no tasks yet.");
    std::process::ExitCode::from(2)
}
