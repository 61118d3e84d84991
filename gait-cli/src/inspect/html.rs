//! The page as one file for a browser: no network, no other files, no code but the one script whose hash stands in
//! its content security policy. Without the script everything can be read; with it the rows can be filtered.
//!
//! Names are hostile: whatever comes from a run goes through [`text`], which leaves nothing that is markup and
//! nothing that is hidden. Attributes are always in double quotes.

mod guarded;
mod plain;

use super::Shown;
use super::words;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gait_core::digest::Sha256Hex;
use gait_core::inspect::Content;
use gait_core::text::printable;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole page.
pub fn page(shown: &Shown<'_>) -> String {
    let (body, more) = match &shown.run.content {
        Content::Guarded(run) => (guarded::body(shown, run), guarded::links(run)),
        Content::Plain(run) => (plain::body(run), plain::links()),
    };
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
        source_of(SCRIPT),
        source_of(STYLE)
    );
    let title = text(&shown.run.run_id);
    let chips: String = chips(shown).iter().map(|(class, words)| format!("<li>{}</li>", chip(class, words))).collect();
    let links: String = more.iter().map(|(id, name)| format!("<a href=\"#{id}\">{name}</a>")).collect();
    let facts: String = words::facts(shown)
        .iter()
        .map(|(label, words)| format!("<dt>{label}</dt><dd>{}</dd>\n", text(words)))
        .collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><h1><small>gait run inspect</small>{title}</h1>\n<ul class=\"chips\">{chips}</ul>\n\
         <nav>{links}</nav>\n</header>\n<main>\n{}{}<section id=\"facts\"><h2>This run</h2>\n<dl>{facts}</dl></section>\n\
         {}</main>\n<footer>Made from the verified runpack <span class=\"mono\">{}</span>. \
         This page is for reading; the evidence is the runpack.</footer>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        body.tiles,
        body.first,
        body.rest,
        text(&shown.verdict.path),
    )
}

/// The parts of a page that depend on the kind of run.
struct Body {
    tiles: String,
    /// What comes before the facts.
    first: String,
    rest: String,
}

/// What a content security policy calls this very text.
fn source_of(code: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256Hex::of(code).as_bytes()))
}

/// Text as text, and nothing hidden in it.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len() + 16);
    for character in printable(raw).chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    out
}

/// The state of a run at a glance: a class of the style sheet and words.
fn chips(shown: &Shown<'_>) -> Vec<(&'static str, String)> {
    let mut chips = Vec::new();
    match &shown.run.content {
        Content::Guarded(run) => {
            chips.push((if run.complete { "ok" } else { "bad" }, words::completeness(run)));
            let ending = words::ending(run);
            chips.push((if ending == "exit 0" { "ok" } else { "warn" }, ending));
            if run.denied > 0 {
                chips.push(("bad", format!("{} denied", run.denied)));
            }
            if !run.enforcement.degraded.is_empty() {
                chips.push(("warn", format!("degraded: {}", run.enforcement.degraded.join(", "))));
            }
        }
        Content::Plain(_) => chips.push(("warn", "not guarded: no journal".to_owned())),
    }
    let (vouched, words) = words::vouched(shown);
    chips.push((if vouched { "ok" } else { "warn" }, words));
    chips
}

fn chip(class: &str, words: &str) -> String {
    format!("<span class=\"chip {class}\">{}</span>", text(words))
}

/// Numbers with what they count; `true` marks what is bad if it is not zero.
fn tiles(tiles: &[(String, &str, bool)]) -> String {
    let tile = |(number, name, bad): &(String, &str, bool)| {
        let class = if *bad && number != "0" { " class=\"bad\"" } else { "" };
        format!("<li{class}><b>{}</b>{name}</li>", text(number))
    };
    format!("<ul class=\"tiles\">{}</ul>\n", tiles.iter().map(tile).collect::<String>())
}

/// A choice of the filter.
fn option(value: &str, name: &str) -> String {
    format!("<option value=\"{}\">{}</option>", text(value), text(name))
}

/// The form of the filter, which only the script shows: verdicts as buttons, then classes and processes. `names` are
/// what verdict and class are called.
fn filter(names: [&str; 2], verdicts: &[(String, String)], classes: &str, processes: Option<&str>) -> String {
    let [verdict_name, class_name] = names;
    let pick = |(value, name): &(String, String)| {
        let checked = if value.is_empty() { " checked" } else { "" };
        format!(
            "<label class=\"pick\"><input type=\"radio\" name=\"verdict\" value=\"{}\"{checked}><span>{}</span></label>",
            text(value),
            text(name)
        )
    };
    let processes = processes.map(|options| {
        format!("<label class=\"field\">process<select name=\"proc\"><option value=\"\">all</option>{options}</select></label>")
    });
    format!(
        "<form id=\"filter\" hidden>\n\
         <label class=\"field text\">text<input type=\"search\" name=\"text\" placeholder=\"any words of a row\" \
         autocomplete=\"off\" spellcheck=\"false\"></label>\n\
         <label class=\"field\">{class_name}<select name=\"cls\"><option value=\"\">all</option>{classes}</select></label>\n{}\
         <fieldset><legend>{verdict_name}</legend>{}</fieldset>\n<button type=\"reset\">Clear</button>\n</form>\n\
         <p id=\"count\" role=\"status\"></p>\n",
        processes.unwrap_or_default(),
        verdicts.iter().map(pick).collect::<String>(),
    )
}

/// What the script shows if no row is left.
const NONE_LEFT: &str = "<p id=\"none\" hidden>No row matches this filter.</p>\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup_and_hides_nothing() {
        assert_eq!(
            text("<img src=x onerror='a(\"b\")'>&\u{202e}\n\u{10fee9}"),
            "&lt;img src=x onerror=&#39;a(&quot;b&quot;)&#39;&gt;&amp;\\u{202e}\\x0A\\xE9"
        );
    }

    #[test]
    fn the_policy_names_the_script_by_its_hash() {
        // `printf '' | openssl dgst -sha256 -binary | base64`
        assert_eq!(source_of(""), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn script_and_style_can_not_end_their_elements() {
        assert!(!SCRIPT.contains("</") && !SCRIPT.contains("<!--"));
        assert!(!STYLE.contains("</") && !STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}
