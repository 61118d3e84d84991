use super::*;

fn limit(requests: i64, window: &str, scope: &str) -> RateLimit {
    RateLimit { requests, window: window.into(), scope: scope.into() }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

#[test]
fn the_third_of_two_is_denied_and_not_counted() {
    // The key is that of golden/control/ge-rate-limit.
    let (mut state, limit) = (State::default(), limit(2, "hour", "tool_identity"));
    let now = at("2026-11-22T11:35:05.5Z");
    let found: Vec<_> = (0..4).map(|_| state.step(&limit, "tool.write", "dana", &now)).collect();
    let shown: Vec<_> = found.iter().map(|step| (step.used, step.remaining, step.allowed)).collect();
    assert_eq!(shown, [(1, 1, true), (2, 0, true), (2, 0, false), (2, 0, false)]);
    assert_eq!(found[0].key, "tool.write|dana");
    assert_eq!(
        state.to_file_text().unwrap(),
        "{\n  \"schema_id\": \"gait.gate.rate_limit_state\",\n  \"schema_version\": \"1.0.0\",\n  \"counters\": [\n    {\n      \"key\": \"hour|tool_identity|2026-11-22T11:00:00Z|tool.write|dana\",\n      \"count\": 2\n    }\n  ]\n}\n"
    );
    assert_eq!(State::read(state.to_file_text().unwrap().as_bytes()).unwrap(), state);
}

#[test]
fn a_new_window_forgets_old_counters_of_its_kind_alone() {
    let mut state = State::default();
    state.step(&limit(1, "minute", "tool"), "a", "x", &at("2026-01-01T00:00:59Z"));
    state.step(&limit(1, "hour", "identity"), "a", "x", &at("2026-01-01T00:00:59Z"));
    state.counters.insert("malformed".into(), 7);
    assert!(state.step(&limit(1, "minute", "tool"), "a", "x", &at("2026-01-01T00:01:00Z")).allowed);
    assert_eq!(
        state.counters.keys().collect::<Vec<_>>(),
        ["hour|identity|2026-01-01T00:00:00Z|x", "minute|tool|2026-01-01T00:01:00Z|a"]
    );
    assert!(!state.step(&limit(1, "hour", "identity"), "b", "x", &at("2026-01-01T00:30:00Z")).allowed);
    assert!(state.step(&limit(1, "hour", "identity"), "b", "x", &at("2026-01-01T01:00:00Z")).allowed);
}

#[test]
fn what_is_no_state_is_an_error_and_never_lets_more_through() {
    let read = |text: &str| State::read(text.as_bytes());
    assert_eq!(read("{}").unwrap(), State::default());
    assert_eq!(read("null").unwrap(), State::default());
    for bad in ["", "[]", "{\"counters\":{}}", "{\"counters\":[{\"key\":1}]}", "{\"counters\":[{\"count\":1.5}]}"] {
        assert!(read(bad).unwrap_err().to_string().starts_with("parse rate limit state: "), "{bad}");
    }
    assert!(read(r#"{"counters":[{"key":"k","count":9223372036854775808}]}"#).is_err());
    assert!(read(r#"{"counters":[{"key":"k","count":-1}]}"#).is_err());
    let twice = read(r#"{"counters":[{"key":"k","count":5},{"key":"k","count":1}]}"#).unwrap();
    assert_eq!(twice.counters["k"], 5);
    let mut full =
        read(r#"{"counters":[{"key":"minute|tool|2026-01-01T00:00:00Z|a","count":9223372036854775807}]}"#).unwrap();
    let step = full.step(&limit(i64::MAX, "minute", "tool"), "a", "x", &at("2026-01-01T00:00:00Z"));
    assert_eq!((step.used, step.remaining, step.allowed), (i64::MAX, 0, false));
}

#[test]
fn a_lock_is_stale_by_either_clock() {
    let now = at("2026-01-01T00:00:20Z");
    let content = |time: &str| LockRecord::new(7, at(time)).to_line().unwrap().into_bytes();
    let fresh = content("2026-01-01T00:00:10Z");
    assert!(!LockRecord::is_stale(&fresh, &at("2026-01-01T00:00:10Z"), &now));
    assert!(LockRecord::is_stale(&fresh, &at("2026-01-01T00:00:04Z"), &now));
    assert!(LockRecord::is_stale(&content("2026-01-01T00:00:04Z"), &at("2026-01-01T00:00:10Z"), &now));
    for odd in [&b""[..], b"{}", b"\xff", b"[1]"] {
        assert!(!LockRecord::is_stale(odd, &at("2026-01-01T00:00:10Z"), &now), "{odd:?}");
    }
}
