use proptest::prelude::*;

use super::*;
use crate::policy::{Policy, Strictness};

#[track_caller]
fn lays_out(text: &str, expected: &str) {
    let laid_out = format(text).unwrap();
    assert_eq!(laid_out, expected, "\n{laid_out}");
    assert_eq!(format(&laid_out).unwrap(), laid_out);
}

#[test]
fn levels_lists_and_gaps_have_one_form_and_comments_stay_with_theirs() {
    lays_out(
        "\n# head\n\n\n\ndefault_verdict:   allow   # why\nrules:\n# of a\n- name:  a\n  # deep\n  effect: block\n  match:\n       tool_names: [x ,y,  \"z, z\"]\n       # tail of match\n  # tail of a\n\n# of b\n-   name: b\n    effect: {}\n    reason_codes:\n    - one\n    - two   \n\n\n# last",
        "# head\n\ndefault_verdict: allow   # why\nrules:\n  # of a\n  - name: a\n    # deep\n    effect: block\n    match:\n      tool_names: [x, y, \"z, z\"]\n      # tail of match\n    # tail of a\n\n  # of b\n  - name: b\n    effect: {}\n    reason_codes:\n      - one\n      - two\n\n# last\n",
    );
}

#[test]
fn flow_collections_keep_their_lines() {
    lays_out(
        "rules: [ {name: a,effect: block} ,\n  # second\n       {name: b, match: { tool_names: [x\n ,y ] } } # end\n]\n",
        "rules: [{name: a, effect: block},\n  # second\n  {name: b, match: {tool_names: [x\n        , y]}} # end\n]\n",
    );
}

#[test]
fn anchors_aliases_tags_and_merge_keys_stay() {
    lays_out(
        "rules:\n- &a\n  name: !!str   x\n  match:   &m  {a: [*a1]}\n- {<<: *a , name: b}\n"
            .replace("*a1", "1")
            .as_str(),
        "rules:\n  - &a\n    name: !!str   x\n    match: &m  {a: [1]}\n  - {<<: *a, name: b}\n",
    );
}

#[test]
fn scalars_of_several_lines_keep_what_they_say() {
    lays_out(
        "a: |\n      one\n\n        two   \n      three\nb: \"x\n  y\n\n       z\"\nc: plain\n        words\nd: >-2\n    kept\ne: 1\n",
        "a: |\n  one\n\n    two   \n  three\nb: \"x\n  y\n\n  z\"\nc: plain\n  words\nd: >-2\n    kept\ne: 1\n",
    );
}

#[test]
fn line_ends_are_one_character_and_markers_stay() {
    lays_out("--- # start\r\ndefault_verdict: allow\r\n...\r\n", "--- # start\ndefault_verdict: allow\n...\n");
    lays_out("", "");
    lays_out("# only\n\n\n", "# only\n");
}

#[test]
fn what_has_more_than_one_document_is_left_alone() {
    let error = format("a: 1\n---\nb: 2\n").unwrap_err();
    assert_eq!(error, LayoutError::Documents { at: Position { line: 2, column: 1 } });
    assert!(matches!(format("a: [").unwrap_err(), LayoutError::Yaml(_)));
    assert!(matches!(format("\u{feff}a: 1").unwrap_err(), LayoutError::Yaml(_)));
}

#[test]
fn the_shipped_policies_are_laid_out() {
    for file in ["allow-all", "default", "deny-network", "dev", "read-only"] {
        let path = format!("{}/../policies/{file}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(format(&text).unwrap(), text, "{file}");
    }
}

/// Policies as bad layout as people manage to write it.
fn any_layout() -> impl Strategy<Value = String> {
    let blanks = || prop::sample::select(vec!["", " ", "   "]);
    let noise = || prop::sample::select(vec!["", "", "\n", "\n\n\n", "# note\n", "      # deep\n", "  # two\n\n"]);
    let list = (blanks(), blanks(), prop::collection::vec("[a-z*/]{1,4}|\"[a-z ,#]{0,5}\"", 0..3), any::<bool>());
    let list = list.prop_map(|(before, between, words, is_flow)| {
        let quoted = words.iter().map(|word| if word.contains('*') { format!("'{word}'") } else { word.clone() });
        let quoted: Vec<String> = quoted.collect();
        match is_flow || quoted.is_empty() {
            true => format!("{before} [{between}{}{between}]\n", quoted.join(&format!("{between},{before}"))),
            false => {
                quoted.iter().fold("\n".to_owned(), |lines, word| lines + "        -" + " " + before + word + "\n")
            }
        }
    });
    let rule = (blanks(), noise(), list.clone(), noise(), list, blanks(), noise());
    let rule = rule.prop_map(|(dash, above, tools, inside, codes, gap, below)| {
        let indent = " ".repeat(2 + dash.len());
        format!(
            "{above}- {dash}name: {gap}r{gap}# c\n{indent}effect:{gap} allow\n{inside}{indent}match:\n{indent}   tool_names:{tools}{indent}reason_codes:{codes}{below}"
        )
    });
    (noise(), prop::collection::vec(rule, 1..4), blanks())
        .prop_map(|(head, rules, gap)| format!("{head}default_verdict: {gap}block\nrules:\n{}", rules.concat()))
}

proptest! {
    #[test]
    fn layout_is_stable_and_changes_neither_digest_nor_comments(text in any_layout()) {
        let before = Policy::parse(&text, Strictness::Strict).unwrap();
        let laid_out = format(&text).unwrap();
        let after = Policy::parse(&laid_out, Strictness::Strict).unwrap();
        prop_assert_eq!(before.digest().unwrap(), after.digest().unwrap());
        prop_assert_eq!(format(&laid_out).unwrap(), laid_out.clone());
        prop_assert_eq!(text.matches('#').count(), laid_out.matches('#').count());
        let is_plain = |line: &str| !line.ends_with([' ', '\t']);
        prop_assert!(laid_out.lines().all(is_plain) && !laid_out.contains("\n\n\n") && laid_out.ends_with('\n'));
    }

    #[test]
    fn no_text_at_all_breaks_the_layout(text in "[a-z:{}\\[\\]&*<!|>'\"# \n-]{0,40}") {
        if let Ok(laid_out) = format(&text) {
            prop_assert_eq!(format(&laid_out).unwrap(), laid_out);
        }
    }
}
