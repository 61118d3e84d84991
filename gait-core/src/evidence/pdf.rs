//! `summary.pdf`: one page of lines, always the same bytes (contract, control 14.1).
//!
//! The bytes are part of the contract, so no crate draws them: five objects, one font, no compression.

use std::fmt::Write as _;

/// Evidence files that are listed by name.
const LISTED: usize = 8;

/// What the page says.
#[derive(Clone, Debug)]
pub struct Summary<'a> {
    /// The run.
    pub run_id: &'a str,
    /// The case; may be empty.
    pub case_id: &'a str,
    /// The template.
    pub template: &'a str,
    /// When the run was, as RFC 3339.
    pub generated: &'a str,
    /// Paths of the evidence, sorted, without this page and the indexes.
    pub paths: &'a [&'a str],
}

impl Summary<'_> {
    /// The page.
    pub fn render(&self) -> Vec<u8> {
        let stream = self.stream();
        let objects = [
            "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
            "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
                .to_owned(),
            format!("<< /Length {} >>\nstream\n{stream}\nendstream", stream.len()),
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        ];
        let mut page = "%PDF-1.4\n".to_owned();
        let mut table = "0000000000 65535 f \n".to_owned();
        for (number, object) in (1..).zip(&objects) {
            // Writing to a string can't fail.
            let _ = writeln!(table, "{:010} 00000 n ", page.len());
            let _ = write!(page, "{number} 0 obj\n{object}\nendobj\n");
        }
        let start = page.len();
        let count = objects.len() + 1;
        let _ = write!(
            page,
            "xref\n0 {count}\n{table}trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
        );
        page.into_bytes()
    }

    fn stream(&self) -> String {
        let mut lines = vec![
            "Gait Evidence Pack Summary".to_owned(),
            format!("Run ID: {}", self.run_id),
            format!("Case ID: {}", self.case_id),
            format!("Template: {}", self.template),
            format!("Generated: {}", self.generated),
            format!("Evidence Files: {}", self.paths.len()),
        ];
        lines.extend(self.paths.iter().take(LISTED).map(|path| format!("- {path}")));
        let mut stream = "BT\n/F1 10 Tf\n50 760 Td\n".to_owned();
        for (number, line) in lines.iter().enumerate() {
            if number > 0 {
                stream.push_str("0 -14 Td\n");
            }
            let _ = writeln!(stream, "({}) Tj", escaped(line));
        }
        stream.push_str("ET");
        stream
    }
}

fn escaped(line: &str) -> String {
    line.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_lengths_are_those_of_the_bytes() {
        let paths: Vec<String> = (0..12).map(|number| format!("f{number}.json")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let summary = Summary { run_id: "run(1)\\", case_id: "é", template: "soc2", generated: "t", paths: &paths };
        let page = String::from_utf8(summary.render()).unwrap();
        assert!(page.contains("(Run ID: run\\(1\\)\\\\) Tj") && page.contains("(Evidence Files: 12) Tj"));
        assert!(page.contains("(- f7.json) Tj") && !page.contains("f8.json"));
        let start: usize = page.split("startxref\n").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        assert!(page[start..].starts_with("xref\n0 6\n"));
        for (number, line) in page[start..].lines().skip(3).take(5).enumerate() {
            let offset: usize = line[..10].parse().unwrap();
            assert!(page[offset..].starts_with(&format!("{} 0 obj\n", number + 1)), "{line}");
        }
        let length: usize = page.split("/Length ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let stream = page.split("stream\n").nth(1).unwrap();
        assert!(stream.ends_with("ET\nend") && stream.len() - "\nend".len() == length);
    }
}
