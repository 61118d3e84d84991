//! The page of a guarded run.

use super::{Body, NONE_LEFT, chip, filter, option, text, tiles};
use crate::inspect::Shown;
use crate::inspect::words::{self, count, span};
use gait_core::inspect::action::{Action, BlockGroup};
use gait_core::inspect::guarded::Guarded;
use gait_core::inspect::process::Process;
use gait_core::inspect::timeline::{FIRST_EVENTS, What};
use gait_core::policy::Verdict;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Groups of blocks that are shown in full; all denials are rows of the table of actions.
const GROUPS: usize = 40;
/// Actions of a group that are shown at once, and behind a click.
const ACTIONS: [usize; 2] = [5, 50];
/// Levels of the process tree that are indented.
const LEVELS: usize = 8;

/// Where the page can be entered.
pub(super) fn links(run: &Guarded) -> Vec<(&'static str, String)> {
    vec![
        ("blocked", format!("Blocked ({})", run.denied)),
        ("facts", "This run".to_owned()),
        ("processes", format!("Processes ({})", run.processes.total)),
        ("classes", "Actions by class".to_owned()),
        ("timeline", "Timeline".to_owned()),
        ("actions", format!("All actions ({})", run.distinct)),
    ]
}

pub(super) fn body(shown: &Shown<'_>, run: &Guarded) -> Body {
    let tiles = tiles(&[
        (run.decisions.to_string(), "decisions", false),
        (run.distinct.to_string(), "distinct actions", false),
        (run.denied.to_string(), "denied", true),
        (run.lost.to_string(), "lost records", true),
        (run.processes.total.to_string(), "processes", false),
        (span(run.duration_ns), "duration", false),
    ]);
    let rest = [processes(run), classes(run), timeline(shown, run), actions(shown, run)].concat();
    Body { tiles, first: blocked(shown, run), rest }
}

fn verdict_chip(verdict: Verdict) -> String {
    let class = match verdict {
        Verdict::Allow => "ok",
        Verdict::DryRun | Verdict::RequireApproval => "warn",
        Verdict::Block => "bad",
    };
    chip(class, verdict.as_str())
}

fn blocked(shown: &Shown<'_>, run: &Guarded) -> String {
    let mut out = String::from("<section id=\"blocked\"><h2>What was blocked</h2>\n");
    if run.denied == 0 {
        out.push_str("<p class=\"dim\">Nothing: every action of this run was allowed.</p>\n");
    }
    for group in run.blocks.iter().take(GROUPS) {
        out.push_str(&block_group(shown, run, group));
    }
    let more = run.blocks.len().saturating_sub(GROUPS);
    if more > 0 {
        let _ = writeln!(
            out,
            "<p class=\"note\">{} not shown here; see all actions.</p>",
            count(more as u64, "more reason")
        );
    }
    if run
        .blocks
        .iter()
        .any(|group| group.actions.iter().any(|at| run.actions.rows.get(*at).is_some_and(|row| row.remedy.is_some())))
    {
        out.push_str(
            "<p class=\"note\">What to add was tried on this run&#39;s own policy: with it, that action is allowed. \
             Whether it should be is for you to say.</p>\n",
        );
    }
    out.push_str("</section>\n");
    out
}

fn block_group(shown: &Shown<'_>, run: &Guarded, group: &BlockGroup) -> String {
    let reasons: String =
        group.reason_codes.iter().map(|code| format!("<li><span class=\"chip\">{}</span></li>", text(code))).collect();
    let items: Vec<String> = group
        .actions
        .iter()
        .take(ACTIONS[1])
        .filter_map(|at| run.actions.rows.get(*at))
        .map(|row| act(shown, row))
        .collect();
    let (at_once, behind) = items.split_at(items.len().min(ACTIONS[0]));
    let mut out = format!(
        "<div class=\"group\"><h3>{} <small>{} on {}</small></h3>\n<ul class=\"chips\">{reasons}</ul>\n<ul class=\"acts\">{}</ul>\n",
        text(&words::group_title(group)),
        count(group.count, "time"),
        count(group.actions.len() as u64, "action"),
        at_once.concat(),
    );
    if !behind.is_empty() {
        let _ = writeln!(
            out,
            "<details><summary>{}</summary><ul class=\"acts\">{}</ul></details>",
            count(behind.len() as u64, "more action"),
            behind.concat()
        );
    }
    let cut = group.actions.len().saturating_sub(ACTIONS[1]);
    if cut > 0 {
        let _ = writeln!(
            out,
            "<p class=\"note\">{} of this kind: see all actions.</p>",
            count(cut as u64, "further action")
        );
    }
    out.push_str("</div>\n");
    out
}

