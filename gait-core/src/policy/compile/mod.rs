//! The policy compiled for one run: automata over path bytes that give the evaluator's verdict.
