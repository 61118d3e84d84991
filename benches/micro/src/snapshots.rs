//! Inventories of a workspace.

use crate::Operation;
use anyhow::{Result, ensure};
use gait_core::scout::drift::drift;
use gait_core::scout::snapshot::{Item, Scope, Snapshot, snapshot};
use gait_core::time::Timestamp;
use std::fs;
use std::path::Path;

const AGENT: &str = "from langchain.tools import tool\nfrom agents import function_tool\n\n\n@tool\ndef \
                     search_orders():\n    return []\n\n\n@function_tool\ndef delete_order():\n    return None\n";

/// A workspace of a Python file with two tools, each in two frameworks' words, and a configuration with two servers.
pub fn snapshot_of(folder: &Path) -> Result<Operation> {
    let root = folder.join("workspace");
    fs::create_dir(&root)?;
    fs::write(root.join("agent.py"), AGENT)?;
    fs::write(
        root.join("mcp.json"),
        r#"{"mcpServers": {"orders": {"command": "orders"}, "mail": {"command": "mail"}}}"#,
    )?;
    let scope = Scope { roots: vec![root.display().to_string()], ..Scope::default() };
    Ok(Operation::new("BenchmarkSnapshotTypical", move || {
        let found = snapshot(&scope, Timestamp::FALLBACK)?;
        ensure!(found.items.len() == 6, "{found:?}");
        Ok(())
    }))
}

/// Two snapshots: one item stays, one changes, one goes, one comes.
pub fn diff_snapshots() -> Operation {
    let left = inventory("snap_left", &[("read", "low"), ("write", "high"), ("old", "low")]);
    let right = inventory("snap_right", &[("read", "low"), ("write", "critical"), ("new", "low")]);
    Operation::new("BenchmarkDiffSnapshotsTypical", move || {
        let found = drift(&left, &right);
        ensure!((found.added_count, found.removed_count, found.changed_count) == (1, 1, 1), "{found:?}");
        Ok(())
    })
}

fn inventory(snapshot_id: &str, tools: &[(&str, &str)]) -> Snapshot {
    let item = |(name, risk): &(&str, &str)| Item {
        id: format!("tool:langchain:{name}"),
        kind: "tool".into(),
        name: (*name).into(),
        locator: "workspace/agent.py".into(),
        risk_level: (*risk).into(),
        ..Item::default()
    };
    Snapshot { snapshot_id: snapshot_id.into(), items: tools.iter().map(item).collect(), ..Snapshot::default() }
}
