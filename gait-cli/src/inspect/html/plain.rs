//! The page of a run without a journal.

use super::{Body, NONE_LEFT, chip, filter, option, text, tiles};
use crate::inspect::words::{count, span};
use gait_core::inspect::plain::{Plain, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What stands for the status of an intent without a result.
const MISSING: &str = "no result";
/// Kinds of status that get a button of their own.
const STATUS_BUTTONS: usize = 6;

/// Where the page can be entered.
pub(super) fn links() -> Vec<(&'static str, String)> {
    [
        ("facts", "This run"),
        ("tools", "Calls by tool"),
        ("references", "References"),
        ("timeline", "Timeline"),
        ("actions", "All calls"),
    ]
    .map(|(id, name)| (id, name.to_owned()))
    .into()
}

pub(super) fn body(run: &Plain) -> Body {
    let mut numbers = vec![
        (run.intents.to_string(), "intents", false),
        (run.results.to_string(), "results", false),
        (run.missing.to_string(), "without result", true),
        (run.tools.len().to_string(), "tools", false),
        ((run.references.len() as u64 + run.references_cut).to_string(), "references", false),
    ];
    numbers.extend(run.duration_ns.map(|ns| (span(ns), "by its timeline", false)));
    Body {
        tiles: tiles(&numbers),
        first: String::new(),
        rest: [tools(run), references(run), timeline(run), calls(run)].concat(),
    }
}

/// A section with a table, or with what is said when there are no rows.
fn section(id: &str, title: &str, heads: &[&str], rows: &[String], cut: u64, empty: &str) -> String {
    let mut out = format!("<section id=\"{id}\"><h2>{title}</h2>\n");
    if rows.is_empty() {
        let _ = writeln!(out, "<p class=\"dim\">{empty}</p></section>");
        return out;
    }
    let heads: String = heads.iter().map(|head| format!("<th>{head}</th>")).collect();
    let _ =
        writeln!(out, "<table class=\"stack\"><thead><tr>{heads}</tr></thead><tbody>{}</tbody></table>", rows.concat());
    if cut > 0 {
        let _ = writeln!(out, "<p class=\"note\">The first {} are shown; {cut} more are not.</p>", rows.len());
    }
    out.push_str("</section>\n");
    out
}

fn tools(run: &Plain) -> String {
    let row = |tool: &gait_core::inspect::plain::ToolCount| {
        let mut words: Vec<String> =
            tool.statuses.iter().map(|(status, number)| format!("{number} {status}")).collect();
        if tool.missing > 0 {
            words.push(format!("{} without result", tool.missing));
        }
        format!(
            "<tr><td class=\"name\"><a href=\"#actions\" data-pick=\"cls\" data-value=\"{0}\">{0}</a></td><td>{1}</td><td>{2}</td></tr>\n",
            text(&tool.tool_name),
            count(tool.intents, "call"),
            text(&words.join(", "))
        )
    };
    let rows: Vec<String> = run.tools.iter().map(row).collect();
    section("tools", "Calls by tool", &["tool", "calls", "results"], &rows, 0, "No intents were recorded.")
}

fn references(run: &Plain) -> String {
    let row = |reference: &gait_core::inspect::plain::Reference| {
        format!(
            "<tr><td class=\"name\">{}</td><td>{}</td><td class=\"name\">{}</td><td>{}</td></tr>\n",
            text(&reference.ref_id),
            text(&reference.source_type),
            text(&reference.source_locator),
            text(&reference.sensitivity_label)
        )
    };
    let rows: Vec<String> = run.references.iter().map(row).collect();
    let heads = ["reference", "kind", "where", "sensitivity"];
    section("references", "References", &heads, &rows, run.references_cut, "Nothing was looked up.")
}

fn timeline(run: &Plain) -> String {
    let row = |event: &gait_core::inspect::plain::Happened| {
        format!(
            "<tr><td class=\"time\">{}</td><td>{}</td><td class=\"name\">{}</td></tr>\n",
            text(&event.ts),
            text(&event.event),
            text(&event.reference)
        )
    };
    let rows: Vec<String> = run.events.iter().map(row).collect();
    section("timeline", "Timeline", &["time", "event", "about"], &rows, run.events_cut, "No timeline was recorded.")
}

fn calls(run: &Plain) -> String {
    let mut out = String::from("<section id=\"actions\"><h2>All calls</h2>\n");
    if run.rows.is_empty() {
        out.push_str("<p class=\"dim\">No intents were recorded.</p></section>\n");
        return out;
    }
    let mut statuses: BTreeMap<&str, usize> = BTreeMap::new();
    run.rows.iter().for_each(|row| *statuses.entry(status(row)).or_default() += 1);
    let buttons = statuses
        .iter()
        .take(STATUS_BUTTONS)
        .map(|(status, number)| ((*status).to_owned(), format!("{status} {number}")));
    let choices: Vec<(String, String)> =
        std::iter::once((String::new(), format!("all {}", run.rows.len()))).chain(buttons).collect();
    let names: BTreeSet<&str> = run.rows.iter().map(|row| row.tool_name.as_str()).collect();
    let names: String = names.iter().map(|name| option(name, name)).collect();
    out.push_str(&filter(["status", "tool"], &choices, &names, None));
    out.push_str(
        "<table id=\"rows\" class=\"stack\"><thead><tr><th>status</th><th>tool</th><th>arguments</th><th>result</th>\
         <th>intent</th></tr></thead><tbody>\n",
    );
    for row in &run.rows {
        let class = match row.status.as_deref() {
            Some("ok") => "ok",
            Some("error") => "bad",
            _ => "warn",
        };
        let _ = writeln!(
            out,
            "<tr data-verdict=\"{}\" data-cls=\"{}\"><td>{}</td><td class=\"tool\">{}</td><td class=\"name\">{}</td>\
             <td class=\"name\">{}</td><td class=\"name\">{}</td></tr>",
            text(status(row)),
            text(&row.tool_name),
            chip(class, status(row)),
            text(&row.tool_name),
            text(&row.args),
            text(&row.result),
            text(&row.intent_id)
        );
    }
    out.push_str("</tbody></table>\n");
    out.push_str(NONE_LEFT);
    if run.rows_cut > 0 {
        let _ = writeln!(
            out,
            "<p class=\"note\">The first {} are shown; {} more are not.</p>",
            run.rows.len(),
            run.rows_cut
        );
    }
    out.push_str("</section>\n");
    out
}

fn status(row: &Row) -> &str {
    row.status.as_deref().unwrap_or(MISSING)
}
