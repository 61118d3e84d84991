//! The folder in which packs are kept: `<name>/<version>/<digest>/registry_pack.json` and `pins/<name>.pin`.

use super::manifest::{ManifestError, RegistryManifest, Untrusted, is_folder_name};
use super::{LIMIT_BYTES, PublisherError, allow_publisher};
use crate::canonical::CanonicalError;
use crate::digest::Sha256Hex;
use crate::file::{self, PathError, create_folders, write_atomic};
use crate::signature::PublicKey;
use std::path::{Path, PathBuf};

/// The name of a manifest in its folder.
pub const METADATA: &str = "registry_pack.json";

/// A cache folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// What a pack must be to be installed.
#[derive(Clone, Debug)]
pub struct Terms<'a> {
    /// Whose signature counts.
    pub key: &'a PublicKey,
    /// Publishers that are accepted; empty for all.
    pub publishers: &'a [String],
    /// `sha256:<hex>`, or empty.
    pub pin: &'a str,
}

/// A pack that was installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The manifest.
    pub manifest: RegistryManifest,
    /// Its digest.
    pub digest: Sha256Hex,
    /// Where it is.
    pub metadata_path: PathBuf,
    /// Where its pin is.
    pub pin_path: PathBuf,
}

/// A pack in the cache.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name.
    pub pack_name: String,
    /// Its version.
    pub pack_version: String,
    /// Digest of its manifest.
    pub digest: String,
    /// Where it is.
    pub metadata_path: PathBuf,
    /// Where its pin is, and what it says.
    pub pin: Option<(PathBuf, String)>,
}

impl Listed {
    /// Whether the pin is of this very pack.
    pub fn pin_verified(&self) -> bool {
        self.pin.as_ref().is_some_and(|(_, pin)| is_pin_of(pin, &self.digest))
    }
}

