//! `gait.yaml`: which fixtures there are. Read as YAML, of which JSON is a part; written as JSON.

use super::SCHEMA_VERSION;
use crate::file::{self, PathError};
use crate::runpack::record::{self, Object, list_or_zero, or_zero};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Schema id of [`Config`].
pub const CONFIG_SCHEMA: &str = "gait.regress.config";

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// [`CONFIG_SCHEMA`] or empty.
    #[serde(deserialize_with = "or_zero")]
    pub schema_id: String,
    /// [`SCHEMA_VERSION`] or empty.
    #[serde(deserialize_with = "or_zero")]
    pub schema_version: String,
    /// The name of the set.
    #[serde(deserialize_with = "or_zero")]
    pub fixture_set: String,
    /// The fixtures, sorted by name when written.
    #[serde(deserialize_with = "list_or_zero")]
    pub fixtures: Vec<ConfigFixture>,
}

/// One fixture of the set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigFixture {
    /// Its name, that of its folder.
    #[serde(deserialize_with = "or_zero")]
    pub name: String,
    /// The run.
    #[serde(deserialize_with = "or_zero")]
    pub run_id: String,
    /// The path of its runpack.
    #[serde(deserialize_with = "or_zero")]
    pub runpack: String,
    /// Further members, `guarded` for one; kept when the file is written again.
    #[serde(flatten)]
    pub more: Object,
}

/// Why `gait.yaml` can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It can't be read.
    #[error("read config: {0}")]
    Read(#[source] PathError),
    /// It is neither JSON nor YAML, or a member has the wrong type.
    #[error("parse config: {message}")]
    Parse {
        /// What the parser said.
        message: String,
    },
    /// It belongs to something else.
    #[error("unsupported config schema_id: {found}")]
    SchemaId {
        /// What it says.
        found: String,
    },
    /// It is of another generation.
    #[error("unsupported config schema_version: {found}")]
    SchemaVersion {
        /// What it says.
        found: String,
    },
    /// An entry without a name.
    #[error("fixture name is required")]
    NoName,
    /// An entry without a runpack.
    #[error("fixture runpack is required for {name}")]
    NoRunpack {
        /// The entry.
        name: String,
    },
}

impl Config {
    /// Reads the file at `path`, with fixtures sorted by name.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = file::read(path).map_err(ConfigError::Read)?;
        let mut config = parse(&bytes)?;
        if !matches!(config.schema_id.as_str(), "" | CONFIG_SCHEMA) {
            return Err(ConfigError::SchemaId { found: config.schema_id });
        }
        if !matches!(config.schema_version.as_str(), "" | SCHEMA_VERSION) {
            return Err(ConfigError::SchemaVersion { found: config.schema_version });
        }
        if config.fixture_set.is_empty() {
            config.fixture_set = "default".into();
        }
        config.fixtures.sort_by(|left, right| left.name.cmp(&right.name));
        for entry in &config.fixtures {
            if entry.name.is_empty() {
                return Err(ConfigError::NoName);
            }
            if entry.runpack.is_empty() {
                return Err(ConfigError::NoRunpack { name: entry.name.clone() });
            }
        }
        Ok(config)
    }
}

fn parse(bytes: &[u8]) -> Result<Config, ConfigError> {
    let not_json = match record::parse(bytes) {
        Ok(config) => return Ok(config),
        Err(error) => error,
    };
    let message = not_json.to_string();
    let text = std::str::from_utf8(bytes).map_err(|_| ConfigError::Parse { message: message.clone() })?;
    if text.trim_start().starts_with('{') || text.trim().is_empty() {
        return Err(ConfigError::Parse { message });
    }
    serde_saphyr::from_str(text).map_err(|error| ConfigError::Parse { message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_yaml_give_the_same_config() {
        let json = br#"{"fixture_set":"nightly","fixtures":[{"name":"a","runpack":"r.zip","guarded":{"policy":"p"}}]}"#;
        let yaml = b"fixture_set: nightly\nfixtures:\n  - name: a\n    runpack: r.zip\n    guarded: {policy: p}\n";
        let config = parse(json).unwrap();
        assert_eq!(config, parse(yaml).unwrap());
        assert_eq!(config.fixtures[0].more["guarded"]["policy"], "p");
    }

    #[test]
    fn what_is_neither_is_an_error() {
        for bad in [&b""[..], b"{\"fixtures\":", b"- a\n", b"fixtures: 3\n", b"fixtures: [[]]\n", b"\xff"] {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
