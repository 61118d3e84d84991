//! Spans of time as people write them: `300ms`, `1.5h`, `1h30m`.
//!
//! The grammar is that of Go's `time.ParseDuration`, which the contract names (control 10.1): a sign, then numbers
//! with units from `ns` to `h`. There are no days, because a day has not always 24 hours.

/// Nanoseconds of `text`, negative where it says so; nothing if it is no span or one of more than 292 years.
pub fn parse(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (nanos, after) = part(rest)?;
        total = total.checked_add(nanos)?;
        rest = after;
    }
    i64::try_from(sign * total).ok()
}

/// The first number with its unit, in nanoseconds, and what follows.
fn part(text: &str) -> Option<(i128, &str)> {
    let is_digit = |character: char| character.is_ascii_digit();
    let (whole, rest) = text.split_at(text.find(|c| !is_digit(c))?);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c| !is_digit(c))?),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (unit, rest) = rest.split_at(rest.find(|c| is_digit(c) || c == '.').unwrap_or(rest.len()));
    let unit_nanos: i128 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let mut nanos = match whole {
        "" => 0,
        // Nineteen digits are more nanoseconds than fit.
        _ if whole.trim_start_matches('0').len() > 19 => return None,
        _ => whole.parse::<i128>().ok()?.checked_mul(unit_nanos)?,
    };
    let mut place = unit_nanos;
    for digit in fraction.bytes() {
        // The unit is a multiple of ten down to the last nanosecond, but for minutes and hours: cut there.
        nanos += i128::from(digit - b'0') * place / 10;
        place /= 10;
    }
    Some((nanos, rest))
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// From the documentation and the tests of Go's `time.ParseDuration`.
    #[test]
    fn spans_are_those_that_go_reads() {
        const SECOND: i64 = 1_000_000_000;
        for (text, nanos) in [
            ("0", Some(0)),
            ("300ms", Some(300_000_000)),
            ("1.5h", Some(5_400 * SECOND)),
            ("1h30m", Some(5_400 * SECOND)),
            ("2h45m", Some(9_900 * SECOND)),
            ("-1.5h", Some(-5_400 * SECOND)),
            ("+5s", Some(5 * SECOND)),
            (".5s", Some(SECOND / 2)),
            ("5.s", Some(5 * SECOND)),
            ("12\u{b5}s", Some(12_000)),
            ("12\u{3bc}s", Some(12_000)),
            ("39h9m14.425s", Some(140_954_425_000_000)),
            ("2562047h47m16.854775807s", Some(i64::MAX)),
            ("2562047h47m16.854775808s", None),
            ("9999999999999999999999h", None),
            ("", None),
            ("3", None),
            ("-", None),
            ("s", None),
            (".", None),
            (".s", None),
            ("1d", None),
            ("1..2h", None),
            ("1 h", None),
            ("NaNs", None),
            ("infs", None),
        ] {
            assert_eq!(parse(text), nanos, "{text}");
        }
    }
}
