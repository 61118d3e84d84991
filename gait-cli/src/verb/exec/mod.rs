//! `gait exec [flags] -- cmd args`: runs an agent behind the boundary and leaves a runpack.
//!
//! The run itself happens in a process of its own ([`gait_guard::launch::watchdog`]): what it found comes back as one
//! [`Report`], which is rendered here.

mod report;
pub(super) mod request;

use super::{Call, Help, Verb};
use crate::exit::{Exit, Status};
use crate::failure::Failure;
use crate::flags::{Flag, JSON, Order, SIGNING_KEYS};
use crate::progress::Progress;
use crate::render::{Form, Outcome};
use gait_core::digest::{Hasher, Sha256Hex};
use gait_core::runpack::container::Container;
use gait_core::runpack::manifest::SignatureStatus;
use gait_core::runpack::verify::integrity;
use gait_core::signature::PublicKey;
use gait_guard::exec::Engine;
use gait_guard::hybrid::LIMIT;
use gait_guard::launch::watchdog::{WatchError, watch_then};
use report::Report;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub static VERB: Verb = Verb {
    path: &["exec"],
    label: "exec",
    explain: "Run an agent behind a boundary that the kernel enforces, decide each of its actions by policy, and leave \
              a signed runpack.",
    positionals: "-- <cmd> [args]",
    flags: &[
        Flag::value("policy", "<path>", "policy file; without one an embedded policy applies"),
        Flag::switch("lenient", "ignore keys that the policy language does not have").hidden(),
        Flag::value("workspace", "<dir>", "what ${workspace} and the context's workspace stand for")
            .default("the working directory"),
        Flag::value("identity", "<name>", "context identity").default("the user name"),
        Flag::value("risk-class", "<class>", "context risk class").default("high"),
        Flag::value("run-id", "<id>", "name of the run").default("run_<time>_<random>"),
        Flag::value("out-dir", "<dir>", "where the runpack goes").default("gait-out"),
        Flag::value("capture-mode", "reference|raw", "raw records arguments too").default("reference"),
        Flag::switch("simulate", "decide and record, deny nothing but the floor"),
        Flag::value(
            "engine",
            "auto|lsm|notify|hybrid",
            "what decides; auto takes lsm where its self-test fires, else notify; with hybrid plain reads run by themselves, with less protection: see docs/limits.md",
        )
        .default("auto"),
        Flag::value("require", "<layers>", "start only with these layers in force, comma-separated"),
        Flag::value("allow-degraded", "<layers>", "start without these layers where they can't be had"),
        Flag::value("timeout", "<duration>", "end the agent after this time, e.g. 90s, 5m"),
        Flag::value(
            "ring-bytes",
            "<bytes>",
            "room for records on their way out of the kernel, for engines that decide there (notify does not): a power of two",
        )
        .default("16777216"),
        Flag::value(
            "keep-env",
            "<names>",
            "variables that are passed on though they look like secrets, comma-separated",
        ),
        Flag::switch("fail-on-block", "exit 3 if anything was blocked"),
        Flag::switch("verbose", "tell on standard error what the guard does, its programs in the kernel included; also -v"),
        Flag::switch("v", "as --verbose").hidden(),
        SIGNING_KEYS[0],
        SIGNING_KEYS[1],
        JSON,
    ],
    order: Order::Leading,
    help: Help::Page,
    notes: &[
        "layers: descriptors, landlock, seccomp, notify, exec_stop, network, noexec, watchdog, probes, socket_hooks (`gait doctor` tells which this machine has)",
        "The agent inherits standard input, output and error, and runs in a session of its own, without a controlling terminal. With --json the \
         summary is the last line of standard output, after whatever the agent printed.",
    ],
    run,
};

fn run(call: &Call) -> Result<Outcome, Failure> {
    render(call, attempt(call))
}

/// Lines of the guard, and of its programs in the kernel, to standard error.
fn tell_everything() {
    let ours = Targets::new().with_target("gait", Level::DEBUG).with_default(Level::WARN);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    // One that is set already tells as much.
    let _ = tracing_subscriber::registry().with(lines).with(ours).try_init();
}

