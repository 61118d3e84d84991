//! The floor on paths as tables: what [`GuardedPaths`] refuses, the kernel refuses first.

use std::borrow::Cow;
use std::fmt::Write as _;

use gait_core::intent::{EndpointClass, TargetKind};
use gait_core::name::name;
use gait_core::policy::compile::{CompiledPolicy, Kind, Limits};
use gait_core::policy::{Policy, Strictness};

use super::Setup;
use crate::bpf::BpfError;
use crate::bpf::image::Image;

const LOOK: Kind = Kind {
    tool_name: Cow::Borrowed("look"),
    target_kind: TargetKind::Path,
    operation: Cow::Borrowed("look"),
    endpoint_class: EndpointClass::FsRead,
};
const CHANGE: Kind = Kind {
    tool_name: Cow::Borrowed("change"),
    target_kind: TargetKind::Path,
    operation: Cow::Borrowed("change"),
    endpoint_class: EndpointClass::FsWrite,
};

/// Adds the floor of a run to an image.
pub(super) fn add(image: Image, setup: &Setup<'_>) -> Result<Image, BpfError> {
    let text = policy(&setup.paths.looked_after().0, &setup.paths.looked_after().1);
    let cannot = |what| BpfError::Floor { what };
    let policy = Policy::parse(&text, Strictness::Strict).map_err(|error| cannot(error.to_string()))?;
    let compiled = CompiledPolicy::compile(&policy, setup.context, [LOOK, CHANGE], &Limits::default());
    let compiled = compiled.map_err(|error| cannot(error.to_string()))?;
    image.with_floor(&compiled, LOOK, CHANGE)
}

/// A policy that blocks looking at `closed` and changing either.
fn policy(closed: &[Vec<u8>], unchanged: &[Vec<u8>]) -> String {
    let mut text = String::from("schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: allow\nrules:\n");
    for (priority, (tool, paths)) in [("look", closed), ("change", unchanged)].into_iter().enumerate() {
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "  - name: {tool}\n    priority: {}\n    effect: allow\n    match: {{tool_names: [{tool}]}}\n    endpoint:\n      enabled: true\n      action: block\n      path_denylist:\n",
            priority + 1
        );
        for path in paths {
            let literal = literal(path);
            let below = if literal == "/" { "/**".to_owned() } else { format!("{literal}/**") };
            for pattern in [literal, below] {
                let quoted = pattern.replace('\'', "''");
                let _ = writeln!(text, "        - '{quoted}'");
            }
        }
    }
    text
}

/// A path as a pattern that matches nothing else.
fn literal(path: &[u8]) -> String {
    let mut pattern = String::new();
    for character in name(path).chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '{' | '}') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
