//! Places functions that one short command needs side by side in a release build.

use std::env;
use std::path::Path;

/// By `cargo xtask text-order`.
const ORDER: &str = "link/gate-eval.ld";
/// Set for linkers that know no `INSERT` in a script, such as mold: the program is the same, but for the order.
const PLAIN: &str = "GAIT_PLAIN_LINK";

fn main() {
    println!("cargo:rerun-if-changed={ORDER}");
    println!("cargo:rerun-if-env-changed={PLAIN}");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let takes_scripts = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if takes_scripts && is("PROFILE", "release") && env::var_os(PLAIN).is_none() {
        let folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", Path::new(&folder).join(ORDER).display());
    }
}
