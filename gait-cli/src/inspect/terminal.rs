//! The page in the terminal: bounded, in sections, each with a word on what was left out.

use super::Shown;
use super::words::{self, count, span};
use gait_core::inspect::Content;
use gait_core::inspect::action::{BlockGroup, Class};
use gait_core::inspect::guarded::Guarded;
use gait_core::inspect::plain::Plain;
use gait_core::inspect::process::Process;
use gait_core::inspect::timeline::{Bucket, Event};
use gait_core::journal::Totals;
use gait_core::policy::Verdict;

/// Processes that are shown.
const PROCESSES: usize = 40;
/// Classes or tools that are shown.
const CLASSES: usize = 40;
/// Groups of blocks that are shown.
const GROUPS: usize = 12;
/// Actions of one group that are shown.
const ACTIONS: usize = 5;
/// Events that are shown from the start, and from the end.
const EVENTS: [usize; 2] = [20, 8];
/// Columns of the activity.
const COLUMNS: usize = 60;
/// Levels of the process tree that are indented.
const LEVELS: usize = 12;
/// Rows of a plain run.
const ROWS: usize = 20;

/// The whole page, one line each, not yet escaped.
pub fn page(shown: &Shown<'_>) -> Vec<String> {
    let mut lines = header(shown);
    match &shown.run.content {
        Content::Guarded(run) => {
            lines.extend(processes(run));
            lines.extend(classes(&run.classes));
            lines.extend(blocks(shown, run));
            lines.extend(timeline(shown, run));
        }
        Content::Plain(run) => lines.extend(plain(run)),
    }
    lines
}

/// What is said first, and alone where the page goes to a file.
pub fn header(shown: &Shown<'_>) -> Vec<String> {
    let mut lines = vec![format!("run {}: {}", shown.run.run_id, words::state(shown).join(", "))];
    lines.extend(words::facts(shown).into_iter().map(|(label, text)| format!("  {label:<10} {text}")));
    lines
}

fn section(title: String) -> [String; 2] {
    [String::new(), title]
}

/// The line about what is not shown, if there is any.
fn rest(number: usize, what: &str) -> Option<String> {
    (number > 0)
        .then(|| format!("  ... {} (--html and --json show more)", count(number as u64, &format!("more {what}"))))
}

fn processes(run: &Guarded) -> Vec<String> {
    let all = &run.processes;
    let mut lines: Vec<String> = section(format!("processes: {}", all.total)).into();
    lines.extend(all.list.iter().take(PROCESSES).map(process));
    let beyond = usize::try_from(all.total).unwrap_or(usize::MAX).saturating_sub(all.list.len().min(PROCESSES));
    lines.extend(rest(beyond, "process"));
    if all.list.is_empty() {
        lines.push("  none were recorded".to_owned());
    }
    lines
}

fn process(process: &Process) -> String {
    let indent = "  ".repeat(process.depth.min(LEVELS));
    let programs: Vec<String> = process.execs.iter().map(words::command_line).collect();
    let mut programs = match programs.as_slice() {
        [] => words::program(process),
        _ => programs.join(", then "),
    };
    if process.more_execs > 0 {
        programs.push_str(&format!(", then {}", count(process.more_execs, "more program")));
    }
    let end = process.exit.map_or("end not seen".to_owned(), |exit| {
        format!("{} after {}", words::end(exit.code, exit.signal), span(exit.t_ns.saturating_sub(process.seen_ns)))
    });
    let denied = if process.denied > 0 { format!(", {} denied", process.denied) } else { String::new() };
    let decisions = count(process.decisions, "decision");
    format!("  {indent}[{}] {programs}; pid {}, {end}; {decisions}{denied}", process.proc, process.pid)
}

