//! A policy of many patterns that denies nothing of what is measured.

use std::fmt::Write as _;

/// How many.
pub const PATTERNS: usize = 1_000;

/// A third each: a folder in a known place, a folder in one of many places, a name at any depth.
pub fn patterns() -> Vec<String> {
    let one = |number: usize| match number % 3 {
        0 => format!("/srv/project-{number:04}/**"),
        1 => format!("/home/*/private-{number:04}/**"),
        _ => format!("**/secret-{number:04}.key"),
    };
    (1..=PATTERNS).map(one).collect()
}

/// Everything is allowed but files that one of `patterns` names.
pub fn of(patterns: &[String]) -> String {
    let mut text = "schema_id: gait.gate.policy\nschema_version: 1.0.0\ndefault_verdict: allow\n".to_owned();
    if !patterns.is_empty() {
        text += "rules:\n  - name: files\n    effect: allow\n";
        text += "    match: { endpoint_classes: [fs.read, fs.write, fs.delete, proc.exec] }\n";
        text += "    endpoint:\n      path_denylist:\n";
    }
    for pattern in patterns {
        // Writing to a text can't fail.
        let _ = writeln!(text, "        - '{pattern}'");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_a_thousand_patterns_of_three_kinds_and_no_two_alike() {
        let patterns = patterns();
        assert_eq!(patterns.iter().collect::<BTreeSet<_>>().len(), PATTERNS);
        for (start, least) in [("/srv/", 333), ("/home/*/", 333), ("**/", 333)] {
            assert!(patterns.iter().filter(|pattern| pattern.starts_with(start)).count() >= least, "{start}");
        }
    }

    #[test]
    fn the_policy_lists_each_pattern_once_and_one_without_has_no_rule() {
        let text = of(&patterns());
        assert_eq!(text.matches("        - '").count(), PATTERNS);
        assert!(text.contains("        - '/srv/project-0003/**'\n"));
        assert!(!of(&[]).contains("rules"));
    }
}
