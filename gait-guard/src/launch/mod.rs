//! From a plan to a running agent: all layers are in force before its first instruction.