fn classes(classes: &[Class]) -> Vec<String> {
    let mut lines: Vec<String> = section("actions by class".to_owned()).into();
    if classes.is_empty() {
        lines.push("  nothing was decided".to_owned());
        return lines;
    }
    let used: Vec<Verdict> = Verdict::ALL
        .into_iter()
        .filter(|verdict| classes.iter().any(|class| class.verdicts.of(*verdict) > 0))
        .collect();
    let head = ["tool", "class", "distinct"].into_iter().chain(used.iter().map(|verdict| verdict.as_str()));
    let mut rows: Vec<Vec<String>> = vec![head.map(str::to_owned).collect()];
    rows.extend(classes.iter().take(CLASSES).map(|class| {
        let counts = used.iter().map(|verdict| number(&class.verdicts, *verdict));
        [class.tool_name.clone(), class.endpoint_class.clone(), class.distinct.to_string()]
            .into_iter()
            .chain(counts)
            .collect()
    }));
    lines.extend(table(&rows, 2));
    lines.extend(rest(classes.len().saturating_sub(CLASSES), "class"));
    lines
}

fn number(totals: &Totals, verdict: Verdict) -> String {
    match totals.of(verdict) {
        0 => "-".to_owned(),
        count => count.to_string(),
    }
}

/// Columns of equal width, the first `left` of them aligned to the left.
fn table(rows: &[Vec<String>], left: usize) -> Vec<String> {
    let columns = rows.first().map_or(0, Vec::len);
    // Escaped first: what is shown must line up, not what is meant.
    let shown: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| gait_core::text::printable(cell).into_owned()).collect()).collect();
    let width = |column: usize| shown.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    };
    shown.iter().map(line).collect()
}

fn blocks(shown: &Shown<'_>, run: &Guarded) -> Vec<String> {
    let actions = run.blocks.iter().map(|group| group.actions.len() as u64).sum::<u64>() + run.actions.cut[1];
    let mut lines: Vec<String> = match run.denied {
        0 => section("blocked: nothing".to_owned()).into(),
        denied => {
            let title = format!("blocked: {} on {}", count(denied, "decision"), count(actions, "distinct action"));
            section(title).into()
        }
    };
    for group in run.blocks.iter().take(GROUPS) {
        lines.extend(block_group(shown, run, group));
    }
    lines.extend(rest(run.blocks.len().saturating_sub(GROUPS), "reason"));
    lines
}

fn block_group(shown: &Shown<'_>, run: &Guarded, group: &BlockGroup) -> Vec<String> {
    let mut lines = vec![
        format!(
            "  {}, {} on {}",
            words::group_title(group),
            count(group.count, "time"),
            count(group.actions.len() as u64, "action")
        ),
        format!("    reasons: {}", group.reason_codes.join(", ")),
    ];
    let mut said = Vec::new();
    for action in group.actions.iter().take(ACTIONS).filter_map(|index| run.actions.rows.get(*index)) {
        let errno = action.errno.as_ref().map(|errno| format!(", got {errno}")).unwrap_or_default();
        lines.push(format!(
            "    {}x {} by {}, first at {}{errno}",
            action.count,
            words::action(action),
            words::processes(shown, action, 3),
            span(action.first_ns)
        ));
        for (label, text, copy) in action.remedy.iter().flat_map(words::remedy) {
            // The same for many actions of a group is said once.
            if copy.is_none() && said.contains(&text) {
                continue;
            }
            lines.push(format!("       {label} {text}"));
            lines.extend(copy.map(|copy| format!("         {copy}")));
            said.push(text);
        }
    }
    let more = group.actions.len().saturating_sub(ACTIONS);
    lines.extend(rest(more, "action").map(|line| format!("  {line}")));
    lines
}

