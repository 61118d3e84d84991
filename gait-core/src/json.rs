//! JSON as people and existing readers expect it on standard output and in plain files.
