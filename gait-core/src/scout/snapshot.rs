//! Tools and servers of a workspace (contract, artifacts 7.1).

use super::{SCHEMA_VERSION, glob, norm, python, servers};
use crate::canonical::{CanonicalError, digest_of};
use crate::file::{self, PathError, clean};
use crate::runpack::record::{list_or_zero, or_zero};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no sources of the workspace, whatever their case.
const SKIPPED: [&str; 4] = [".git", ".beads", "node_modules", "__pycache__"];

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// A root is not there.
    #[error("stat root {root}: {source}")]
    Root {
        /// The root.
        root: String,
        /// Why.
        #[source]
        source: PathError,
    },
    /// A root is a file.
    #[error("root is not a directory: {root}")]
    NotAFolder {
        /// The root.
        root: String,
    },
    /// A folder or file can't be read.
    #[error(transparent)]
    Read(#[from] PathError),
    /// A configuration of MCP servers that is none.
    #[error("parse mcp {format} {path}: {message}")]
    Parse {
        /// `json` or `yaml`.
        format: &'static str,
        /// The file.
        path: String,
        /// What the parser said.
        message: String,
    },
    /// A record without a canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

/// How bad it is if a tool is called wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Not very.
    Low,
    /// Something is changed or sent.
    High,
    /// Something is lost or paid.
    Critical,
}

impl Risk {
    /// By words in the name.
    pub fn of(name: &str) -> Self {
        let name = crate::text::lower(name);
        let any = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if any(&["delete", "drop", "destroy", "wire", "payment", "transfer"]) {
            Risk::Critical
        } else if any(&["write", "update", "export", "send", "email", "remove", "overwrite"]) {
            Risk::High
        } else {
            Risk::Low
        }
    }

    fn word(self) -> &'static str {
        match self {
            Risk::Low => "low",
            Risk::High => "high",
            Risk::Critical => "critical",
        }
    }
}

/// A tool or server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Item {
    /// What it is known by.
    #[serde(deserialize_with = "or_zero")]
    pub id: String,
    /// `tool` or `mcp_server`.
    #[serde(deserialize_with = "or_zero")]
    pub kind: String,
    /// As found.
    #[serde(deserialize_with = "or_zero")]
    pub name: String,
    /// The file it was found in.
    #[serde(deserialize_with = "or_zero")]
    pub locator: String,
    /// `low`, `high` or `critical`.
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "String::is_empty")]
    pub risk_level: String,
    /// What found it.
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// The last run that used it.
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "String::is_empty")]
    pub last_seen_run: String,
}

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// `gait.scout.inventory_snapshot`
    #[serde(deserialize_with = "or_zero")]
    pub schema_id: String,
    /// [`SCHEMA_VERSION`]
    #[serde(deserialize_with = "or_zero")]
    pub schema_version: String,
    /// When.
    pub created_at: Timestamp,
    /// Whoever made it.
    #[serde(deserialize_with = "or_zero")]
    pub producer_version: String,
    /// `snap_` and the start of the digest of workspace and items.
    #[serde(deserialize_with = "or_zero")]
    pub snapshot_id: String,
    /// The roots.
    #[serde(deserialize_with = "or_zero", skip_serializing_if = "String::is_empty")]
    pub workspace: String,
    /// Sorted by id.
    #[serde(deserialize_with = "list_or_zero")]
    pub items: Vec<Item>,
}

/// Where to look.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Folders.
    pub roots: Vec<String>,
    /// Paths must match one of these, if there are any.
    pub include: Vec<String>,
    /// Paths must match none of these.
    pub exclude: Vec<String>,
}

impl Scope {
    fn covers(&self, path: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| glob::matches(pattern, path));
        !any(&self.exclude) && (self.include.is_empty() || any(&self.include))
    }
}

