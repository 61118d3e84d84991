use super::*;
use std::io::{Cursor, Read};

fn packed(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ContainerWriter::new(Vec::new());
    for (name, content) in members {
        writer.member(name, *content).unwrap();
    }
    writer.finish().unwrap()
}

fn sample() -> Vec<u8> {
    let long: Vec<u8> =
        (0..200_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3..].to_vec()).collect();
    packed(&[("a.json", b"{}"), ("b/000001.jsonl", &long), ("empty", b""), ("z", b"one\ntwo\n")])
}

#[test]
fn what_was_written_is_read_back() {
    let mut container = Container::open(Cursor::new(sample())).unwrap();
    let names: Vec<&str> = container.members().iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["a.json", "b/000001.jsonl", "empty", "z"]);
    assert_eq!(container.read_all("z", 100).unwrap().unwrap(), b"one\ntwo\n");
    assert_eq!(container.read_all("empty", 100).unwrap().unwrap(), b"");
    assert_eq!(container.read_all("b/000001.jsonl", 1 << 20).unwrap().unwrap().len(), 200_000);
    assert!(container.read_all("nope", 100).unwrap().is_none());
    assert!(container.inexact().is_none(), "{:?}", container.inexact());
}

#[test]
fn an_empty_container_is_exact() {
    let mut container = Container::open(Cursor::new(packed(&[]))).unwrap();
    assert!(container.inexact().is_none());
}

#[test]
fn members_out_of_order_are_refused() {
    let mut writer = ContainerWriter::new(Vec::new());
    writer.member("b", &b""[..]).unwrap();
    assert!(matches!(writer.member("b", &b""[..]), Err(WriteError::Order { .. })));
    assert!(matches!(writer.member("a", &b""[..]), Err(WriteError::Order { .. })));
}

#[test]
fn a_member_larger_than_readers_accept_is_not_written() {
    let mut writer = ContainerWriter::new(std::io::sink());
    let content = std::io::repeat(0).take(MEMBER_LIMIT_BYTES + 1);
    assert!(matches!(writer.member("a", content), Err(WriteError::MemberTooLarge { .. })));
}

#[test]
fn names_that_lead_elsewhere_or_nowhere_are_refused() {
    for name in ["../x", "a/../x", "/abs", "a\\b", "C:x", "a//b", "./a", "", "a/..", "nul\0"] {
        let file = packed(&[(name, b"x")]);
        assert!(matches!(Container::open(Cursor::new(file)), Err(ContainerError::UnsafeName { .. })), "{name:?}");
    }
}

#[test]
fn two_members_of_one_name_are_refused() {
    let mut file = packed(&[("a", b"x"), ("b", b"y")]);
    let at = file.windows(1).rposition(|byte| byte == b"b").unwrap();
    file[at] = b'a';
    assert!(matches!(Container::open(Cursor::new(file)), Err(ContainerError::Duplicate { .. })));
}

#[test]
fn every_changed_byte_is_found_unless_it_spells_the_same_members() {
    let file = packed(&[("a.json", br#"{"a":1,"b":[1,2,3],"c":"text text text text"}"#), ("b", b""), ("c", b"x\n")]);
    let members = |file: &[u8]| -> Option<Vec<Vec<u8>>> {
        let mut container = Container::open(Cursor::new(file)).ok()?;
        let names: Vec<String> = container.members().iter().map(|member| member.name.clone()).collect();
        names.iter().map(|name| container.read_all(name, 1 << 20).ok().flatten()).collect()
    };
    let original = members(&file).unwrap();
    let mut same = 0;
    for at in 0..file.len() {
        for change in [1u8, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut changed = file.clone();
            changed[at] ^= change;
            let found = Container::open(Cursor::new(&changed)).map_or(true, |mut c| c.inexact().is_some());
            if !found && members(&changed).as_ref() == Some(&original) {
                same += 1;
            } else {
                assert!(found, "byte {at} xor {change}");
            }
        }
    }
    assert!(same <= 3, "{same} changes spell the same members");
}

#[test]
fn junk_before_and_after_is_read_but_not_exact() {
    let file = sample();
    for (before, after) in [(&b"junk"[..], &b""[..]), (b"", b"junk"), (b"", b"\0")] {
        let padded = [before, file.as_slice(), after].concat();
        let mut container = Container::open(Cursor::new(padded)).unwrap();
        assert_eq!(container.read_all("a.json", 100).unwrap().unwrap(), b"{}");
        assert!(container.inexact().is_some());
    }
}

#[test]
fn a_truncated_file_is_not_a_zip() {
    let file = sample();
    for length in [0, 1, 21, 100, file.len() - 1] {
        assert!(matches!(Container::open(Cursor::new(&file[..length])), Err(ContainerError::NotAZip)), "{length}");
    }
}

#[test]
fn content_that_is_not_what_the_directory_says_is_an_error() {
    let file = packed(&[("a", b"some content that is long enough")]);
    let directory = file.windows(4).rposition(|w| w == CENTRAL_SIGNATURE.to_le_bytes()).unwrap();
    for (at, words) in [(16, "zip: checksum error"), (24, "larger than the directory says")] {
        let mut changed = file.clone();
        changed[directory + at] ^= 0x11;
        let mut container = Container::open(Cursor::new(changed)).unwrap();
        let error = container.read_all("a", 1 << 20).unwrap_err().to_string();
        assert!(error.contains(words) || error == "unexpected EOF", "{error}");
    }
}

#[test]
fn a_bomb_gives_no_more_than_the_directory_says() {
    let mut file = {
        let mut writer = ContainerWriter::new(Vec::new());
        writer.member("bomb", std::io::repeat(0).take(50 << 20)).unwrap();
        writer.finish().unwrap()
    };
    let directory = file.windows(4).rposition(|w| w == CENTRAL_SIGNATURE.to_le_bytes()).unwrap();
    file[directory + 24..directory + 28].copy_from_slice(&1000u32.to_le_bytes());
    let mut container = Container::open(Cursor::new(file)).unwrap();
    assert!(container.read_all("bomb", MEMBER_LIMIT_BYTES).is_err());
}
