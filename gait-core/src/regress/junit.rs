//! A result as JUnit XML, byte for byte as existing readers got it (contract, artifacts 5.4).
//!
//! Written by hand: passing cases are an open and a close tag, which no XML writer at hand produces.

use super::grade::{GradeStatus, Graded};
use super::run::RegressResult;
use std::fmt::Write;

/// The report of `result`.
pub fn junit(result: &RegressResult) -> String {
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"0\" time=\"0\"",
        result.graders.len(),
        result.failed()
    );
    let suite = escape(&format!("gait.regress.{}", result.fixture_set));
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(xml, "<testsuites {counts}>");
    let _ = writeln!(xml, "  <testsuite name=\"{suite}\" {counts}>");
    for graded in &result.graders {
        case(&mut xml, graded);
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn case(xml: &mut String, graded: &Graded) {
    let (class, name) = graded.name.split_once('/').unwrap_or(("", &graded.name));
    let _ = write!(xml, "    <testcase name=\"{}\" classname=\"{}\" time=\"0\">", escape(name), escape(class));
    if graded.status == GradeStatus::Fail {
        let reasons = match graded.reason_codes.join(",") {
            none if none.is_empty() => "failed".to_string(),
            reasons => escape(&reasons),
        };
        let _ =
            write!(xml, "\n      <failure message=\"{reasons}\" type=\"regress_failure\">{reasons}</failure>\n    ");
    }
    xml.push_str("</testcase>\n");
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\t' => escaped.push_str("&#x9;"),
            '\n' => escaped.push_str("&#xA;"),
            '\r' => escaped.push_str("&#xD;"),
            // Not a character of XML 1.0.
            '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runpack::record::Object;
    use crate::time::Timestamp;

    #[test]
    fn the_report_of_the_contract_is_written() {
        let graded = |name: &str, reasons: &[&str]| Graded {
            name: name.into(),
            status: if reasons.is_empty() { GradeStatus::Pass } else { GradeStatus::Fail },
            reason_codes: reasons.iter().map(ToString::to_string).collect(),
            details: Object::new(),
        };
        let result = RegressResult {
            schema_id: "",
            schema_version: "",
            created_at: Timestamp::ZERO,
            producer_version: "",
            fixture_set: "default".into(),
            status: GradeStatus::Fail,
            graders: vec![
                graded("run_demo/diff", &["unexpected_diff"]),
                graded("run_demo/expected_exit_code", &[]),
                graded("run_demo/schema_validation", &[]),
            ],
        };
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="3" failures="1" errors="0" skipped="0" time="0">
  <testsuite name="gait.regress.default" tests="3" failures="1" errors="0" skipped="0" time="0">
    <testcase name="diff" classname="run_demo" time="0">
      <failure message="unexpected_diff" type="regress_failure">unexpected_diff</failure>
    </testcase>
    <testcase name="expected_exit_code" classname="run_demo" time="0"></testcase>
    <testcase name="schema_validation" classname="run_demo" time="0"></testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(junit(&result), expected);
    }

    #[test]
    fn everything_that_xml_reads_differently_is_escaped() {
        assert_eq!(escape("\"'&<>\t\n\r\u{1}é"), "&#34;&#39;&amp;&lt;&gt;&#x9;&#xA;&#xD;\u{fffd}é");
    }
}
