//! What a guarded run adds to a runpack, and the proof that it all follows from the journal.
