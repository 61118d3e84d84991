//! What an agent is trying to do, in the words of the Gate contract.
