//! `gait doctor`: what this machine and folder have, what is missing, and what that costs (contract, control 15.5).
//!
//! `checks` are the contract's, in its order. `layers` are those of the boundary, each probed by doing.

use super::{Call, Help, Verb};
use crate::check::{Check, keys, quoted, state};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::{Args, Flag, JSON, Order, VERIFY_KEYS};
use crate::render::Outcome;
use crate::{app, clock};
use gait_guard::bpf::canary::Stage;
use gait_guard::bpf::probes::{self, Probes};
use gait_guard::exec::engine::{Engine, Rejected, reject};
use gait_guard::exec::explain;
use gait_guard::host::{Layer, State, probe};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

pub static VERB: Verb = Verb {
    path: &["doctor"],
    label: "doctor",
    explain: "Diagnose local environment and onboarding issues for Gait workflows and return stable fix suggestions.",
    positionals: "",
    flags: &[
        Flag::value("workdir", "<path>", "folder to look at").default("."),
        Flag::value("output-dir", "<path>", "where artifacts go, relative to workdir").default("./gait-out"),
        Flag::value("key-mode", "dev|prod", "dev: keys are optional; prod: a private key must be given").default("dev"),
        VERIFY_KEYS[2].or_next(),
        VERIFY_KEYS[3],
        VERIFY_KEYS[0].or_next(),
        VERIFY_KEYS[1],
        JSON,
    ],
    order: Order::Interspersed,
    help: Help::UsageOnly,
    notes: &["Looks at folders, keys and the layers of the boundary, and says what each missing one costs."],
    run,
};

/// A layer of the boundary.
#[derive(Debug, Serialize)]
struct LayerLine {
    name: &'static str,
    state: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<&'static str>,
}

/// An engine of `gait exec`.
#[derive(Debug, Serialize)]
struct EngineLine {
    name: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    detail: String,
}

#[derive(Debug, Serialize)]
struct Diagnosis {
    ok: bool,
    schema_id: &'static str,
    schema_version: &'static str,
    created_at: String,
    producer_version: &'static str,
    status: &'static str,
    non_fixable: bool,
    summary: String,
    fix_commands: Vec<String>,
    checks: Vec<Check>,
    layers: Vec<LayerLine>,
    engines: Vec<EngineLine>,
}

fn run(call: &Call) -> Result<Outcome, Failure> {
    if !call.args.positionals.is_empty() {
        return Err(Failure::invalid("unexpected positional arguments"));
    }
    let Boundary { layers, engines, lacks } = boundary();
    let diagnosis = Diagnosis { engines, ..diagnose(checks(&call.args), layers, lacks) };
    let exit = if diagnosis.ok { Exit::Ok } else { Exit::DependencyMissing };
    Ok(Outcome::new(exit, &lines(&diagnosis), &diagnosis))
}

/// What this machine has of the boundary.
struct Boundary {
    layers: Vec<LayerLine>,
    engines: Vec<EngineLine>,
    /// Whether a layer is missing that no run can do without.
    lacks: bool,
}

fn boundary() -> Boundary {
    let mut report = probe();
    let found = probes::load(gait_guard::hybrid::CHECKING);
    report.add(Layer::Probes, found.tracepoints.clone());
    report.add(Layer::SocketHooks, found.sockets.clone());
    let mut probes = found.probes;
    let can_notify = report.state(Layer::Notify).is_some_and(State::is_present);
    let engines = [Engine::Lsm, Engine::Notify, Engine::Hybrid].into_iter().map(|engine| {
        let line =
            |state, stage, detail: &str| EngineLine { name: engine.name(), state, stage, detail: detail.to_owned() };
        let rejected = match engine {
            Engine::Hybrid => hybrid(probes.as_mut(), &report).err(),
            _ => reject(engine, found.lsm.as_ref().err()),
        };
        match rejected {
            Some(rejected) => line("absent", Some(rejected.stage.name()), &rejected.reason),
            None if can_notify => line("present", None, "fired"),
            None => line("absent", None, "the layer `notify` is missing"),
        }
    });
    let engines = engines.collect();
    let lacks = report.missing().any(|layer| layer.is_vital());
    let lines = report.0.iter().map(|(layer, state)| LayerLine {
        name: layer.name(),
        state: match state {
            State::Present { .. } => "present",
            State::Absent { .. } => "absent",
            State::Broken { .. } => "broken",
        },
        detail: explain(state),
        cost: (!state.is_present()).then(|| layer.cost()),
    });
    let pid_namespace = LayerLine {
        name: "pid_namespace",
        state: "absent",
        detail: "not used by this version: the agent sees its real process ids".into(),
        cost: Some(
            "if all three processes of the guard are killed in one moment, what left the agent's own family lives on, behind Landlock and a filter that refuses",
        ),
    };
    Boundary { layers: lines.chain([pid_namespace]).collect(), engines, lacks }
}

