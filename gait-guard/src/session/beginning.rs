//! What a run begins with: the first line of its journal, and its receipt as far as it is known.

use gait_core::canonical::CanonicalError;
use gait_core::digest::Sha256Hex;
use gait_core::guarded::{GUARD_SCHEMA, Receipt, RunState, Signing};
use gait_core::journal::{JOURNAL_SCHEMA, Open, WriteError};

use super::config::{SessionConfig, StartError};
use super::run::{CHECKPOINT_EVERY, io};

pub(super) fn check(config: &SessionConfig) -> Result<(), StartError> {
    let id = &config.run_id;
    if id.is_empty() || id.len() > 200 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err(StartError::RunId { run_id: id.clone() });
    }
    let digest = config.plan.compute_digest().map_err(WriteError::from)?;
    if digest.to_string() != config.plan.digest {
        return Err(StartError::Plan { what: "its digest" });
    }
    if Sha256Hex::of(&config.policy_yaml).to_string() != config.plan.policy.file_sha256 {
        return Err(StartError::Plan { what: "the digest of the policy file" });
    }
    Ok(())
}

pub(super) fn open_line(config: &SessionConfig, nonce: String, started_at: String) -> Result<Open, StartError> {
    let intent = config.translator.run(&config.command).map_err(WriteError::from)?;
    let digest = |text: &str, what| Sha256Hex::parse(text).map_err(|_| StartError::Plan { what });
    Ok(Open {
        schema_id: JOURNAL_SCHEMA.into(),
        schema_version: "1.0.0".into(),
        producer_version: config.producer_version.clone(),
        run_id: config.run_id.clone(),
        nonce,
        started_at,
        key_id: config.key.public().id().to_string(),
        public_key: config.key.public().to_base64(),
        policy_digest: digest(&config.plan.policy.digest, "the digest of its policy")?,
        plan_digest: digest(&config.plan.digest, "its digest")?,
        checkpoint_every: CHECKPOINT_EVERY,
        intent: serde_json::to_value(&intent).map_err(CanonicalError::from).map_err(WriteError::from)?,
    })
}

pub(super) fn receipt(config: &SessionConfig, nonce: String, started_at: String) -> Receipt {
    let public = config.key.public();
    Receipt {
        schema_id: GUARD_SCHEMA.into(),
        schema_version: "1.0.0".into(),
        created_at: started_at.clone(),
        producer_version: config.producer_version.clone(),
        run_id: config.run_id.clone(),
        plan: config.plan.clone(),
        host: config.host.clone(),
        run: RunState {
            nonce,
            started_at,
            engine_pid: std::process::id(),
            self_test: config.self_test.clone(),
            ..RunState::default()
        },
        signing: Signing {
            key_id: public.id().to_string(),
            public_key: public.to_base64(),
            key_source: config.key_source.clone(),
        },
    }
}

pub(super) fn nonce() -> Result<String, StartError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| io("no random numbers")(std::io::Error::other(e.to_string())))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
