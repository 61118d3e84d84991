//! `gait run receipt`: the line that names a run in a ticket.

use super::verify::{Demand, verify};
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order};
use crate::locate;
use crate::progress::Progress;
use crate::render::Outcome;
use gait_core::runpack::footer::ticket_footer;
use serde_json::json;

pub static VERB: Verb = Verb {
    path: &["run", "receipt"],
    label: "receipt",
    explain: "Verify a runpack and print the ticket footer that names it by its manifest digest.",
    positionals: "",
    flags: &[Flag::value("from", "<run_id|path>", "the runpack; may also be given without the flag").required(), JSON],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let input = match (call.args.trimmed("from"), words.as_slice()) {
        (Some(input), []) => input,
        (None, [input]) => input,
        (None, []) => return Err(Failure::invalid("missing required --from <run_id|path>")),
        _ => return Err(Failure::invalid("unexpected positional arguments")),
    };
    let _progress = Progress::of("verifying");
    let verdict = verify(&locate::runpack(input)?, &Demand::integrity())?;
    if !verdict.ok {
        return Err(Failure::new(Exit::VerificationFailed, "runpack verification failed"));
    }
    let footer = ticket_footer(&verdict.run_id, &verdict.manifest_digest)
        .map_err(|error| Failure::new(Exit::Internal, error))?;
    let members = json!({
        "ok": true,
        "run_id": verdict.run_id,
        "path": verdict.path,
        "manifest_digest": verdict.manifest_digest,
        "ticket_footer": footer,
    });
    Ok(Outcome::new(Exit::Ok, &[footer], &members))
}
