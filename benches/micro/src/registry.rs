//! Packs of the registry, from a file of this machine.

use crate::Operation;
use crate::world::key;
use anyhow::{Result, ensure};
use gait_core::digest::Sha256Hex;
use gait_core::registry::{Cache, PACK_SCHEMA, RegistryManifest, Terms, Verification, read_limited};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes the signed manifest of a pack.
fn manifest(folder: &Path, name: &str) -> Result<PathBuf> {
    let document = json!({
        "schema_id": PACK_SCHEMA,
        "schema_version": "1.0.0",
        "created_at": "2026-02-05T00:00:00Z",
        "producer_version": "0.0.0-bench",
        "pack_name": name,
        "pack_version": "1.0.0",
        "publisher": "bench",
        "risk_class": "high",
        "use_case": "tool-gating",
        "artifacts": [{"path": "policy.yaml", "sha256": Sha256Hex::of("policy"), "media_type": "application/yaml"}],
    });
    let mut manifest = RegistryManifest::read(document.to_string().as_bytes())?;
    manifest.signatures = vec![key().sign_digest(&manifest.digest()?)];
    let path = folder.join(format!("{name}.json"));
    fs::write(&path, manifest.to_bytes()?)?;
    Ok(path)
}

/// Reads, checks, keeps and pins a pack: two files, each written whole and synced.
pub fn install_local(folder: &Path) -> Result<Operation> {
    let source = manifest(folder, "bench-install")?;
    let cache = Cache::new(folder.join("cache"));
    let key = key().public();
    Ok(Operation::new("BenchmarkInstallLocalTypical", move || {
        let terms = Terms { key: &key, publishers: &[], pin: "" };
        let installed = cache.install(&read_limited(&source)?, &terms)?;
        ensure!(installed.manifest.pack_name == "bench-install", "{installed:?}");
        Ok(())
    }))
}

/// Whether a pack that was installed is what its pin and its signature say.
pub fn verify_installed(folder: &Path) -> Result<Operation> {
    let source = manifest(folder, "bench-verify")?;
    let cache = Cache::new(folder.join("cache"));
    let key = key().public();
    let terms = Terms { key: &key, publishers: &[], pin: "" };
    let path = cache.install(&read_limited(&source)?, &terms)?.metadata_path;
    Ok(Operation::new("BenchmarkVerifyInstalledTypical", move || {
        let found = Verification::of(&path, &cache, &key, &[])?;
        ensure!(found.holds() && found.pin_verified(), "{found:?}");
        Ok(())
    }))
}
