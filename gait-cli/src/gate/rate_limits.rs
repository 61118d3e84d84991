//! Counts one call of a rate limited rule.

use crate::clock;
use crate::failure::Failure;
use crate::flags::Args;
use crate::state_file::LockedState;
use gait_core::intent::Intent;
use gait_core::policy::RateLimit;
use gait_core::rate_limit::{State, Step};
use std::ffi::OsStr;
use std::path::Path;

/// Where counters are kept unless `--rate-limit-state` says otherwise.
pub const DEFAULT_STATE: &str = ".gait-out/gate_rate_limits.json";

/// Counts one call in the state that `--rate-limit-state` names; an empty name counts this call alone.
///
/// # Errors
/// The lock is held for too long or can't be made (exit 1); the state is no state (exit 6).
pub fn count(args: &Args, limit: &RateLimit, intent: &Intent) -> Result<Step, Failure> {
    count_in(state_path(args), &mut State::default(), limit, intent)
}

/// The state that `--rate-limit-state` names; empty for none.
pub fn state_path(args: &Args) -> &OsStr {
    args.raw("rate-limit-state").unwrap_or(OsStr::new(DEFAULT_STATE))
}

/// Counts one call in the state at `path`; in `own` if there is no path.
///
/// # Errors
/// As [`count`].
pub fn count_in(path: &OsStr, own: &mut State, limit: &RateLimit, intent: &Intent) -> Result<Step, Failure> {
    let step = |state: &mut State| state.step(limit, intent.tool_name(), &intent.context().identity, &clock::now());
    if path.is_empty() {
        return Ok(step(own));
    }
    let locked = LockedState::acquire(Path::new(path), "rate limit")?;
    let mut state = match locked.read()? {
        Some(bytes) => State::read(&bytes).map_err(Failure::invalid)?,
        None => State::default(),
    };
    let found = step(&mut state);
    if found.allowed {
        locked.write(&state.to_file_text().map_err(Failure::io)?)?;
    }
    Ok(found)
}