fn attempt(call: &Call) -> Result<Report, Failure> {
    if call.args.is_on("verbose") || call.args.is_on("v") {
        tell_everything();
    }
    let asked = request::read(call)?;
    let (public, fails_on_block, run_id) = (asked.key.public(), call.args.is_on("fail-on-block"), asked.run_id.clone());
    if asked.engine == Engine::Hybrid {
        // Before the agent says anything; that nobody can be told is no reason not to run.
        let _ = writeln!(std::io::stderr(), "engine hybrid: {LIMIT}");
    }
    let work = |wards| {
        // Of the supervisor's process: nobody but it packs. The agent has ended then, so the terminal is free.
        let mut progress = None;
        let ran = gait_guard::exec::exec(asked, wards, &mut |bytes| {
            progress = Some(Progress::of_bytes("packing", bytes));
        });
        drop(progress);
        Report::of(ran).to_bytes()
    };
    // The guard's processes take as long to end as their memory is large: the runpack is in place by then.
    let check = |text: Vec<u8>| -> Result<Report, Failure> {
        let mut report = Report::read(&text)?;
        if let Some(bundle) = report.bundle() {
            let _progress = Progress::reading("verifying", [Path::new(&bundle)], 1);
            let verdict = verified(Path::new(&bundle), &public, report.manifest_digest(), report.bundle_digest());
            report.verified(&verdict);
        }
        Ok(report)
    };
    let mut report = match watch_then(work, check) {
        Ok(report) => report?,
        Err(error @ WatchError::Killed) => {
            let hint = format!("what was recorded is kept: `gait run seal {run_id}`");
            return Err(Failure::new(Exit::Internal, error).with_hint(hint).with_field("run_id", run_id));
        }
        Err(error) => return Err(Failure::new(Exit::Internal, error)),
    };
    if fails_on_block {
        report.fail_on_block();
    }
    Ok(report)
}

/// Whether the runpack on the disk is the one that the supervisor derived from the journal: it is byte by byte what was
/// written, so its form is that of our writer; all members have the digests that its manifest lists; and that manifest is
/// the one that was reported, signed by the run's key. `gait verify` derives everything again on top of that, and looks
/// at the form of the container by itself; doing so here would check code against itself, and takes as long as a short run.
fn verified(
    bundle: &Path,
    key: &PublicKey,
    manifest_digest: &str,
    bundle_digest: Option<&Sha256Hex>,
) -> Result<SignatureStatus, String> {
    let mut file = File::open(bundle).map_err(|error| error.to_string())?;
    let mut hasher = Hasher::new();
    io::copy(&mut file, &mut hasher).map_err(|error| error.to_string())?;
    let is_as_written = bundle_digest == Some(&hasher.finish());
    let mut container = Container::open(file).map_err(|error| error.to_string())?;
    let found = integrity(&mut container).map_err(|error| error.to_string())?;
    let signatures = found.signatures(Some(key));
    let holds = is_as_written && found.holds() && found.manifest.manifest_digest == manifest_digest;
    match signatures.status {
        SignatureStatus::Verified if holds => Ok(SignatureStatus::Verified),
        SignatureStatus::Verified => Err("the runpack on the disk is not the one that was written".into()),
        status => Err(format!("signature status: {}", status.word())),
    }
}

/// In text form everything goes to stderr: stdout is the agent's.
fn render(call: &Call, result: Result<Report, Failure>) -> Result<Outcome, Failure> {
    match (result, call.form) {
        (Ok(report), form) => {
            let fields = report.fields();
            let outcome = Outcome::new(Exit::Ok, &[], &fields).with_status(report.status());
            Ok(if form == Form::Text { outcome.with_notes(&report.lines()) } else { outcome })
        }
        (Err(failure), Form::Json) => Err(failure),
        (Err(failure), Form::Text) => {
            let mut lines = vec![format!("exec error: {}", failure.message)];
            let own = failure.exit.envelope().map(|words| words.hint.to_owned());
            lines.extend(failure.hint.or(own).map(|hint| format!("hint: {hint}")));
            let outcome = Outcome::new(failure.exit, &[], &serde_json::Map::new());
            Ok(outcome.with_status(Status::Gait(failure.exit)).with_notes(&lines))
        }
    }
}
