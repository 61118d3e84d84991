//! Which evidence answers which control of a standard (contract, control 14.1).

use super::manifest::Control;
use super::summary::EvidenceFile;
use crate::text::lower_trimmed;

/// A standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// SOC 2.
    Soc2,
    /// PCI DSS.
    Pci,
    /// What an incident needs.
    IncidentResponse,
}

/// Id and title of a control, the kinds of evidence for it, and parts of names of more.
type Row = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

impl Template {
    /// Reads a name; nothing is `default`, an unknown name is [`Template::IncidentResponse`].
    pub fn parse(name: &str, default: Template) -> Self {
        match &*lower_trimmed(name) {
            "" => default,
            "soc2" => Template::Soc2,
            "pci" => Template::Pci,
            _ => Template::IncidentResponse,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Template::Soc2 => "soc2",
            Template::Pci => "pci",
            Template::IncidentResponse => "incident_response",
        }
    }

    fn rows(self) -> &'static [Row] {
        match self {
            Template::Soc2 => &[
                (
                    "CC6.6",
                    "Change Management Evidence",
                    &["trace", "evidence"],
                    &["approval_audit_", "credential_evidence_"],
                ),
                ("CC7.2", "Operational Monitoring", &["report"], &["regress_summary.json", "trace_summary.json"]),
                (
                    "CC8.1",
                    "Incident Evidence Integrity",
                    &["runpack", "evidence"],
                    &["runpack_summary.json", "referenced_runpacks.json"],
                ),
            ],
            Template::Pci => &[
                ("PCI-10", "Audit Trail and Monitoring", &["trace", "report"], &["trace_summary.json"]),
                ("PCI-7", "Access and Approval Controls", &["evidence"], &["approval_audit_", "credential_evidence_"]),
                (
                    "PCI-12",
                    "Incident Handling Evidence",
                    &["runpack", "report"],
                    &["runpack_summary.json", "regress_summary.json"],
                ),
            ],
            Template::IncidentResponse => &[
                (
                    "IR-CHAIN",
                    "Reconstruction Chain",
                    &["runpack", "trace", "evidence"],
                    &["runpack_summary.json", "trace_summary.json", "approval_audit_", "credential_evidence_"],
                ),
                (
                    "IR-ROOTCAUSE",
                    "Root Cause and Regression",
                    &["report"],
                    &["regress_summary.json", "policy_digests.json"],
                ),
            ],
        }
    }

    /// The controls with the evidence that `files`, sorted by path, hold for each.
    pub(super) fn controls(self, files: &[EvidenceFile]) -> Vec<Control> {
        let control = |(id, title, kinds, parts): &Row| Control {
            control_id: (*id).into(),
            title: (*title).into(),
            evidence_paths: files
                .iter()
                .filter(|file| kinds.contains(&file.kind) || parts.iter().any(|part| file.path.contains(part)))
                .map(|file| file.path.clone())
                .collect(),
        };
        self.rows().iter().map(control).collect()
    }
}
