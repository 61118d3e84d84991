//! Every decision of a run in the order it was made: hash-chained lines with signed checkpoints.
