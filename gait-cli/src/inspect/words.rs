//! The model of a run in words. Names are as the run has them: whoever prints a line escapes it.

use super::Shown;
use gait_core::inspect::Content;
use gait_core::inspect::action::{Action, BlockGroup};
use gait_core::inspect::guarded::{Ending, Guarded};
use gait_core::inspect::process::{Process, Program};
use gait_core::inspect::remedy::{Addition, Remedy, scalar};
use gait_core::inspect::timeline::{Event, What};
use gait_core::journal::{CloseReason, Source};

/// A span of time with two or three digits that count.
pub fn span(ns: u64) -> String {
    let of = |unit: u64, name: &str| {
        let (whole, tenth) = (ns / unit, ns % unit / (unit / 10));
        if whole >= 100 || tenth == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenth} {name}") }
    };
    match ns {
        0..=999 => format!("{ns} ns"),
        1_000..=999_999 => of(1_000, "\u{b5}s"),
        1_000_000..=999_999_999 => of(1_000_000, "ms"),
        1_000_000_000..=59_999_999_999 => of(1_000_000_000, "s"),
        _ => {
            let (minutes, seconds) = (ns / 60_000_000_000, ns / 1_000_000_000 % 60);
            if minutes < 60 {
                format!("{minutes} min {seconds} s")
            } else {
                format!("{} h {} min", minutes / 60, minutes % 60)
            }
        }
    }
}

/// `3 actions`, `1 action`, `2 processes`.
pub fn count(number: u64, what: &str) -> String {
    let ending = match number {
        1 => "",
        _ if what.ends_with('s') => "es",
        _ => "s",
    };
    format!("{number} {what}{ending}")
}

/// How a process or a run ended.
pub fn end(code: u64, signal: u64) -> String {
    if signal == 0 { format!("exit {code}") } else { format!("signal {signal}") }
}

/// The last name of a path.
pub fn base(path: &str) -> &str {
    path.rsplit('/').find(|name| !name.is_empty()).unwrap_or(path)
}

/// The program that a process is known by: the last that it became.
pub fn program(process: &Process) -> String {
    match process.execs.last() {
        Some(program) => base(&program.file).to_owned(),
        None => "(no program of its own)".to_owned(),
    }
}

/// The file of a program, and its arguments where they were recorded.
pub fn command_line(program: &Program) -> String {
    match &program.argv {
        Some(argv) => format!("{}: {}", program.file, arguments(argv)),
        None => format!("{} ({})", program.file, count(program.argc, "argument")),
    }
}

/// Arguments in quotes where a shell would need them.
pub fn arguments(argv: &[String]) -> String {
    let plain = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./=:,+@%".contains(c));
    let quoted = |word: &String| if plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) };
    argv.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// The state of a run in a few words, the most important first.
pub fn state(shown: &Shown<'_>) -> Vec<String> {
    match &shown.run.content {
        Content::Guarded(run) => vec![completeness(run), ending(run), span(run.duration_ns)],
        Content::Plain(run) => {
            let duration = run.duration_ns.map(|ns| format!("{} by its timeline", span(ns)));
            std::iter::once("not guarded".to_owned()).chain(duration).collect()
        }
    }
}

/// Whether a record is complete, and how far it was attested.
pub fn completeness(run: &Guarded) -> String {
    match &run.ending {
        _ if run.complete => "complete".into(),
        Ending::Sealed(seal) => format!(
            "incomplete, sealed after the guard was killed: attested through line {}, {} after it not",
            seal.attested,
            count(seal.unattested, "line")
        ),
        Ending::Closed(_) if run.lost > 0 => format!("incomplete, {} without a record", count(run.lost, "decision")),
        Ending::Closed(close) => format!("incomplete: {}", reason(close.reason)),
    }
}

fn reason(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Exit => "the command ended",
        CloseReason::Signal => "a signal ended the command",
        CloseReason::Disagreement => "compiled policy and reference evaluator disagreed",
        CloseReason::Lost => "records were lost",
        CloseReason::Disk => "the journal could not be written",
        CloseReason::GuardError => "the guard failed",
    }
}

/// How the command ended.
pub fn ending(run: &Guarded) -> String {
    match &run.ending {
        Ending::Closed(close) => end(close.exit_code, close.signal.unwrap_or(0)),
        Ending::Sealed(_) => "end not recorded".into(),
    }
}

