//! Decision lines without serde: the hot path of a run writes one for each action.
//!
//! A test holds the bytes against the general writer, so that this file can't drift from the
//! contract's canonical form.

use super::line::{Attribution, DecisionLine};
use crate::splice::{push_number, take_number};

/// Appends the canonical line with its newline.
///
/// `line.address` is the text of an IP address, so that nothing in it needs escaping; any other
/// text is written without the characters that would.
pub(super) fn format(out: &mut Vec<u8>, seq: u64, t: u64, line: &DecisionLine) {
    out.push(b'{');
    if let Some(address) = &line.address {
        out.extend_from_slice(b"\"address\":\"");
        out.extend(
            address
                .bytes()
                .filter(|b| matches!(b, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b':' | b'[' | b']' | b'%')),
        );
        out.extend_from_slice(b"\",");
    }
    if let Some(attribution) = line.attribution {
        out.extend_from_slice(b"\"attribution\":\"");
        out.extend_from_slice(match attribution {
            Attribution::SharedFdTable => b"shared_fd_table",
        });
        out.extend_from_slice(b"\",");
    }
    out.extend_from_slice(b"\"def\":");
    push_number(out, line.def);
    if let Some(hold) = line.hold {
        out.extend_from_slice(b",\"hold\":");
        push_number(out, hold);
    }
    out.extend_from_slice(b",\"proc\":");
    push_number(out, line.proc);
    out.extend_from_slice(b",\"seq\":");
    push_number(out, seq);
    out.extend_from_slice(b",\"t\":");
    push_number(out, t);
    if let Some(tid) = line.tid {
        out.extend_from_slice(b",\"tid\":");
        push_number(out, tid);
    }
    out.extend_from_slice(b",\"type\":\"decision\"}\n");
}

/// Reads a line (without its newline) of exactly the common form: `def`, `proc`, `seq`, `t`, maybe `tid`.
///
/// `None` says nothing about the line: the general reader decides.
pub(super) fn parse(line: &[u8]) -> Option<(u64, u64, DecisionLine)> {
    let (def, rest) = take_number(line.strip_prefix(b"{\"def\":")?)?;
    let (proc, rest) = take_number(rest.strip_prefix(b",\"proc\":")?)?;
    let (seq, rest) = take_number(rest.strip_prefix(b",\"seq\":")?)?;
    let (t, rest) = take_number(rest.strip_prefix(b",\"t\":")?)?;
    let (tid, rest) = match rest.strip_prefix(b",\"tid\":") {
        Some(rest) => take_number(rest).map(|(tid, rest)| (Some(tid), rest))?,
        None => (None, rest),
    };
    (rest == b",\"type\":\"decision\"}").then(|| (seq, t, DecisionLine { def, proc, tid, ..DecisionLine::default() }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::splice::MAX_INTEGER;

    proptest! {
        #[test]
        fn the_hand_written_line_is_the_canonical_one(
            numbers in prop::array::uniform4(0u64..=MAX_INTEGER),
            tid in prop::option::of(0u64..=MAX_INTEGER),
            hold in prop::option::of(1u64..1000),
            address in prop::option::of("[0-9a-f:.]{1,39}"),
            shared in any::<bool>(),
        ) {
            let [def, proc, seq, t] = numbers;
            let line = DecisionLine { def, proc, tid, hold, address, attribution: shared.then_some(Attribution::SharedFdTable) };
            let mut value = serde_json::to_value(&line).unwrap();
            value["seq"] = json!(seq);
            value["t"] = json!(t);
            value["type"] = json!("decision");
            // serde_jcs is the independent implementation of RFC 8785.
            let mut expected = serde_jcs::to_vec(&value).unwrap();
            expected.push(b'\n');
            let mut actual = Vec::new();
            format(&mut actual, seq, t, &line);
            prop_assert_eq!(String::from_utf8(actual).unwrap(), String::from_utf8(expected).unwrap());
        }

        #[test]
        fn what_the_quick_reader_accepts_is_what_was_written(
            numbers in prop::array::uniform4(0u64..=MAX_INTEGER),
            tid in prop::option::of(0u64..=MAX_INTEGER),
        ) {
            let [def, proc, seq, t] = numbers;
            let line = DecisionLine { def, proc, tid, ..DecisionLine::default() };
            let mut bytes = Vec::new();
            format(&mut bytes, seq, t, &line);
            bytes.pop();
            prop_assert_eq!(parse(&bytes), Some((seq, t, line)));
        }
    }

    #[test]
    fn the_quick_reader_leaves_all_other_spellings_to_the_general_one() {
        for text in [
            r#"{"def":01,"proc":1,"seq":4,"t":1,"type":"decision"}"#,
            r#"{"def":1,"proc":1,"seq":4,"t":1,"type":"decision"} "#,
            r#"{"def":1, "proc":1,"seq":4,"t":1,"type":"decision"}"#,
            r#"{"def":1,"proc":1,"seq":4,"t":-1,"type":"decision"}"#,
            r#"{"def":1,"proc":1,"seq":4,"t":9007199254740992,"type":"decision"}"#,
            r#"{"def":1,"proc":1,"seq":4,"t":1,"type":"exit"}"#,
            r#"{"def":,"proc":1,"seq":4,"t":1,"type":"decision"}"#,
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