/// Tries the engine `hybrid`: beside the probes, if there are any.
fn hybrid(probes: Option<&mut Probes>, report: &gait_guard::host::Report) -> Result<(), Rejected> {
    let lacks = |layer: Layer| {
        let reason = format!("the layer `{}` is missing", layer.name());
        Rejected { engine: Engine::Hybrid, stage: Stage::Load, errno: None, reason }
    };
    if !report.state(Layer::Landlock).is_some_and(State::is_present) {
        return Err(lacks(Layer::Landlock));
    }
    let probes = probes.ok_or_else(|| lacks(Layer::Probes))?;
    gait_guard::hybrid::check(probes).map_err(|unfit| Rejected::of(Engine::Hybrid, unfit))
}

fn diagnose(checks: Vec<Check>, layers: Vec<LayerLine>, lacks: bool) -> Diagnosis {
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let (failed, warned) = (count("fail"), count("warn"));
    let non_fixable = lacks || checks.iter().any(|check| check.non_fixable);
    let status = match (failed > 0 || lacks, warned) {
        (true, _) => "fail",
        (false, 0) => "pass",
        (false, _) => "warn",
    };
    let mut fix_commands: Vec<String> = checks.iter().filter_map(|check| check.fix_command.clone()).collect();
    fix_commands.sort();
    fix_commands.dedup();
    Diagnosis {
        ok: !non_fixable,
        schema_id: "gait.doctor.result",
        schema_version: "1.0.0",
        created_at: clock::now().to_string(),
        producer_version: app::VERSION,
        status,
        non_fixable,
        summary: format!("doctor: status={status} failed={failed} warned={warned} non_fixable={non_fixable}"),
        fix_commands,
        checks,
        layers,
        engines: Vec::new(),
    }
}

fn lines(diagnosis: &Diagnosis) -> Vec<String> {
    let mut lines = vec![diagnosis.summary.clone()];
    for check in &diagnosis.checks {
        lines.push(format!("- {}: {} ({})", check.name, check.status, check.message));
        lines.extend(check.fix_command.iter().map(|fix| format!("  fix: {fix}")));
    }
    for layer in &diagnosis.layers {
        lines.push(format!("- layer {}: {} ({})", layer.name, layer.state, layer.detail));
        lines.extend(layer.cost.iter().map(|cost| format!("  without it: {cost}")));
    }
    for engine in &diagnosis.engines {
        let stage = engine.stage.map(|stage| format!("{stage}: ")).unwrap_or_default();
        lines.push(format!("- engine {}: {} ({stage}{})", engine.name, engine.state, engine.detail));
    }
    lines
}

fn checks(args: &Args) -> Vec<Check> {
    let workdir = PathBuf::from(args.trimmed("workdir").unwrap_or("."));
    let given = PathBuf::from(args.trimmed("output-dir").unwrap_or("./gait-out"));
    let inside =
        |name: &Path| -> PathBuf { workdir.join(name).components().filter(|part| part.as_os_str() != ".").collect() };
    let clean = inside(&given);
    vec![
        workdir_check(&workdir),
        output_check(&clean),
        temp_check(),
        Check::pass("schema_files", "required schema files are present"),
        hooks_check(&workdir),
        state::registry(),
        state::rate_limit_lock(&[&inside(Path::new(".gait-out")), &clean]),
        binary_check(),
        assets_check(&workdir),
        keys::ambiguity(args),
        keys::permissions(args),
        keys::config(args),
    ]
}

