//! How much memory the values in a JSON text take, told without reading them.
//!
//! A few bytes of text may need a hundred times as many in memory: an object of one member is seven bytes of text, and a
//! node of a tree with room for eleven. So text is weighed before it becomes values, and refused if it is too heavy:
//! records may be large, but not larger still once they are read.

/// What any text may take.
pub const BASE_BYTES: usize = 64 << 20;
/// And this often its own length.
pub const FACTOR: usize = 3;

/// A node of an object's tree, which the first member needs and every sixth of those that come in order.
const NODE: usize = 640;
/// A member beyond the first, at its share of nodes.
const MEMBER: usize = 128;
/// A list with its first elements: room for four.
const LIST: usize = 144;
/// An element beyond the first, in a list that doubles when it is full.
const ELEMENT: usize = 64;
/// A string beyond its characters.
const STRING: usize = 32;

/// A string in a record beyond its characters: only every other one, the value of a member, is kept.
const RECORD_STRING: usize = STRING / 2;

/// Text up to this length is never too heavy: no byte weighs more than half a node.
const NEVER_BYTES: usize = BASE_BYTES / NODE;

/// What text is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Any value, as a tree.
    Tree,
    /// A record with lists of records, each of which takes about this many bytes: no tree but what members of these
    /// have in them.
    Lists {
        /// Bytes of one, besides its texts.
        element_bytes: usize,
    },
}

impl Reading {
    /// A record with lists of `T`. Lists have up to twice the room that they need.
    pub const fn lists_of<T>() -> Self {
        Reading::Lists { element_bytes: 2 * size_of::<T>() }
    }

    /// What an element beyond the first weighs in a list that is this deep, the whole being 1.
    fn element(self, depth: u32) -> usize {
        match self {
            Reading::Lists { element_bytes } if depth == 2 => element_bytes,
            _ => ELEMENT,
        }
    }

    /// Whether an object that is this deep is a record.
    fn is_record(self, depth: u32) -> bool {
        self != Reading::Tree && matches!(depth, 1 | 3)
    }
}

/// Whether reading this text takes more than it may.
pub fn is_too_heavy(text: &[u8], reading: Reading) -> bool {
    if text.len() <= NEVER_BYTES {
        return false;
    }
    let most = BASE_BYTES + FACTOR * text.len();
    weight_up_to(text, reading, most) > most
}

/// About how many bytes the values in `text` take; counted no further than beyond `most`.
fn weight_up_to(text: &[u8], reading: Reading, most: usize) -> usize {
    let (mut weight, mut at, mut depth) = (0usize, 0, 0u32);
    // One bit for each bracket that is open: whether it is an object. No parser goes deeper than that many.
    let mut open = 0u128;
    // Whether a bracket was opened and nothing came yet.
    let mut empty = false;
    while let Some(byte) = text.get(at) {
        at += 1;
        let is_object = open & 1 == 1;
        let is_record = is_object && reading.is_record(depth);
        let first = |is_first: bool| match (is_first, is_object) {
            (false, _) => 0,
            (true, true) if is_record => 0,
            (true, true) => NODE,
            (true, false) => LIST,
        };
        match byte {
            b'{' | b'[' => {
                weight += first(std::mem::replace(&mut empty, true));
                open = open << 1 | u128::from(*byte == b'{');
                depth += 1;
            }
            b'}' | b']' => {
                empty = false;
                open >>= 1;
                depth = depth.saturating_sub(1);
            }
            b',' if is_record => {}
            b',' => weight += if is_object { MEMBER } else { reading.element(depth) },
            b'"' => {
                weight += if is_record { RECORD_STRING } else { STRING } + first(std::mem::take(&mut empty));
                let end = end_of_string(text, at);
                weight += end - at;
                at = end;
            }
            b' ' | b'\t' | b'\n' | b'\r' | b':' => {}
            _ => weight += first(std::mem::take(&mut empty)),
        }
        if weight > most {
            break;
        }
    }
    weight
}

/// Where the string ends whose characters start at `at`, behind its last quote.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let Some(found) = memchr::memchr2(b'"', b'\\', rest) else { return text.len() };
        if rest.get(found) == Some(&b'"') {
            return at + found + 1;
        }
        at += found + 2;
        if at >= text.len() {
            return text.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_too_heavy(text: &[u8]) -> bool {
        super::is_too_heavy(text, Reading::Tree)
    }

    fn weight(text: &str) -> usize {
        weight_up_to(text.as_bytes(), Reading::Tree, usize::MAX)
    }

    #[test]
    fn each_kind_of_value_has_its_weight() {
        assert_eq!(weight("[1,2,3]"), LIST + 2 * ELEMENT);
        assert_eq!(weight("[[],{},[ ]]"), LIST + 2 * ELEMENT);
        assert_eq!(weight(r#"{"a":1,"b":[true]}"#), NODE + MEMBER + LIST + 2 * (STRING + 2));
        assert_eq!(weight(r#"["{[,\"]",1]"#), LIST + ELEMENT + STRING + 7);
        assert_eq!(weight(r#"[{"a":{"b":{}}}]"#), LIST + 2 * NODE + 2 * (STRING + 2));
        // Not JSON: whatever comes out, it comes out.
        for odd in ["\"", "\"\\", "]]]]", "", "{{{{", "\"\\\""] {
            let _ = weight(odd);
        }
        let _ = weight(&"[".repeat(1000));
    }

    #[test]
    fn lists_of_records_weigh_what_their_elements_do() {
        let reading = Reading::Lists { element_bytes: 500 };
        let lists = |text: &str| weight_up_to(text.as_bytes(), reading, usize::MAX);
        assert_eq!(lists(r#"{"receipts":[{"id":"a"},null,{}]}"#), LIST + 2 * 500 + 3 * RECORD_STRING + 9 + 3 + 2);
        // Within a record there are trees.
        assert_eq!(lists(r#"[[{"":{"":1}}]]"#), 2 * LIST + RECORD_STRING + 1 + NODE + STRING + 1);
        let receipts =
            format!("{{\"receipts\":[{}null]}}", r#"{"ref_id":"reference","digest":"0123456789"},"#.repeat(100_000));
        let heavy = |reading| super::is_too_heavy(receipts.as_bytes(), reading);
        assert!(heavy(Reading::Tree) && !heavy(Reading::Lists { element_bytes: 500 }));
    }

    #[test]
    fn what_is_short_or_plain_is_never_too_heavy() {
        let densest = "{\"\":".repeat(NEVER_BYTES / 5);
        assert!(weight(&densest) <= BASE_BYTES * 3 / 10 && !is_too_heavy(densest.as_bytes()));
        // Records as ours are written, ten mebibytes of them.
        let record = r#"{"args":{"limit":5,"query":"item 17"},"intent_id":"intent_0000017","tool_name":"fetch"},"#;
        let many = format!("[{}0]", record.repeat((1 << 20) / record.len()));
        assert!(!is_too_heavy(many.as_bytes()));
        assert!(!is_too_heavy(format!("\"{}\"", "{\"\",".replace('"', "\\\"").repeat(1 << 20)).as_bytes()));
    }
}
