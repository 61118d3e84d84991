//! The platform this program was built for, in the spelling that artifacts use.

/// The operating system: `linux`, `darwin`, `windows`, ...
pub const OS: &str = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };

/// The processor: `amd64`, `arm64`, ...
pub const ARCH: &str = match std::env::consts::ARCH.as_bytes() {
    b"x86_64" => "amd64",
    b"aarch64" => "arm64",
    b"x86" => "386",
    _ => std::env::consts::ARCH,
};