/// Why a pack was not installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// It is no manifest that can be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Its publisher is not accepted.
    #[error(transparent)]
    Publisher(#[from] PublisherError),
    /// It is not the pack that was asked for.
    #[error("pin digest mismatch")]
    Pin,
    /// Nobody whom we trust signed it.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// Another pack of this name was installed before, and nobody asked for a change.
    #[error("pack {name} is pinned to {pin}: add --pin sha256:{digest} to replace the pin")]
    Pinned {
        /// The name.
        name: String,
        /// The pin that is there.
        pin: String,
        /// The digest of the pack that was to be installed.
        digest: Sha256Hex,
    },
    /// A link leads out of the cache.
    #[error("{path} leads out of the cache")]
    Escapes {
        /// The folder.
        path: String,
    },
    /// Never: a manifest that was read has a canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The cache can't be written.
    #[error("{0}")]
    File(#[from] PathError),
}

/// Whether `pin`, a pin or a digest as somebody wrote it, names `digest`.
pub fn is_pin_of(pin: &str, digest: &str) -> bool {
    let pin = pin.trim();
    pin.strip_prefix("sha256:").unwrap_or(pin).eq_ignore_ascii_case(digest)
}

impl Cache {
    /// The cache in `root`, which need not be there yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The cache that the manifest at `path` is in, by its place.
    pub fn around(path: &Path) -> Option<Self> {
        let folder = path.parent()?;
        Some(Self::new(folder.parent()?.parent()?.parent()?))
    }

    /// Where the pin of a pack is.
    pub fn pin_path(&self, name: &str) -> PathBuf {
        self.root.join("pins").join(format!("{name}.pin"))
    }

    /// What the pin of a pack says.
    ///
    /// # Errors
    /// It is there and can't be read.
    pub fn pin(&self, name: &str) -> Result<Option<String>, PathError> {
        match read_limited(&self.pin_path(name)) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks the manifest `bytes` against `terms`, and keeps and pins it. Nothing is written before all holds, and
    /// each file appears whole, the pin last.
    ///
    /// # Errors
    /// [`InstallError`], the first that applies.
    pub fn install(&self, bytes: &[u8], terms: &Terms<'_>) -> Result<Installed, InstallError> {
        let manifest = RegistryManifest::read(bytes)?;
        let digest = manifest.digest()?;
        allow_publisher(&manifest.publisher, terms.publishers)?;
        if !terms.pin.is_empty() && !is_pin_of(terms.pin, &digest.to_string()) {
            return Err(InstallError::Pin);
        }
        manifest.trusted(&digest, terms.key)?;
        let name = manifest.pack_name.clone();
        if terms.pin.is_empty()
            && let Some(pin) = self.pin(&name)?.filter(|pin| !is_pin_of(pin, &digest.to_string()))
        {
            return Err(InstallError::Pinned { name, pin, digest });
        }
        let folder = self.root.join(&name).join(&manifest.pack_version).join(digest.to_string());
        let metadata_path = folder.join(METADATA);
        let pin_path = self.pin_path(&name);
        self.inside(&folder)?;
        self.inside(&self.root.join("pins"))?;
        write_atomic(&metadata_path, &manifest.to_bytes()?)?;
        write_atomic(&pin_path, format!("sha256:{digest}\n").as_bytes())?;
        Ok(Installed { manifest, digest, metadata_path, pin_path })
    }

    /// Makes `folder` and refuses it if links make it another place than it seems.
    fn inside(&self, folder: &Path) -> Result<(), InstallError> {
        create_folders(folder)?;
        let real = |path: &Path| std::fs::canonicalize(path).map_err(PathError::of("open", path));
        let below = folder.strip_prefix(&self.root).unwrap_or(folder);
        if real(folder)? == real(&self.root)?.join(below) {
            return Ok(());
        }
        Err(InstallError::Escapes { path: folder.display().to_string() })
    }

    /// The names of all packs that have a pin, sorted.
    ///
    /// # Errors
    /// The folder of pins is there and can't be read.
    pub fn pinned(&self) -> Result<Vec<String>, PathError> {
        let folder = self.root.join("pins");
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(PathError::of("open", &folder)(error)),
        };
        let names = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
        let mut pinned: Vec<String> = names.filter_map(|name| name.strip_suffix(".pin").map(str::to_owned)).collect();
        pinned.sort();
        Ok(pinned)
    }

    /// The kept manifest of this digest, if there is one.
    ///
    /// # Errors
    /// The cache can't be read.
    pub fn find(&self, pin: &str) -> Result<Option<PathBuf>, PathError> {
        let all = self.list()?;
        Ok(all.into_iter().find(|one| is_pin_of(pin, &one.digest)).map(|one| one.metadata_path))
    }

    /// All packs, by name, version and digest. A cache that is not there is empty; what can't be read is left out.
    ///
    /// # Errors
    /// The cache is there and can't be read.
    pub fn list(&self) -> Result<Vec<Listed>, PathError> {
        let mut listed = Vec::new();
        for (name, folder) in folders(&self.root)? {
            let pin = self.pin(&name).ok().flatten().map(|pin| (self.pin_path(&name), pin));
            for (_, folder) in folders(&folder).unwrap_or_default() {
                for (digest, folder) in folders(&folder).unwrap_or_default() {
                    let metadata_path = folder.join(METADATA);
                    let Some(manifest) = kept(&metadata_path, &name, &digest) else { continue };
                    listed.push(Listed {
                        pack_name: manifest.pack_name,
                        pack_version: manifest.pack_version,
                        digest,
                        metadata_path,
                        pin: pin.clone(),
                    });
                }
            }
        }
        listed.sort();
        Ok(listed)
    }
}

/// The manifest at `path`, if it is the one of this name and digest.
fn kept(path: &Path, name: &str, digest: &str) -> Option<RegistryManifest> {
    let manifest = RegistryManifest::read(&read_limited(path).ok()?).ok()?;
    (manifest.pack_name == name && manifest.digest().ok()?.to_string() == digest).then_some(manifest)
}

/// The folders in `folder` with a name that a pack may have; none if it is not there.
fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>, PathError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(PathError::of("open", folder)(error)),
    };
    let named = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok().filter(|name| is_folder_name(name) && name != "pins")?;
        let path = folder.join(&name);
        path.is_dir().then_some((name, path))
    };
    Ok(entries.filter_map(Result::ok).filter_map(named).collect())
}

/// The bytes of a file, or of as much as a manifest may have.
pub fn read_limited(path: &Path) -> Result<Vec<u8>, PathError> {
    let size = std::fs::metadata(path).map_err(PathError::of("open", path))?.len();
    if size > LIMIT_BYTES {
        return Err(PathError {
            op: "read",
            path: path.to_path_buf(),
            source: std::io::ErrorKind::FileTooLarge.into(),
        });
    }
    file::read(path)
}
