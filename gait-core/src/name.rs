//! Kernel names are bytes, intents are Unicode: the total, injective map between the two.
