//! What the probes say of this machine, and that they can tell.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure here fails the test")]

use gait_guard::host::{Layer, probe};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let trials = vec![Trial::test("the_layers_that_every_run_needs_fire_here", || {
        let report = probe();
        for layer in [Layer::Descriptors, Layer::Seccomp, Layer::Notify, Layer::ExecStop] {
            let state = report.state(layer);
            if !state.is_some_and(|state| state.is_present()) {
                return Err(Failed::from(format!("{layer:?}: {state:?}")));
            }
        }
        if std::env::var_os("GAIT_SHOW").is_some() {
            println!("{report:#?}");
        }
        Ok(())
    })];
    libtest_mimic::run(&Arguments { test_threads: Some(1), ..arguments }, trials).exit();
}