fn timeline(shown: &Shown<'_>, run: &Guarded) -> Vec<String> {
    let timeline = &run.timeline;
    let mut lines: Vec<String> = section(format!("timeline: {}", span(run.duration_ns))).into();
    if !timeline.buckets.is_empty() {
        let per = timeline.buckets.len().div_ceil(COLUMNS);
        let columns: Vec<Bucket> = timeline
            .buckets
            .chunks(per)
            .map(|part| Bucket {
                allowed: part.iter().map(|bucket| bucket.allowed).sum(),
                denied: part.iter().map(|bucket| bucket.denied).sum(),
            })
            .collect();
        // One scale for both: what is denied can be compared with what is not.
        let most = columns.iter().map(|column| column.allowed.max(column.denied)).max().unwrap_or(0);
        let of = |pick: fn(&Bucket) -> u64| bars(&columns.iter().map(pick).collect::<Vec<_>>(), most);
        lines.push(format!("  allowed |{}|", of(|bucket| bucket.allowed)));
        lines.push(format!("  denied  |{}|", of(|bucket| bucket.denied)));
        lines.push(format!("  one column is {}", span(timeline.bucket_ns.saturating_mul(per as u64))));
    }
    let events = &timeline.events;
    let tail = events.len().saturating_sub(EVENTS[1]).max(EVENTS[0].min(events.len()));
    let line = |event: &Event| format!("  {:>9}  {}", span(event.t_ns), words::event(shown, run, event));
    lines.extend(events.iter().take(EVENTS[0]).map(line));
    let hidden = tail - EVENTS[0].min(events.len());
    lines.extend(rest(hidden + usize::try_from(timeline.events_cut).unwrap_or(0), "event"));
    lines.extend(events.iter().skip(tail).map(line));
    lines
}

/// A column per number: nothing for none, then eight heights; the highest is that of `most`.
fn bars(numbers: &[u64], most: u64) -> String {
    let bar = |number: &u64| match number {
        0 => ' ',
        number => {
            let height = u128::from(*number) * 7 / u128::from(most.max(1));
            char::from_u32(0x2581 + u32::try_from(height).unwrap_or(7)).unwrap_or('#')
        }
    };
    numbers.iter().map(bar).collect()
}

fn plain(run: &Plain) -> Vec<String> {
    let mut lines: Vec<String> = section("calls by tool".to_owned()).into();
    if run.tools.is_empty() {
        lines.push("  no intents were recorded".to_owned());
    }
    for tool in run.tools.iter().take(CLASSES) {
        let mut words: Vec<String> =
            tool.statuses.iter().map(|(status, number)| format!("{number} {status}")).collect();
        if tool.missing > 0 {
            words.push(format!("{} without result", tool.missing));
        }
        lines.push(format!("  {}: {} ({})", tool.tool_name, tool.intents, words.join(", ")));
    }
    lines.extend(rest(run.tools.len().saturating_sub(CLASSES), "tool"));
    lines.extend(section(format!("calls: {}", run.intents)));
    lines.extend(run.rows.iter().take(ROWS).map(|row| {
        let status = row.status.as_deref().unwrap_or("no result");
        format!("  {} {} {}: {status}", row.intent_id, row.tool_name, row.args)
    }));
    lines.extend(rest(usize::try_from(run.intents).unwrap_or(usize::MAX).saturating_sub(ROWS), "call"));
    lines.extend(section(format!("references: {}", run.references.len() as u64 + run.references_cut)));
    lines.extend(
        run.references
            .iter()
            .take(ROWS)
            .map(|reference| format!("  {} {} {}", reference.ref_id, reference.source_type, reference.source_locator)),
    );
    lines.extend(rest(run.references.len().saturating_sub(ROWS), "reference"));
    lines.extend(section(format!("timeline: {}", count(run.events.len() as u64 + run.events_cut, "event"))));
    lines.extend(
        run.events.iter().take(ROWS).map(|event| format!("  {} {} {}", event.ts, event.event, event.reference)),
    );
    lines.extend(rest(run.events.len().saturating_sub(ROWS), "event"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_as_they_are_shown() {
        let rows = [["tool", "n"], ["a\u{1b}", "1"], ["b", "10"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, 1), ["  tool    n", "  a\\x1B   1", "  b      10"]);
    }

    #[test]
    fn a_bar_is_as_high_as_its_share_of_the_highest() {
        assert_eq!(bars(&[0, 1, 4, 8], 8), " \u{2581}\u{2584}\u{2588}");
        assert_eq!(bars(&[0, 0], 0), "  ");
        assert_eq!(bars(&[u64::MAX, 1], u64::MAX), "\u{2588}\u{2581}");
    }
}
