//! `gait demo`: a small run, the same everywhere, recorded and verified.

use super::run_record::signed_by;
use super::verify::{Demand, verify};
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{JSON, Order, SIGNING_KEYS};
use crate::render::Outcome;
use crate::{keys, locate, pack};
use gait_core::runpack::demo;
use gait_core::runpack::footer::ticket_footer;
use serde_json::json;
use std::path::Path;

pub static VERB: Verb = Verb {
    path: &["demo"],
    label: "demo",
    explain: "Run a fully offline deterministic demo and emit a shareable runpack receipt for verification.",
    positionals: "",
    flags: &[SIGNING_KEYS[0], SIGNING_KEYS[1], JSON],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &["note: writes ./gait-out/runpack_run_demo.zip; nothing is executed and no network is used."],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    let key = keys::signing_key(&call.args)?;
    let records = demo::records().map_err(Failure::invalid)?;
    let path = Path::new(locate::OUT_DIR).join(format!("runpack_{}.zip", demo::RUN_ID));
    let manifest = pack::write_records(&path, &records, &key.iter().collect::<Vec<_>>())?;
    let verdict = verify(&path, &Demand::integrity())?;
    if !verdict.ok {
        return Err(Failure::new(Exit::VerificationFailed, "the runpack just written does not verify"));
    }
    let footer = ticket_footer(&manifest.run_id, &manifest.manifest_digest).map_err(Failure::invalid)?;
    let bundle = pack::shown(&path);
    let mut lines = vec![
        format!("run_id={}", manifest.run_id),
        format!("bundle={bundle}"),
        format!("ticket_footer={footer}"),
        "verify=ok".into(),
    ];
    let mut members = json!({
        "ok": true,
        "run_id": manifest.run_id,
        "bundle": bundle,
        "manifest_digest": manifest.manifest_digest,
        "ticket_footer": footer,
        "verify": "ok",
    });
    signed_by(&call.args, key.as_ref(), &pack::named(&path), &mut lines, &mut members);
    Ok(Outcome::new(Exit::Ok, &lines, &members))
}
