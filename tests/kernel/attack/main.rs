//! The attacker of the kernel suite: does one thing that an agent might try, and says how it went.
//!
//! It is told what to do by its arguments, so that an attack reads in the test as what it is. Exit code 0: it
//! worked; 1: it did not; 2: it was called wrongly. Nothing in here is trusted, and it takes no care of itself.

mod calls;
mod container;
mod number;
mod probe;
mod process;
mod race;
mod ring;
mod sys;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["calls", calls @ ..] => calls::run(calls),
        ["probe", what] => probe::run(what),
        ["race-open", allowed, denied, tries] => race::open(allowed, denied, tries),
        ["race-scratch", allowed, denied, tries] => race::scratch(allowed, denied, tries),
        ["race-link", allowed, denied, tries] => race::link(allowed, denied, tries),
        ["race-exec", allowed, denied, tries] => race::exec(allowed, denied, tries),
        ["race-connect", allowed, denied, tries] => race::connect(allowed, denied, tries),
        ["race-argv", program, tries] => race::argv(program, tries),
        ["race-read", denied, tries] => race::read(denied, tries),
        ["open-at-once", path] => race::open_at_once(path),
        ["ring", what @ ..] => ring::run(what),
        ["mark", fd] => process::mark(fd),
        ["say", ..] => process::say(),
        ["descriptors"] => process::descriptors(),
        ["memfd-exec", program, args @ ..] => process::memfd_exec(program, args),
        ["tmpfile-exec", folder, program, args @ ..] => process::tmpfile_exec(folder, program, args),
        ["receive", socket] => process::receive(socket),
        ["send-message", address] => process::send_message(address),
        ["int80"] => process::int80(),
        ["x32"] => process::x32(),
        ["opens", path, times] => process::opens(path, times),
        ["create-names", folder, times] => process::create_names(folder, times),
        ["bomb", count] => process::bomb(count),
        ["detached", count] => process::detached(count),
        ["without", names, program, args @ ..] => container::without(names, program, args),
        ["in-container", program, args @ ..] => container::enter(program, args),
        ["storm", tries] => process::storm(tries),
        ["close-all"] => process::close_all(),
        ["deep", folder, levels] => process::deep(folder, levels),
        ["filter-on-top", path] => process::filter_on_top(path),
        _ => {
            eprintln!("attack: unknown: {words:?}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            println!("attack ! {}", number::errno_name(error.raw_os_error().unwrap_or(0)));
            eprintln!("attack: {error}");
            ExitCode::from(1)
        }
    }
}
