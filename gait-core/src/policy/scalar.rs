//! What a YAML scalar means in a policy: the coercions of control 5.1, which digests depend on.

/// A scalar by its own type.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Null,
    Bool(bool),
    /// Any integer of 64 bits, signed or not.
    Integer(i128),
    Float(f64),
    /// Quoted, a block, or nothing of the above.
    Text(String),
}

impl Scalar {
    /// The meaning of a plain (unquoted) scalar.
    pub fn plain(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" => Self::Bool(true),
            "false" | "False" | "FALSE" => Self::Bool(false),
            ".inf" | ".Inf" | ".INF" => Self::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => Self::Float(f64::NEG_INFINITY),
            ".nan" | ".NaN" | ".NAN" => Self::Float(f64::NAN),
            _ => number(text).unwrap_or_else(|| Self::Text(text.to_owned())),
        }
    }

    /// Whether the two are the same value of the same type; NaN is NaN.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(one), Self::Float(other)) => one.to_bits() == other.to_bits(),
            _ => self == other,
        }
    }

    /// What it is, for messages.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Integer(_) => "integer",
            Self::Float(_) => "float",
            Self::Text(_) => "string",
        }
    }

    /// As a string: numbers in one normal form, null as nothing.
    pub fn to_text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => go_float(*value),
            Self::Text(text) => text.clone(),
        }
    }

    /// As an integer: floats are cut toward zero, numbers may be quoted, null is 0. Nothing for the rest.
    pub fn to_integer(&self) -> Option<i64> {
        match self {
            Self::Null => Some(0),
            Self::Bool(_) => None,
            Self::Integer(value) => i64::try_from(*value).ok(),
            Self::Float(value) => cut(*value),
            Self::Text(text) => cut(decimal(text)?),
        }
    }
}

/// The integer part of `value`, if 64 bits hold it.
fn cut(value: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    // The range keeps NaN and infinity out, so the cast below is exact after truncation.
    (-LIMIT..LIMIT).contains(&value).then_some(value as i64)
}

/// A plain scalar that is a number: decimal, `0x`, `0o`, `0b`, octal after a leading zero, or with one
/// point. Underscores don't count. `1e3` has no point and is a text.
fn number(text: &str) -> Option<Scalar> {
    let points = text.matches('.').count();
    if text.starts_with('_') || points > 1 {
        return None;
    }
    let is_negative = text.starts_with('-');
    let digits = text.strip_prefix('+').unwrap_or(text);
    let digits = digits.strip_prefix('-').unwrap_or(digits).replace('_', "");
    let (base, digits) = if let Some(hex) = digits.strip_prefix("0x") {
        (16, hex)
    } else if let Some(octal) = digits.strip_prefix("0o") {
        (8, octal)
    } else if let Some(binary) = digits.strip_prefix("0b") {
        (2, binary)
    } else if points == 1 {
        let value: f64 = decimal_digits(&digits)?.parse().ok()?;
        return value.is_finite().then_some(Scalar::Float(if is_negative { -value } else { value }));
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, digits.as_str())
    } else {
        (10, digits.as_str())
    };
    if !digits.chars().all(|digit| digit.is_digit(base)) {
        return None;
    }
    let value = u64::from_str_radix(digits, base).ok()?;
    if is_negative {
        let value = -i128::from(value);
        return (value >= i128::from(i64::MIN)).then_some(Scalar::Integer(value));
    }
    Some(Scalar::Integer(i128::from(value)))
}

/// `text` if it is digits, at most one point and an exponent, without sign: what a float may be made of.
fn decimal_digits(text: &str) -> Option<&str> {
    let mantissa = text.split(['e', 'E']).next()?;
    let is_number = mantissa.contains(|c: char| c.is_ascii_digit())
        && mantissa.chars().all(|c| c.is_ascii_digit() || c == '.')
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    is_number.then_some(text)
}

/// A number written as text (quoted, or like `1e2` and `09`): sign, digits with single underscores
/// between them, point, exponent.
fn decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let bytes = unsigned.as_bytes();
    let is_digit = |index: Option<usize>| index.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let underscores_separate_digits = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'_')
        .all(|(at, _)| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)));
    if !underscores_separate_digits {
        return None;
    }
    let digits = unsigned.replace('_', "");
    let value: f64 = decimal_digits(&digits)?.parse().ok()?;
    value.is_finite().then_some(if text.starts_with('-') { -value } else { value })
}

/// A float as Go's `fmt.Sprint` prints it: shortest digits, an exponent of two digits below 1e-4 and
/// from 1e21.
fn go_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (-4..21).contains(&exponent) {
        return value.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_print_as_control_5_1_says() {
        for (written, printed) in [
            ("123", "123"),
            ("1.50", "1.5"),
            (".5", "0.5"),
            ("1.", "1"),
            ("007", "7"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0b11", "3"),
            ("1_000", "1000"),
            ("-0", "0"),
            ("+5", "5"),
            ("1e3", "1e3"),
            ("1.5e3", "1500"),
            ("1.0e21", "1e+21"),
            ("1.0e-5", "1e-05"),
            ("09", "09"),
            ("2026-01-02", "2026-01-02"),
            ("true", "true"),
            ("True", "true"),
            ("yes", "yes"),
            ("~", ""),
            ("12345678901234567890", "12345678901234567890"),
            ("99999999999999999999", "99999999999999999999"),
            ("1.2.3", "1.2.3"),
            (".", "."),
            ("-", "-"),
            ("0x", "0x"),
            (".inf", "+Inf"),
            ("1.5e999", "1.5e999"),
            ("0.1.inf", "0.1.inf"),
        ] {
            assert_eq!(Scalar::plain(written).to_text(), printed, "{written}");
        }
    }

    #[test]
    fn integers_are_read_as_control_5_1_says() {
        for (written, value) in [
            ("7", Some(7)),
            ("0x10", Some(16)),
            ("0o10", Some(8)),
            ("010", Some(8)),
            ("09", Some(9)),
            ("0b11", Some(3)),
            ("1_000", Some(1000)),
            ("+5", Some(5)),
            ("-5", Some(-5)),
            ("1e2", Some(100)),
            ("2.9", Some(2)),
            ("-2.9", Some(-2)),
            (".5", Some(0)),
            ("null", Some(0)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            (".inf", None),
            (".nan", None),
            ("true", None),
            ("seven", None),
            ("inf", None),
            ("nan", None),
        ] {
            assert_eq!(Scalar::plain(written).to_integer(), value, "{written}");
        }
        let quoted = |text: &str| Scalar::Text(text.to_owned()).to_integer();
        assert_eq!(quoted("7"), Some(7));
        assert_eq!(quoted("1_0"), Some(10));
        assert_eq!(quoted(""), None);
        assert_eq!(quoted("_1"), None);
        assert_eq!(quoted("0x10"), None);
        assert_eq!(quoted("1e"), None);
    }
}
