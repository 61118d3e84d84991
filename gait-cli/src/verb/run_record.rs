//! `gait run record`: a runpack of a run that something else observed.

use super::verify::{Demand, verify};
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Args, Flag, JSON, Order, SIGNING_KEYS};
use crate::progress::Progress;
use crate::render::Outcome;
use crate::{clock, keys, locate, pack};
use gait_core::canonical::canonical_bytes;
use gait_core::file::{self, PathError};
use gait_core::runpack::container::WriteError;
use gait_core::runpack::footer::{is_plain_run_id, ticket_footer};
use gait_core::runpack::record::{IntentRecord, ResultRecord};
use gait_core::runpack::stream::{self, InputError, KeepError, RecordMember, RunHead};
use gait_core::runpack::write::{PackError, PackFacts, PackMember};
use gait_core::signature::PrivateKey;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};

pub static VERB: Verb = Verb {
    path: &["run", "record"],
    label: "record",
    explain: "Record a runpack from normalized run data: run, intents, results and references become one signed or \
              unsigned file.",
    positionals: "",
    flags: &[
        Flag::value("input", "<run_record.json>", "the run as JSON; may also be given without the flag").required(),
        Flag::value("out-dir", "<dir>", "where the runpack goes").default("gait-out"),
        Flag::value("run-id", "<run_id>", "name the run, whatever the input says"),
        Flag::value(
            "capture-mode",
            "reference|raw",
            "whether arguments and results are there in full; without the flag the input says it",
        )
        .default("reference"),
        SIGNING_KEYS[0],
        SIGNING_KEYS[1],
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &[
        "The input is an object {run, intents, results, refs, capture_mode}; only run.run_id must be there, here or as \
         --run-id. A key for --private-key is made by gait keys init: $HOME/.gait/keys/signing.key.",
    ],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    let key = keys::signing_key(&call.args)?;
    let mut input = Input::open(call)?;
    let _progress = Progress::reading("recording", input.path(), 2);
    let head = stream::read_head(input.start()?).map_err(unusable)?;
    let arrays = head.arrays;
    let settled = match settle(call, head) {
        Ok(settled) => settled,
        Err(failure) => {
            // A record that can't be read is told first.
            stream::read_records(input.start()?, arrays, |_| Ok(()), |_| Ok(())).map_err(unusable)?;
            return Err(failure);
        }
    };
    let members = input.members(&settled)?;
    let (path, facts) = (&settled.path, settled.facts());
    let run_id = &settled.head.run.run_id;
    let manifest = pack::write(path, &facts, &members, &key.iter().collect::<Vec<_>>())?;
    if !verify(path, &Demand::integrity())?.ok {
        return Err(Failure::new(Exit::VerificationFailed, "the runpack just written does not verify"));
    }
    let footer = ticket_footer(run_id, &manifest.manifest_digest).map_err(Failure::invalid)?;
    let bundle = pack::shown(path);
    let mut lines = vec![format!("run_id={run_id}"), format!("bundle={bundle}"), format!("ticket_footer={footer}")];
    let mut members = json!({
        "ok": true,
        "run_id": run_id,
        "bundle": bundle,
        "manifest_digest": manifest.manifest_digest,
        "ticket_footer": footer,
    });
    signed_by(&call.args, key.as_ref(), &pack::named(path), &mut lines, &mut members);
    Ok(Outcome::new(Exit::Ok, &lines, &members))
}

/// Adds to an answer who signed `bundle`, and what verifies it.
pub fn signed_by(args: &Args, key: Option<&PrivateKey>, bundle: &str, lines: &mut Vec<String>, members: &mut Value) {
    let (Some(key), Some(flags)) = (key, keys::strict_flags(args)) else { return };
    let (key_id, verify) = (key.public().id().to_string(), format!("gait verify {} {flags}", keys::shell_word(bundle)));
    lines.extend([format!("signed_by={key_id}"), format!("verify_with={verify}")]);
    members["key_id"] = key_id.into();
    members["verify_with"] = verify.into();
}

/// The input: read twice, from a file without being held.
enum Input {
    File(PathBuf, File),
    /// What can't be read twice.
    Held(Vec<u8>),
}

impl Input {
    fn open(call: &Call) -> Result<Self, Failure> {
        let words = call.words()?;
        let input = match (call.args.trimmed("input"), words.as_slice()) {
            (Some(input), []) => input,
            (None, [input]) => input,
            (None, []) => return Err(Failure::invalid("missing required --input <run_record.json>")),
            _ => return Err(Failure::invalid("unexpected positional arguments")),
        };
        let path = Path::new(input);
        let failed = |error: PathError| Failure::invalid(format!("read input: {error}"));
        if path.metadata().is_ok_and(|found| found.is_file()) {
            let file = File::open(path).map_err(PathError::of("open", path)).map_err(failed)?;
            return Ok(Input::File(path.to_path_buf(), file));
        }
        file::read(path).map(Input::Held).map_err(failed)
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Input::File(path, _) => Some(path),
            Input::Held(_) => None,
        }
    }

    /// The input from its start.
    fn start(&mut self) -> Result<Box<dyn BufRead + '_>, Failure> {
        Ok(match self {
            Input::Held(bytes) => Box::new(bytes.as_slice()),
            Input::File(_, file) => {
                file.rewind().map_err(|error| Failure::invalid(format!("read input: {error}")))?;
                Box::new(BufReader::with_capacity(1 << 17, file))
            }
        })
    }

    /// The four standard members, filled; those of records in files without a name beside the runpack.
    fn members(&mut self, settled: &Settled) -> Result<Vec<PackMember>, Failure> {
        let (run, rename) = (&settled.head.run, settled.rename.as_deref());
        file::create_folders(pack::parent(&settled.path)).map_err(Failure::io)?;
        let mut intents = RecordMember::new(pack::nameless(&settled.path).map_err(Failure::io)?);
        let mut results = RecordMember::new(pack::nameless(&settled.path).map_err(Failure::io)?);
        let name = |id: &mut String| rename.iter().for_each(|run_id| (*run_id).clone_into(id));
        let intent = |mut intent: IntentRecord| {
            name(&mut intent.run_id);
            intent.fill(run);
            intents.push(&intent)
        };
        let result = |mut result: ResultRecord| {
            name(&mut result.run_id);
            result.fill(run);
            results.push(&result)
        };
        stream::read_records(self.start()?, settled.head.arrays, intent, result).map_err(unusable)?;
        let kept = |error: KeepError| unusable(error.into());
        Ok(vec![
            PackMember::bytes("run.json", canonical_bytes(run).map_err(Failure::invalid)?),
            PackMember::bytes("refs.json", canonical_bytes(&settled.head.refs).map_err(Failure::invalid)?),
            intents.finish().map_err(kept)?,
            results.finish().map_err(kept)?,
        ])
    }
}