fn act(shown: &Shown<'_>, row: &Action) -> String {
    let errno = row.errno.as_ref().map(|errno| format!(", got {errno}")).unwrap_or_default();
    let by = format!(
        "{} by {}, first at {}{errno}",
        count(row.count, "time"),
        words::processes(shown, row, 4),
        span(row.first_ns)
    );
    let mut out = format!("<li><code>{}</code><p class=\"dim\">{}</p>", text(&words::action(row)), text(&by));
    for (label, words, copy) in row.remedy.iter().flat_map(words::remedy) {
        let _ = write!(out, "<p><span class=\"dim\">{label}</span> {}</p>", text(&words));
        if let Some(copy) = copy {
            let _ = write!(out, "<pre>{}</pre>", text(&copy));
        }
    }
    out.push_str("</li>\n");
    out
}

fn processes(run: &Guarded) -> String {
    let all = &run.processes;
    let mut out = String::from("<section id=\"processes\"><h2>Processes</h2>\n");
    if all.list.is_empty() {
        out.push_str("<p class=\"dim\">None were recorded.</p></section>\n");
        return out;
    }
    out.push_str(
        "<table class=\"tree stack\"><thead><tr><th>process</th><th>pid</th><th>seen</th><th>end</th>\
         <th class=\"num\">decisions</th><th class=\"num\">denied</th></tr></thead><tbody>\n",
    );
    all.list.iter().for_each(|one| out.push_str(&process(one)));
    out.push_str("</tbody></table>\n");
    let cut = all.total.saturating_sub(all.list.len() as u64);
    if cut > 0 {
        let _ = writeln!(
            out,
            "<p class=\"note\">The first {} are shown; {} not.</p>",
            all.list.len(),
            count(cut, "later process")
        );
    }
    out.push_str("</section>\n");
    out
}

fn process(one: &Process) -> String {
    let programs: Vec<String> = match one.execs.as_slice() {
        [] => vec![format!("<span class=\"dim\">{}</span>", text(&words::program(one)))],
        execs => execs.iter().map(|exec| format!("<code>{}</code>", text(&words::command_line(exec)))).collect(),
    };
    let more =
        if one.more_execs > 0 { format!(", then {}", count(one.more_execs, "more program")) } else { String::new() };
    let end = one.exit.map_or("<span class=\"dim\">not seen</span>".to_owned(), |exit| {
        let class = if (exit.code, exit.signal) == (0, 0) { "" } else { "warn" };
        format!(
            "{} <span class=\"dim\">after {}</span>",
            chip(class, &words::end(exit.code, exit.signal)),
            span(exit.t_ns.saturating_sub(one.seen_ns))
        )
    });
    let denied = if one.denied > 0 { one.denied.to_string() } else { String::new() };
    format!(
        "<tr><td class=\"d{}\"><a href=\"#actions\" data-pick=\"proc\" data-value=\"{}\">[{}]</a> {}{more}</td>\
         <td data-l=\"pid\">{}</td><td class=\"time\" data-l=\"seen\">{}</td><td data-l=\"end\">{end}</td>\
         <td class=\"num\" data-l=\"decisions\">{}</td><td class=\"num\" data-l=\"denied\">{denied}</td></tr>\n",
        one.depth.min(LEVELS),
        one.proc,
        one.proc,
        programs.join(", then "),
        one.pid,
        span(one.seen_ns),
        one.decisions,
    )
}

