//! The command line of gait: parse, dispatch, render.
#![forbid(unsafe_code)]

fn main() {}