fn unusable(error: InputError) -> Failure {
    match error {
        InputError::Keep(KeepError::Pack(PackError::Container(WriteError::MemberTooLarge { .. }))) => {
            Failure::invalid(error).with_hint("a run of this size does not fit into one runpack; record it in parts")
        }
        InputError::Keep(KeepError::Pack(error)) => Failure::io(error),
        InputError::Keep(error) => Failure::invalid(error),
        error => Failure::invalid(format!("parse input json: {error}")),
    }
}

/// The head of the runpack, filled, and where it goes.
struct Settled {
    head: RunHead,
    path: PathBuf,
    /// What every record is to be renamed to.
    rename: Option<String>,
}

impl Settled {
    fn facts(&self) -> PackFacts {
        let RunHead { run, capture_mode, .. } = &self.head;
        PackFacts {
            created_at: run.created_at,
            producer_version: run.producer_version.clone(),
            run_id: run.run_id.clone(),
            capture_mode: capture_mode.clone(),
        }
    }
}

fn settle(call: &Call, mut head: RunHead) -> Result<Settled, Failure> {
    let rename = call.args.trimmed("run-id").map(str::to_string);
    if let Some(run_id) = &rename {
        head.run.run_id.clone_from(run_id);
        head.refs.run_id.clone_from(run_id);
    }
    if head.run.run_id.trim().is_empty() {
        return Err(Failure::invalid("input run.run_id is required (or set --run-id)"));
    }
    head.capture_mode = capture_mode(&head.capture_mode, call.args.text("capture-mode"))?;
    let run_id = &head.run.run_id;
    if !is_plain_run_id(run_id) {
        // It becomes part of a file name and of the ticket footer (contract, artifacts 12, A6 and A7).
        let rule = "use letters, digits, `_` and `-` only";
        return Err(Failure::invalid(format!("invalid run_id {run_id:?}: not usable in file names, {rule}")));
    }
    let out_dir = Some(call.args.text("out-dir")).filter(|dir| !dir.is_empty()).unwrap_or(locate::OUT_DIR);
    let path = Path::new(out_dir).join(format!("runpack_{run_id}.zip"));
    head.run.fill(clock::now());
    head.refs.fill(&head.run);
    Ok(Settled { head, path, rename })
}

fn capture_mode(input: &str, flag: &str) -> Result<String, Failure> {
    match if flag.trim().is_empty() { input.trim() } else { flag.trim() } {
        "" => Ok("reference".into()),
        mode @ ("reference" | "raw") => Ok(mode.to_string()),
        _ => Err(Failure::invalid("capture mode must be one of: reference, raw")),
    }
}
