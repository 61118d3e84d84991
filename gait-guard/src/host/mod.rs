//! What this host can do, found out by doing it: layers, engines, and what each lacks.