fn classes(run: &Guarded) -> String {
    let mut out = String::from("<section id=\"classes\"><h2>Actions by class</h2>\n");
    if run.classes.is_empty() {
        out.push_str("<p class=\"dim\">Nothing was decided.</p></section>\n");
        return out;
    }
    let used: Vec<Verdict> = Verdict::ALL
        .into_iter()
        .filter(|verdict| run.classes.iter().any(|class| class.verdicts.of(*verdict) > 0))
        .collect();
    let heads: String = used.iter().map(|verdict| format!("<th class=\"num\">{verdict}</th>")).collect();
    let _ = writeln!(
        out,
        "<div class=\"wide\"><table><thead><tr><th>tool</th><th>endpoint class</th><th class=\"num\">distinct</th>{heads}</tr></thead><tbody>"
    );
    for class in &run.classes {
        let cells: String = used
            .iter()
            .map(|verdict| match class.verdicts.of(*verdict) {
                0 => "<td class=\"num dim\">&ndash;</td>".to_owned(),
                number => format!("<td class=\"num\">{number}</td>"),
            })
            .collect();
        let _ = writeln!(
            out,
            "<tr><td class=\"name tool\"><a href=\"#actions\" data-pick=\"cls\" data-value=\"{0}\">{0}</a></td>\
             <td class=\"name\">{1}</td><td class=\"num\">{2}</td>{cells}</tr>",
            text(&class.tool_name),
            text(&class.endpoint_class),
            class.distinct
        );
    }
    out.push_str("</tbody></table></div></section>\n");
    out
}

fn timeline(shown: &Shown<'_>, run: &Guarded) -> String {
    let line = &run.timeline;
    let mut out = String::from("<section id=\"timeline\"><h2>Timeline</h2>\n");
    if !line.buckets.is_empty() {
        out.push_str(&activity(run));
    }
    if line.events.is_empty() {
        out.push_str("<p class=\"dim\">No events were recorded.</p>\n");
    } else {
        let _ = writeln!(
            out,
            "<details open><summary>{}: programs, ends, first denials</summary><table class=\"stack\"><tbody>",
            count(line.events.len() as u64 + line.events_cut, "event")
        );
        for (at, event) in line.events.iter().enumerate() {
            if at == FIRST_EVENTS && line.events_cut > 0 {
                let cut = count(line.events_cut, "event");
                let _ = writeln!(out, "<tr><td></td><td class=\"dim\">{cut} left out</td></tr>");
            }
            let mark = match event.what {
                What::Denied { .. } => "<span class=\"chip bad\">denied</span> ",
                What::Lost { .. } | What::Disagreement => "<span class=\"chip bad\">record</span> ",
                _ => "",
            };
            let words = text(&words::event(shown, run, event));
            let time = span(event.t_ns);
            let _ = writeln!(out, "<tr><td class=\"time\">{time}</td><td class=\"name\">{mark}{words}</td></tr>");
        }
        out.push_str("</tbody></table></details>\n");
    }
    out.push_str("</section>\n");
    out
}

/// Stacked bars, denied at the foot, as high as their share of the busiest span.
fn activity(run: &Guarded) -> String {
    const HEIGHT: u64 = 90;
    let buckets = &run.timeline.buckets;
    let most = buckets.iter().map(|bucket| bucket.allowed + bucket.denied).max().unwrap_or(0).max(1);
    let high = |number: u64| match number {
        0 => 0,
        // What happened at all is seen.
        _ => u64::try_from(u128::from(number) * u128::from(HEIGHT) / u128::from(most)).unwrap_or(HEIGHT).max(2),
    };
    let mut bars = String::new();
    for (at, bucket) in buckets.iter().enumerate() {
        let (denied, allowed) = (high(bucket.denied), high(bucket.allowed));
        let foot = HEIGHT.saturating_sub(denied);
        let top = foot.saturating_sub(allowed);
        let x = at * 10 + 1;
        if allowed > 0 {
            let _ = write!(bars, "<rect class=\"a\" x=\"{x}\" y=\"{top}\" width=\"8\" height=\"{}\"/>", foot - top);
        }
        if denied > 0 {
            let _ = write!(bars, "<rect class=\"d\" x=\"{x}\" y=\"{foot}\" width=\"8\" height=\"{denied}\"/>");
        }
    }
    let end = run.timeline.bucket_ns.saturating_mul(buckets.len() as u64);
    format!(
        "<svg viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"decisions over time\">{bars}</svg>\n\
         <div class=\"axis\"><span>0</span><span><span class=\"key\">allowed</span> &nbsp; <span class=\"key den\">denied</span> \
         &nbsp; up to {} in {}</span><span>{}</span></div>\n",
        buckets.len() * 10,
        count(most, "decision"),
        span(run.timeline.bucket_ns),
        span(end),
    )
}

