//! MCP servers named in configuration files (contract, artifacts 7.1).

use crate::text::lower_trimmed;
use serde_json::Value;
use std::collections::BTreeSet;

/// Keys of every object below a member called `mcpServers` or `servers`, at any depth.
pub(super) fn servers(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(members) => {
            for (name, member) in members {
                if let (Value::Object(servers), "mcpservers" | "servers") = (member, &*lower_trimmed(name)) {
                    found.extend(servers.keys().filter(|key| !key.trim().is_empty()).cloned());
                }
                collect(member, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_found_at_any_depth() {
        let value = serde_json::json!({" MCPServers ": {"a": {"servers": {"b": 1}}}, "l": [{"servers": {"c": {}}}],
            "servers": ["no"]});
        assert_eq!(servers(&value).into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
