//! The floor on paths as tables: what [`GuardedPaths`] refuses, the kernel refuses first.

use std::borrow::Cow;
use std::fmt::Write as _;

use gait_core::intent::{EndpointClass, TargetKind};
use gait_core::name::name;
use gait_core::policy::compile::Kind;
use gait_core::policy::{Policy, Strictness};

use super::Setup;
use crate::bpf::BpfError;
use crate::bpf::image::Image;
use crate::cache::Question;

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

const MOVE: Kind = Kind {
    tool_name: Cow::Borrowed("move"),
    target_kind: TargetKind::Path,
    operation: Cow::Borrowed("move"),
    endpoint_class: EndpointClass::FsWrite,
};

/// Adds the floor of a run to an image.
pub(super) fn add(image: Image, setup: &Setup<'_>) -> Result<Image, BpfError> {
    let (closed, unchanged) = setup.paths.looked_after();
    let text = policy(&closed, &unchanged, &setup.paths.holders());
    let cannot = |what| BpfError::Floor { what };
    let policy = Policy::parse(&text, Strictness::Strict).map_err(|error| cannot(error.to_string()))?;
    let kinds = [LOOK, CHANGE, MOVE];
    let question = Question { policy: &policy, texts: &[text.as_bytes()], context: setup.context, kinds: &kinds };
    let compiled = setup.cache.compile(question).map_err(|error| cannot(error.to_string()))?.policy;
    image.with_floor(&compiled, kinds)
}

/// A policy that blocks looking at `closed`, changing `unchanged`, each at and below, and moving that or `holders`.
fn policy(closed: &[Vec<u8>], unchanged: &[Vec<u8>], holders: &[Vec<u8>]) -> String {
    let mut text = String::from("schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: allow\nrules:\n");
    let nothing: &[Vec<u8>] = &[];
    let tools = [("look", closed, nothing), ("change", unchanged, nothing), ("move", unchanged, holders)];
    for (priority, (tool, roots, alone)) in (1..).zip(tools) {
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "  - name: {tool}\n    priority: {priority}\n    effect: allow\n    match: {{tool_names: [{tool}]}}\n    endpoint:\n      enabled: true\n      action: block\n      path_denylist:\n"
        );
        let below = |literal: &str| if literal == "/" { "/**".to_owned() } else { format!("{literal}/**") };
        let patterns = roots.iter().map(|path| literal(path)).flat_map(|path| [below(&path), path]);
        for pattern in patterns.chain(alone.iter().map(|path| literal(path))) {
            let quoted = pattern.replace('\'', "''");
            let _ = writeln!(text, "        - '{quoted}'");
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