/// Who vouches for the runpack.
pub fn trust(shown: &Shown<'_>) -> String {
    let member = |name: &str| shown.verdict.more.get(name).and_then(|value| value.as_str());
    let status = shown.verdict.signature_status.word();
    match (member("trust"), member("key_id")) {
        (Some(trust), Some(key)) => {
            let meaning = match trust {
                "pinned" => "signed by the key that was given",
                "local" => "signed by this machine's own key",
                "self_attested" => "consistent with the key in it; nobody says whose that is (--public-key does)",
                "unsigned" => "not signed",
                other => other,
            };
            format!("{trust}: {meaning} (key {})", key.chars().take(16).collect::<String>())
        }
        _ => format!("digests hold; signatures: {status}"),
    }
}

/// The same in a word or two, and whether somebody vouches for it.
pub fn vouched(shown: &Shown<'_>) -> (bool, String) {
    match shown.verdict.more.get("trust").and_then(|trust| trust.as_str()) {
        Some(trust) => (matches!(trust, "pinned" | "local"), trust.to_owned()),
        None => {
            let status = shown.verdict.signature_status.word();
            (status == "verified", format!("signature {status}"))
        }
    }
}

/// The facts of the head of the page: a label and words.
pub fn facts(shown: &Shown<'_>) -> Vec<(&'static str, String)> {
    let mut facts = vec![("verified", trust(shown)), ("started", shown.run.started_at.clone())];
    let [os, arch, runtime] = &shown.run.env;
    match &shown.run.content {
        Content::Guarded(run) => {
            facts.push((
                "command",
                match &run.command.argv {
                    Some(argv) => arguments(argv),
                    None => format!("{} ({})", run.command.program, count(run.command.argc, "argument")),
                },
            ));
            let context = &run.context;
            facts.push((
                "context",
                format!("{} as {}, risk class {}", context.workspace, context.identity, context.risk_class),
            ));
            facts.extend(enforcement(run));
            facts.push(("policy", format!("sha256:{}", run.policy_digest)));
            let allowed = run.decisions - run.denied;
            facts.push((
                "decisions",
                format!(
                    "{} on {}: {allowed} allowed, {} denied",
                    run.decisions,
                    count(run.distinct, "distinct action"),
                    run.denied
                ),
            ));
            if run.unknown_lines > 0 {
                facts.push((
                    "journal",
                    format!("{} of a type this version does not know", count(run.unknown_lines, "line")),
                ));
            }
        }
        Content::Plain(run) => {
            facts.push(("recorded", format!("by {runtime} on {os} {arch}, capture mode {}", shown.run.capture_mode)));
            let missing =
                if run.missing > 0 { format!(", {} without", count(run.missing, "intent")) } else { String::new() };
            facts.push((
                "calls",
                format!("{}, {}{missing}", count(run.intents, "intent"), count(run.results, "result")),
            ));
            facts.push((
                "journal",
                "none: this run was not guarded, so no processes, verdicts or blocks are known".to_owned(),
            ));
        }
    }
    if let Some(stripped) = shown.verdict.more_lines.iter().find(|line| line.starts_with("guarded: stripped")) {
        facts.push(("note", stripped.clone()));
    }
    facts
}

fn enforcement(run: &Guarded) -> Vec<(&'static str, String)> {
    let by = &run.enforcement;
    let rejected: Vec<String> = by
        .engine_rejected
        .iter()
        .map(|rejected| {
            let why = rejected.errno.as_ref().or(rejected.reason.as_ref()).map(|why| format!(": {why}"));
            format!("{} failed at {}{}", rejected.engine, rejected.stage, why.unwrap_or_default())
        })
        .collect();
    let rejected = if rejected.is_empty() { String::new() } else { format!("; {}", rejected.join("; ")) };
    let mut facts = vec![
        ("engine", format!("{} ({} was asked for){rejected}", by.engine, by.engine_requested)),
        ("layers", format!("{}; kernel {}", by.layers.join(", "), by.kernel)),
    ];
    if !by.degraded.is_empty() {
        facts.push(("missing", format!("{} (permitted by --allow-degraded)", by.degraded.join(", "))));
    }
    facts
}

/// What denied a group of actions.
pub fn group_title(group: &BlockGroup) -> String {
    let what = match (group.source, &group.matched_rule) {
        (Source::Floor, _) => "the floor".to_owned(),
        (Source::Engine, _) => "the engine".to_owned(),
        (Source::Policy, Some(rule)) => format!("rule {rule}"),
        (Source::Policy, None) => "no rule matched".to_owned(),
    };
    format!("{what}: {}", group.verdict)
}

