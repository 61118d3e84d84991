//! The one translation from an event to a Gate intent.
