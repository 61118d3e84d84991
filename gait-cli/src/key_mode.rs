//! `--key-mode`: sign with a key that is thrown away, or with one that somebody keeps (contract, control 3.1).

use crate::failure::Failure;
use crate::flags::{Args, Flag};
use crate::keys;
use gait_core::signature::PrivateKey;
use zeroize::Zeroizing;

/// The flag, for verbs that sign.
pub const KEY_MODE: Flag =
    Flag::value("key-mode", "dev|prod", "dev: sign with a key that is thrown away; prod: with the key named")
        .default("dev");

/// Where a signing key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMode {
    /// Made for this call.
    Dev,
    /// Named by a flag.
    Prod,
}

/// What is said about a key of [`KeyMode::Dev`].
const DEV_WARNING: &str = "dev mode: ephemeral keypair generated; signatures will not verify across machines";

impl KeyMode {
    /// The mode that the flags ask for: `dev` without the flag, `prod` where it is empty.
    ///
    /// # Errors
    /// Another word: exit 6.
    pub fn of(args: &Args) -> Result<Self, Failure> {
        match (args.raw("key-mode").is_some(), args.text("key-mode").trim().to_ascii_lowercase().as_str()) {
            (false, _) | (true, "dev") => Ok(KeyMode::Dev),
            (true, "prod" | "") => Ok(KeyMode::Prod),
            (true, other) => Err(Failure::invalid(format!("unsupported key mode: {other:?}"))),
        }
    }
}

/// The key to sign with, and what to say about it.
///
/// # Errors
/// Flags that don't go together, and keys that can't be read: exit 6.
pub fn signing_key(args: &Args) -> Result<(PrivateKey, Vec<&'static str>), Failure> {
    match KeyMode::of(args)? {
        KeyMode::Prod => match keys::signing_key(args)? {
            Some(key) => Ok((key, Vec::new())),
            None => Err(Failure::invalid("prod mode requires a private key source")
                .with_advice("add --private-key <path>; `gait keys init` makes a key")),
        },
        KeyMode::Dev if keys::names_a_private_key(args) => {
            Err(Failure::invalid("dev mode does not accept explicit key sources")
                .with_advice("add --key-mode prod to sign with this key"))
        }
        KeyMode::Dev => Ok((throwaway()?, vec![DEV_WARNING])),
    }
}

/// A new random key.
///
/// # Errors
/// The system has no random numbers: exit 1.
pub fn throwaway() -> Result<PrivateKey, Failure> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|error| Failure::io(format!("no random numbers: {error}")))?;
    Ok(PrivateKey::from_seed(*seed))
}
