//! What `verify` says of the runpack of a guarded run (contract guarded-run 5).

use crate::verb::{Completeness, Demand};
use gait_core::guarded::trust::{Keys, Trust, trust};
use gait_core::guarded::verify::{GuardedReport, Kind, check, embedded_key, kind};
use gait_core::runpack::container::Container;
use gait_core::runpack::manifest::SignatureReport;
use gait_core::runpack::verify::Integrity;
use serde_json::{Map, Value, json};
use std::io::{Read, Seek};

/// The additional part of an answer; nothing for a plain pack.
pub struct Judged {
    pub ok: bool,
    pub members: Map<String, Value>,
    pub lines: Vec<String>,
    /// What takes the place of the plain report on signatures.
    pub signatures: Option<SignatureReport>,
}

/// Looks at what makes a pack one of a guarded run.
pub fn judge<R: Read + Seek>(container: &mut Container<R>, integrity: &Integrity, demand: &Demand) -> Judged {
    match kind(container, integrity) {
        Kind::Plain => Judged { ok: true, members: Map::new(), lines: Vec::new(), signatures: None },
        Kind::Stripped => stripped(demand),
        Kind::Guarded => {
            let report = check(container, integrity);
            let embedded = embedded_key(container);
            let keys = Keys { pinned: demand.key.as_ref(), local: demand.local.as_ref(), embedded: embedded.as_ref() };
            let (trust, signatures) = trust(&integrity.manifest.signatures, &integrity.signable_digest, keys);
            let key_id = embedded.map(|key| key.id().to_string()).unwrap_or_default();
            judged(&report, trust, signatures, key_id, demand)
        }
    }
}

/// Its evidence was taken away: plain, whatever its runtime says.
fn stripped(demand: &Demand) -> Judged {
    let mut members = Map::new();
    members.insert("guarded".into(), json!({"stripped": true}));
    Judged {
        ok: demand.completeness == Completeness::Any,
        members,
        lines: vec!["guarded: stripped, the evidence of the guard is not in this pack".into()],
        signatures: None,
    }
}

fn judged(
    report: &GuardedReport,
    trust: Trust,
    signatures: SignatureReport,
    key_id: String,
    demand: &Demand,
) -> Judged {
    let complete = report.complete || demand.completeness == Completeness::Any;
    let vouched = demand.completeness != Completeness::Strict || matches!(trust, Trust::Pinned | Trust::Local);
    let mut members = Map::new();
    members.insert("trust".into(), trust.word().into());
    members.insert("guarded".into(), serde_json::to_value(report).unwrap_or_default());
    let shown = if key_id.is_empty() { "none".to_owned() } else { key_id.clone() };
    members.insert("key_id".into(), key_id.into());
    Judged {
        ok: report.holds() && complete && vouched && trust != Trust::Refused,
        members,
        lines: vec![format!("trust: {} (key {shown})", trust.word()), report.line()],
        signatures: Some(signatures),
    }
}
