//! The policy compiled for one run: automata over path bytes that give the evaluator's verdict.

mod byte_dfa;
mod hash;
mod minimise;
mod nfa;
mod table;
mod unit;
mod unit_dfa;