fn actions(shown: &Shown<'_>, run: &Guarded) -> String {
    let mut out = String::from("<section id=\"actions\"><h2>All actions</h2>\n");
    let rows: Vec<&Action> = run.actions.rows.iter().filter(|row| row.count > 0).collect();
    if rows.is_empty() {
        out.push_str("<p class=\"dim\">Nothing was decided.</p></section>\n");
        return out;
    }
    let tools: BTreeSet<&str> = rows.iter().map(|row| row.tool_name.as_str()).collect();
    let tools: String = tools.iter().map(|tool| option(tool, tool)).collect();
    let names: String = run
        .processes
        .list
        .iter()
        .map(|one| option(&one.proc.to_string(), &format!("[{}] {} (pid {})", one.proc, words::program(one), one.pid)))
        .collect();
    out.push_str(&filter(["verdict", "class"], &choices(&rows), &tools, Some(&names)));
    out.push_str(
        "<table id=\"rows\" class=\"stack\"><thead><tr><th>verdict</th><th>action</th><th>target</th><th>rule and reasons</th>\
         <th>processes</th><th class=\"num\">times</th><th class=\"num\">first</th></tr></thead><tbody>\n",
    );
    rows.iter().for_each(|row| out.push_str(&action(shown, row)));
    out.push_str("</tbody></table>\n");
    out.push_str(NONE_LEFT);
    let [allowed, denied] = run.actions.cut;
    if allowed + denied > 0 {
        let _ = writeln!(
            out,
            "<p class=\"note\">The first {} distinct decisions are shown; {allowed} allowed and {denied} denied ones are not.</p>",
            rows.len()
        );
    }
    if rows.iter().any(|row| row.more_procs) {
        out.push_str(
            "<p class=\"note\">Actions of very many processes are shown for each process that is chosen.</p>\n",
        );
    }
    out.push_str("</section>\n");
    out
}

/// The verdicts that there are, and both outcomes, with their numbers of rows.
fn choices(rows: &[&Action]) -> Vec<(String, String)> {
    let denied = rows.iter().filter(|row| row.denied()).count();
    let mut choices = vec![
        (String::new(), format!("all {}", rows.len())),
        ("denied".to_owned(), format!("denied {denied}")),
        ("allowed".to_owned(), format!("allowed {}", rows.len() - denied)),
    ];
    for verdict in Verdict::ALL {
        let number = rows.iter().filter(|row| row.verdict == verdict).count();
        // `allow` and `block` alone say nothing that the outcome does not.
        if number > 0
            && (verdict != Verdict::Allow || number != rows.len() - denied)
            && (verdict != Verdict::Block || number != denied)
        {
            choices.push((verdict.as_str().to_owned(), format!("{verdict} {number}")));
        }
    }
    choices
}

fn action(shown: &Shown<'_>, row: &Action) -> String {
    let procs = if row.more_procs {
        "*".to_owned()
    } else {
        row.procs.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
    };
    let rule = row.matched_rule.as_ref().map(|rule| format!("{} ", text(rule))).unwrap_or_default();
    // An allow of a rule needs no more words.
    let told = |code: &&String| row.denied() || !code.starts_with("matched_rule_");
    let reasons: Vec<String> = row.reason_codes.iter().filter(told).map(|code| text(code)).collect();
    let errno =
        row.errno.as_ref().map(|errno| format!(" <span class=\"dim\">{}</span>", text(errno))).unwrap_or_default();
    let detail = if row.detail.is_empty() {
        String::new()
    } else {
        format!(" <span class=\"dim\">{}</span>", text(&row.detail))
    };
    format!(
        "<tr data-verdict=\"{}\" data-enforced=\"{}\" data-cls=\"{}\" data-procs=\"{procs}\"><td>{}{errno}</td>\
         <td class=\"tool\">{} <span class=\"dim\">{}</span></td><td class=\"name\">{}{detail}</td>\
         <td class=\"why\">{rule}<span class=\"dim\">{}</span></td><td data-l=\"by\">{}</td>\
         <td class=\"num\" data-l=\"times\">{}</td><td class=\"num time\" data-l=\"first at\">{}</td></tr>\n",
        row.verdict,
        if row.denied() { "denied" } else { "allowed" },
        text(&row.tool_name),
        verdict_chip(row.verdict),
        text(&row.tool_name),
        text(&row.operation),
        text(&row.value),
        reasons.join(", "),
        text(&words::processes(shown, row, 3)),
        row.count,
        span(row.first_ns),
    )
}