/// `fs.read read /home/x mode=0600`
pub fn action(action: &Action) -> String {
    let words = [&action.tool_name, &action.operation, &action.value, &action.detail];
    words.iter().filter(|word| !word.is_empty()).map(|word| word.as_str()).collect::<Vec<_>>().join(" ")
}

/// A process by program and number.
pub fn process(shown: &Shown<'_>, number: u64) -> String {
    match shown.processes.get(&number) {
        Some(process) if !process.execs.is_empty() => format!("{} [{number}]", program(process)),
        _ => format!("process [{number}]"),
    }
}

/// The processes of an action.
pub fn processes(shown: &Shown<'_>, action: &Action, limit: usize) -> String {
    let mut names: Vec<String> = action.procs.iter().take(limit).map(|number| process(shown, *number)).collect();
    if action.more_procs {
        names.push("more".to_owned());
    } else if action.procs.len() > limit {
        names.push(format!("{} more", action.procs.len() - limit));
    }
    names.join(", ")
}

/// Why an action was denied, and what to add: a label, words, and what can be copied.
pub fn remedy(remedy: &Remedy) -> Vec<(&'static str, String, Option<String>)> {
    let mut lines: Vec<(&'static str, String, Option<String>)> = remedy
        .denied_by
        .iter()
        .map(|entry| ("matches", format!("{} in {} of rule {}", entry.value, entry.list, entry.rule), None))
        .collect();
    lines.push(match &remedy.add {
        Addition::Entry(entry) => (
            "to allow",
            format!("add to {} of rule {}:", entry.list, entry.rule),
            Some(format!("- {}", scalar(&entry.value))),
        ),
        Addition::Rule { before: Some(rule), yaml } => {
            ("to allow", format!("add to rules (it comes before {rule}):"), Some(yaml.clone()))
        }
        Addition::Rule { before: None, yaml } => ("to allow", "add to rules:".to_owned(), Some(yaml.clone())),
        Addition::Floor => ("to allow", "nothing: the floor holds whatever the policy says".to_owned(), None),
        Addition::Engine => ("to allow", "nothing: the engine could not record or decide it".to_owned(), None),
        Addition::FailClosed => {
            ("to allow", "nothing: fail_closed of the policy refuses what so little is known of".to_owned(), None)
        }
    });
    lines
}

/// An event of the timeline.
pub fn event(shown: &Shown<'_>, run: &Guarded, event: &Event) -> String {
    let who = event.proc.map(|number| format!("{} ", process(shown, number))).unwrap_or_default();
    match &event.what {
        What::Exec { file } => match event.proc {
            Some(number) => format!("[{number}] becomes {file}"),
            None => format!("becomes {file}"),
        },
        What::Exit { code, signal } => format!("{who}ends: {}", end(*code, *signal)),
        What::Denied { action: index } => match run.actions.rows.get(*index) {
            Some(row) => format!("{who}is denied {} ({})", action(row), row.verdict),
            None => format!("{who}is denied something"),
        },
        What::Hold => format!("{who}waits for an approval"),
        What::Disagreement => "compiled policy and reference evaluator disagree".to_owned(),
        What::Lost { count: number, allowed, place } => {
            let how = if *allowed { "passed" } else { "denied" };
            format!("{} {how} without a record ({place})", count(*number, "decision"))
        }
        What::Closed => format!("the run ends: {}", ending(run)),
        What::Sealed => "the guard's journal stops here; it was sealed later".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_few_digits() {
        for (ns, expected) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (25_757, "25.7 \u{b5}s"),
            (123_785, "123 \u{b5}s"),
            (3_626_587, "3.6 ms"),
            (2_000_000_000, "2 s"),
            (59_990_000_000, "59.9 s"),
            (61_000_000_000, "1 min 1 s"),
            (7_260_000_000_000, "2 h 1 min"),
        ] {
            assert_eq!(span(ns), expected, "{ns}");
        }
    }

    #[test]
    fn arguments_are_quoted_where_a_shell_would_split_them() {
        let words = ["sh", "-c", "echo 'a b'", ""].map(str::to_owned);
        assert_eq!(arguments(&words), r"sh -c 'echo '\''a b'\''' ''");
    }

    #[test]
    fn the_last_name_of_a_path_is_found() {
        assert_eq!((base("/usr/bin/git"), base("memfd:x"), base("/"), base("")), ("git", "memfd:x", "/", ""));
    }
}
