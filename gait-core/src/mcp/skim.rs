//! The `id` of a message that is too long to be read: found in passing, in a fixed amount of memory.

/// Longest id that is kept, in bytes as written.
const LONGEST_ID: usize = 256;
/// Names of members of interest are no longer than this.
const LONGEST_NAME: usize = 8;

/// Looks at the bytes of one message as they pass.
///
/// Only names and ids that are written without escapes are found, because this only serves to tell whom an error is
/// for. Nothing is decided by it.
#[derive(Debug, Default)]
pub struct Skim {
    depth: u64,
    in_string: bool,
    is_escaped: bool,
    /// Between the `:` and the `,` of a member of the outermost object.
    in_value: bool,
    name: Vec<u8>,
    id: Vec<u8>,
    ids: u32,
    has_method: bool,
}

/// What was found in a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The bytes of its one `id`, if it has exactly one that is short enough.
    pub id: Option<Vec<u8>>,
    /// Whether it is a request or a notification.
    pub has_method: bool,
}

impl Skim {
    /// Takes note of more bytes of the message.
    pub fn pass(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.byte(byte));
    }

    /// What the message is, now that all of it has passed.
    pub fn found(self) -> Found {
        let is_whole = self.ids == 1 && (1..=LONGEST_ID).contains(&self.id.len());
        Found { id: is_whole.then_some(self.id), has_method: self.has_method }
    }

    fn byte(&mut self, byte: u8) {
        if self.in_string {
            return self.string_byte(byte);
        }
        match byte {
            b'"' => {
                self.in_string = true;
                if self.depth == 1 && !self.in_value {
                    self.name.clear();
                }
                self.keep(byte);
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.in_value &= self.depth > 0;
            }
            b':' if self.depth == 1 => {
                self.in_value = true;
                self.ids += u32::from(self.name == b"id");
                self.has_method |= self.name == b"method";
            }
            b',' if self.depth == 1 => self.in_value = false,
            b' ' | b'\t' | b'\r' => {}
            _ => self.keep(byte),
        }
    }

    fn string_byte(&mut self, byte: u8) {
        let is_end = byte == b'"' && !self.is_escaped;
        self.is_escaped = byte == b'\\' && !self.is_escaped;
        if self.depth == 1 && !self.in_value && !is_end && self.name.len() <= LONGEST_NAME {
            self.name.push(byte);
        }
        self.keep(byte);
        self.in_string = !is_end;
    }

    /// Keeps a byte of the value of `id`.
    fn keep(&mut self, byte: u8) {
        if self.depth == 1 && self.in_value && self.name == b"id" && self.ids == 1 && self.id.len() <= LONGEST_ID {
            self.id.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> (Option<String>, bool) {
        let mut skim = Skim::default();
        // One byte at a time: nothing may depend on where a read ends.
        text.bytes().for_each(|byte| skim.pass(&[byte]));
        let found = skim.found();
        (found.id.map(|id| String::from_utf8(id).unwrap()), found.has_method)
    }

    #[test]
    fn the_id_of_the_outermost_object_is_found_wherever_it_stands() {
        for (text, id, has_method) in [
            (r#"{"id": 7 ,"method":"x"}"#, Some("7"), true),
            (r#"{"params":{"id":1,"method":"y"},"result":[{"id":2}],"id":"a\"b"}"#, Some(r#""a\"b""#), false),
            (r#"{"result":"\\","id":-3}"#, Some("-3"), false),
            (r#"{"result":"{\"id\":9","id":4"#, Some("4"), false),
            (r#"{"id":1,"id":2}"#, None, false),
            (r#"{"result":1}"#, None, false),
            (r#"{"x":"id","y":5}"#, None, false),
            (r#"[{"id":1}]"#, None, false),
            ("", None, false),
        ] {
            assert_eq!(found(text), (id.map(str::to_owned), has_method), "{text}");
        }
        assert_eq!(found(&format!(r#"{{"id":"{}"}}"#, "x".repeat(1000))).0, None);
    }
}
