//! A policy as it is kept beside what it was compiled to: read again in a quarter of the time that its text takes.
//!
//! Who reads it has seen that it is what was written: rules are taken as valid and sorted.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::model::{FailClosed, Policy, Rule, Verdict};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept<'a> {
    default_verdict: Verdict,
    fail_closed: Cow<'a, FailClosed>,
    rules: Cow<'a, [Rule]>,
}

impl Policy {
    /// All of it, as JSON.
    pub(super) fn to_kept(&self) -> Vec<u8> {
        let Self { default_verdict, fail_closed, rules } = self;
        let kept =
            Kept { default_verdict: *default_verdict, fail_closed: Cow::Borrowed(fail_closed), rules: rules.into() };
        // Texts, numbers and lists, into memory: it can't fail, and nothing reads back from nothing.
        serde_json::to_vec(&kept).unwrap_or_default()
    }

    /// What [`Policy::to_kept`] gave; `None` for what it never gives.
    pub(super) fn read_kept(json: &[u8]) -> Option<Self> {
        let Kept { default_verdict, fail_closed, rules } = serde_json::from_slice(json).ok()?;
        Some(Self { default_verdict, fail_closed: fail_closed.into_owned(), rules: rules.into_owned() })
    }
}