/// Lists what is found in the scope.
///
/// # Errors
/// [`SnapshotError`]
pub fn snapshot(scope: &Scope, now: Timestamp) -> Result<Snapshot, SnapshotError> {
    let roots: BTreeSet<String> =
        crate::text::set(&scope.roots).iter().map(|root| clean(Path::new(root)).display().to_string()).collect();
    let mut items = BTreeMap::new();
    for root in &roots {
        check_root(root)?;
        for path in files(Path::new(root))? {
            look_at(&path, scope, &mut items)?;
        }
    }
    let items: Vec<Item> = items.into_values().collect();
    let workspace = roots.into_iter().collect::<Vec<_>>().join(",");
    let id = digest_of(&serde_json::json!({"items": items, "workspace": workspace}))?;
    Ok(Snapshot {
        schema_id: "gait.scout.inventory_snapshot".into(),
        schema_version: SCHEMA_VERSION.into(),
        created_at: now,
        producer_version: crate::PRODUCER_VERSION.into(),
        snapshot_id: format!("snap_{}", id.short(12)),
        workspace,
        items,
    })
}

fn check_root(root: &str) -> Result<(), SnapshotError> {
    let path = Path::new(root);
    let found = fs::metadata(path)
        .map_err(PathError::of("stat", path))
        .map_err(|source| SnapshotError::Root { root: root.into(), source })?;
    if found.is_dir() { Ok(()) } else { Err(SnapshotError::NotAFolder { root: root.into() }) }
}

/// All regular files below `root` in lexical order, links not followed.
fn files(root: &Path) -> Result<Vec<PathBuf>, PathError> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(PathError::of("open", &folder))? {
            let entry = entry.map_err(PathError::of("read", &folder))?;
            let kind = entry.file_type().map_err(PathError::of("stat", &entry.path()))?;
            let name = entry.file_name().to_string_lossy().to_lowercase();
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(clean(&entry.path()));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn look_at(path: &Path, scope: &Scope, items: &mut BTreeMap<String, Item>) -> Result<(), SnapshotError> {
    let Some(locator) = path.to_str().map(|path| path.replace('\\', "/")) else {
        return Ok(());
    };
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    if !matches!(ending.as_str(), "py" | "json" | "yaml" | "yml") || !scope.covers(&locator) {
        return Ok(());
    }
    let bytes = file::read(path)?;
    if ending == "py" {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        for (tag, name) in python::tools(&String::from_utf8_lossy(&bytes), &stem) {
            add(items, item("tool", format!("tool:{tag}:{}", norm(&name)), name, &locator, tag));
        }
        return Ok(());
    }
    for name in configured_servers(&bytes, &ending, &locator)? {
        add(items, item("mcp_server", format!("mcp_server:{}", norm(&name)), name, &locator, "mcp"));
    }
    Ok(())
}

fn configured_servers(bytes: &[u8], ending: &str, locator: &str) -> Result<BTreeSet<String>, SnapshotError> {
    let (format, parsed) = if ending == "json" {
        ("json", crate::json::read(bytes).map_err(|error| error.to_string()))
    } else {
        let text = String::from_utf8_lossy(bytes);
        ("yaml", serde_saphyr::from_str(&text).map_err(|error| error.to_string()))
    };
    let base = locator.rsplit('/').next().unwrap_or_default().to_lowercase();
    match parsed {
        Ok(value) => Ok(servers::servers(&value)),
        Err(message) if base.contains("mcp") => Err(SnapshotError::Parse { format, path: locator.into(), message }),
        // Files that only look like configuration are nobody's business.
        Err(_) => Ok(BTreeSet::new()),
    }
}

fn item(kind: &str, id: String, name: String, locator: &str, tag: &str) -> Item {
    Item {
        id,
        kind: kind.into(),
        risk_level: Risk::of(&name).word().into(),
        name,
        locator: locator.into(),
        tags: [tag.to_string()].into(),
        last_seen_run: String::new(),
    }
}

/// Adds an item; of one that is there already the first name, the smallest locator and the highest risk are kept.
fn add(items: &mut BTreeMap<String, Item>, item: Item) {
    let Some(known) = items.get_mut(&item.id) else {
        items.insert(item.id.clone(), item);
        return;
    };
    if Risk::of(&item.name) > Risk::of(&known.name) {
        known.risk_level = item.risk_level;
    }
    if item.locator < known.locator {
        known.locator = item.locator;
    }
    known.tags.extend(item.tags);
}