/// Whether a file can be made in `folder`.
fn is_writable(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".gait-doctor-{}", std::process::id()));
    fs::File::create_new(&probe)?;
    fs::remove_file(&probe)
}

fn workdir_check(path: &Path) -> Check {
    let make = || format!("mkdir -p {}", quoted(path));
    match fs::metadata(path) {
        Err(error) => Check::fail("workdir", format!("workdir not accessible: {error}"), make()),
        Ok(metadata) if !metadata.is_dir() => Check::fail("workdir", "workdir is not a directory", make()),
        Ok(_) => match is_writable(path) {
            Ok(()) => Check::pass("workdir", "workdir is writable"),
            Err(error) => {
                Check::fail("workdir", format!("workdir not writable: {error}"), format!("chmod u+w {}", quoted(path)))
            }
        },
    }
}

fn output_check(path: &Path) -> Check {
    let make = || format!("mkdir -p {}", quoted(path));
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::warn("output_dir", "output directory does not exist", make())
        }
        Err(error) => Check::fail("output_dir", format!("output directory not accessible: {error}"), make()),
        Ok(metadata) if !metadata.is_dir() => Check::fail("output_dir", "output path is not a directory", make()),
        Ok(_) => match is_writable(path) {
            Ok(()) => Check::pass("output_dir", "output directory is writable"),
            Err(error) => Check::fail(
                "output_dir",
                format!("output directory not writable: {error}"),
                format!("chmod u+w {}", quoted(path)),
            ),
        },
    }
}

fn temp_check() -> Check {
    let path = std::env::temp_dir();
    match is_writable(&path) {
        Ok(()) => Check::pass("temp_dir", "temporary directory is writable"),
        Err(error) => Check::fail(
            "temp_dir",
            format!("temporary directory not writable: {error}"),
            format!("chmod u+w {}", quoted(&path)),
        ),
    }
}

fn hooks_check(workdir: &Path) -> Check {
    let warn = |message: String| Check::warn("hooks_path", message, "make hooks");
    let git =
        std::process::Command::new("git").args(["config", "--get", "core.hooksPath"]).current_dir(workdir).output();
    let Ok(output) = git else { return warn("git is not available".into()) };
    match String::from_utf8_lossy(&output.stdout).trim() {
        "" => warn("git core.hooksPath is not configured".into()),
        ".githooks" => Check::pass("hooks_path", "git hooks path is configured"),
        other => warn(format!("git core.hooksPath is {other:?} (expected .githooks)")),
    }
}

fn binary_check() -> Check {
    match std::env::current_exe() {
        Ok(path) => Check::pass(
            "onboarding_binary",
            format!("gait binary ready (path={} version=gait {})", path.display(), app::VERSION),
        ),
        Err(_) => Check::warn(
            "onboarding_binary",
            "gait binary not found; onboarding commands may fail",
            "cargo build --release",
        ),
    }
}

/// What a checkout of the contract's own program has.
const ASSETS: [&str; 4] = [
    "scripts/quickstart.sh",
    "examples/integrations/openai_agents/quickstart.py",
    "examples/integrations/langchain/quickstart.py",
    "examples/integrations/autogen/quickstart.py",
];

fn assets_check(workdir: &Path) -> Check {
    let missing: Vec<&str> = ASSETS.into_iter().filter(|asset| !workdir.join(asset).exists()).collect();
    if missing.is_empty() {
        return Check::pass("onboarding_assets", "onboarding assets are present");
    }
    Check::warn(
        "onboarding_assets",
        format!("missing onboarding assets: {}", missing.join(",")),
        "git restore --source=HEAD -- scripts/quickstart.sh examples/integrations",
    )
}
