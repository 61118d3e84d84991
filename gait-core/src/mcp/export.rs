//! One decision as a line for a log, and as one for collectors of telemetry (control 13).

use serde::Serialize;
use serde_json::json;

use crate::digest::Sha256Hex;
use crate::json::{self, WriteError};
use crate::policy::Verdict;
use crate::time::Timestamp;

/// A decision, in the order of the log line.
#[derive(Clone, Debug, Serialize)]
pub struct Decided<'a> {
    /// Time of the call, or 1980.
    pub created_at: Timestamp,
    /// Version of the program that decides.
    pub producer_version: &'a str,
    /// The run that the call belongs to.
    pub run_id: &'a str,
    /// The trace.
    pub trace_id: &'a str,
    /// Where the trace is.
    pub trace_path: &'a str,
    /// Normalised.
    pub tool_name: &'a str,
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub reason_codes: &'a [String],
    /// Digest of the policy.
    pub policy_digest: Sha256Hex,
    /// Digest of the intent.
    pub intent_digest: Sha256Hex,
}

impl Decided<'_> {
    /// The line of the log, with its line break.
    ///
    /// # Errors
    /// [`WriteError`] never.
    pub fn log_line(&self) -> Result<String, WriteError> {
        Ok(json::to_compact_html_safe(self)? + "\n")
    }

    /// The line for collectors, with its line break.
    ///
    /// # Errors
    /// [`WriteError`] never.
    pub fn otel_line(&self) -> Result<String, WriteError> {
        let attributes = json!({
            "gait.intent_digest": self.intent_digest,
            "gait.policy_digest": self.policy_digest,
            "gait.reason_codes": self.reason_codes,
            "gait.run_id": self.run_id,
            "gait.tool_name": self.tool_name,
            "gait.trace_path": self.trace_path,
            "gait.verdict": self.verdict,
        });
        let head = json!({"attributes": attributes, "body": "gait.mcp.proxy.decision", "severity_text": "INFO"});
        let head = json::to_line_html_safe_sorted(&head)?;
        let head = head.strip_suffix("}\n").unwrap_or(&head);
        // An integer of 64 bits: as a double it would lose its last digits.
        let nanos = i128::from(self.created_at.unix_seconds()) * 1_000_000_000 + i128::from(self.created_at.nanos());
        let trace_id = json::to_compact_html_safe(self.trace_id)?;
        Ok(format!("{head},\"time_unix_nano\":{nanos},\"trace_id\":{trace_id}}}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_those_of_the_contract() {
        let decided = Decided {
            created_at: Timestamp::parse("2026-05-04T03:02:01.123456789Z").unwrap(),
            producer_version: "0.0.0-dev",
            run_id: "run_my_run",
            trace_id: "dac0a9cdfc206bbddfbf7383",
            trace_path: "<t>.json",
            tool_name: "tool.zap",
            verdict: Verdict::Block,
            reason_codes: &["default_block".to_owned()],
            policy_digest: Sha256Hex::of("p"),
            intent_digest: Sha256Hex::of("i"),
        };
        let log = decided.log_line().unwrap();
        let start =
            r#"{"created_at":"2026-05-04T03:02:01.123456789Z","producer_version":"0.0.0-dev","run_id":"run_my_run","#;
        assert!(log.starts_with(start) && log.contains(r#""trace_path":"\u003ct\u003e.json""#), "{log}");
        let otel = decided.otel_line().unwrap();
        assert!(otel.ends_with(concat!(
            r#""body":"gait.mcp.proxy.decision","severity_text":"INFO","#,
            r#""time_unix_nano":1777863721123456789,"trace_id":"dac0a9cdfc206bbddfbf7383"}"#,
            "\n"
        )));
        assert!(serde_json::from_str::<serde_json::Value>(&otel).is_ok(), "{otel}");
    }
}
