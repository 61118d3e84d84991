//! `gait migrate`: a runpack in the current form.

use super::verify::{Demand, verify};
use super::{Call, Help, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order, SIGNING_KEYS};
use crate::progress::Progress;
use crate::render::Outcome;
use crate::{clock, keys, locate, pack};
use gait_core::file::{self, AtomicFile};
use gait_core::runpack::container::Container;
use gait_core::runpack::footer::is_plain_run_id;
use gait_core::runpack::migrate::{MigrateError, drops_signatures, is_guarded, rewrite, same_members};
use gait_core::runpack::open::open_file;
use gait_core::signature::PrivateKey;
use serde::Serialize;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

pub static VERB: Verb = Verb {
    path: &["migrate"],
    label: "migrate",
    explain: "Migrate artifact files to the current schema generation without requiring network access.",
    positionals: "",
    flags: &[
        Flag::value("input", "<artifact_path|run_id>", "the runpack; may also be given without the flag").required(),
        Flag::value("out", "<path>", "where the migrated runpack goes")
            .default("runpack_<run_id>_migrated.zip beside the input"),
        Flag::value("target", "v1", "the schema generation").default("v1"),
        SIGNING_KEYS[0],
        SIGNING_KEYS[1],
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::Page,
    notes: &["note: the runpack of a guarded run is copied as it is, with its evidence and signatures."],
    run,
};

#[derive(Debug, Serialize)]
struct Answer<'a> {
    ok: bool,
    input: String,
    output: String,
    artifact: &'static str,
    status: &'static str,
    run_id: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    let words = call.words()?;
    let given = call.args.trimmed("input");
    if words.len() > usize::from(given.is_none()) {
        return Err(Failure::invalid("unexpected positional arguments"));
    }
    if !matches!(call.args.trimmed("target"), None | Some("v1")) {
        return Err(Failure::invalid("unsupported --target (only v1 is currently available)"));
    }
    let Some(input) = given.or(words.first().copied()) else {
        return Err(Failure::invalid("missing required --input <artifact_path|run_id>"));
    };
    let key = keys::signing_key(&call.args)?;
    let path = locate_artifact(input)?;
    let _progress = Progress::reading("migrating", [path.as_path()], 3);
    migrate(&path, call.args.trimmed("out"), &key.iter().collect::<Vec<_>>())
}

fn locate_artifact(input: &str) -> Result<PathBuf, Failure> {
    let is_zip = |path: &str| path.to_ascii_lowercase().ends_with(".zip");
    if locate::is_path(input) && !is_zip(input) && Path::new(input).is_file() {
        return Err(Failure::invalid("unsupported artifact type (only runpack zip is currently migratable)"));
    }
    locate::runpack(input)
}

fn migrate(path: &Path, out: Option<&str>, keys: &[&PrivateKey]) -> Result<Outcome, Failure> {
    let mut source = gait_core::runpack::open::Runpack::open_path(path).map_err(Failure::invalid)?;
    let output = match out {
        Some(out) => PathBuf::from(out),
        None => pack::parent(path).join(default_name(path, &source.run.run_id)),
    };
    if file::clean(&output) == file::clean(path) {
        return Err(Failure::invalid("--out must differ from input path"));
    }
    file::create_folders(pack::parent(&output)).map_err(Failure::io)?;
    let mut target = BufWriter::new(AtomicFile::create(&output).map_err(Failure::io)?);
    let keep = is_guarded(&mut source);
    let warns = !keep && keys.is_empty() && drops_signatures(&source);
    if keep {
        let mut original = open_file(path).map_err(Failure::invalid)?;
        io::copy(&mut original, &mut target).map_err(|error| Failure::io(file::os_text(&error)))?;
    } else {
        let spare = || pack::nameless(&output);
        rewrite(&mut source, &mut target, clock::now(), keys, spare).map_err(|error| match error {
            MigrateError::Pack(_) | MigrateError::Spare(_) => Failure::io(error),
            _ => Failure::invalid(error),
        })?;
    }
    let target = target.into_inner().map_err(|error| Failure::io(file::os_text(error.error())))?;
    target.commit().map_err(Failure::io)?;
    if !verify(&output, &Demand::integrity())?.ok {
        return Err(Failure::new(Exit::VerificationFailed, "the migrated runpack does not verify"));
    }

    let mut written = Container::open(open_file(&output).map_err(Failure::invalid)?).map_err(Failure::invalid)?;
    let same = same_members(source.container(), &mut written).map_err(Failure::invalid)?;
    let warnings: Vec<String> = warns.then(|| DROPPED.to_string()).into_iter().collect();
    let answer = Answer {
        ok: true,
        input: path.display().to_string(),
        output: file::clean(&output).display().to_string(),
        artifact: "runpack",
        status: if same { "no_change" } else { "migrated" },
        run_id: source.run.run_id.clone(),
        warnings: &warnings,
    };
    let mut lines = vec![format!("migrate ok: {} -> {} ({})", answer.input, answer.output, answer.status)];
    lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
    Ok(Outcome::new(Exit::Ok, &lines, &answer))
}

const DROPPED: &str = "signatures of the input are not carried over; sign with --private-key";

fn default_name(path: &Path, run_id: &str) -> String {
    match is_plain_run_id(run_id) {
        true => format!("runpack_{run_id}_migrated.zip"),
        false => {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            format!("{stem}_migrated.zip")
        }
    }
}
