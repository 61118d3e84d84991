//! RFC 3339 timestamps that keep what they were written with.
//!
//! Reading is strict and writing is the contract's normal form (artifacts 1.3): the fraction without
//! trailing zeros, the offset as it was read, `Z` for a zero offset. A signature covers that text, so
//! another offset for the same instant is another timestamp.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time together with the UTC offset it was written with, to the nanosecond.
///
/// Equality is of the written form; [`Timestamp::unix_seconds`] compares instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    unix_seconds: i64,
    nanos: u32,
    offset_minutes: i16,
}

/// Why a text is not a timestamp.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an RFC 3339 time")]
pub struct TimeError {
    text: String,
}

const DAY: i64 = 86_400;
/// 0000-01-01T00:00:00Z and 10000-01-01T00:00:00Z: four digits hold no other year.
const FIRST_SECOND: i64 = -62_167_219_200;
const END_SECOND: i64 = 253_402_300_800;

impl Timestamp {
    /// The time of a record that has none: `0001-01-01T00:00:00Z`.
    pub const ZERO: Self = Self { unix_seconds: -62_135_596_800, nanos: 0, offset_minutes: 0 };

    /// What takes the place of the zero time where a record must have one: `1980-01-01T00:00:00Z`.
    pub const FALLBACK: Self = Self { unix_seconds: 315_532_800, nanos: 0, offset_minutes: 0 };

    /// The instant `seconds` and `nanos` after 1970-01-01T00:00:00Z, in UTC.
    ///
    /// # Errors
    /// [`TimeError`] if the year has not four digits or `nanos` is a second or more.
    pub fn from_unix(seconds: i64, nanos: u32) -> Result<Self, TimeError> {
        if !(FIRST_SECOND..END_SECOND).contains(&seconds) || nanos >= 1_000_000_000 {
            return Err(TimeError { text: format!("{seconds}.{nanos:09}") });
        }
        Ok(Self { unix_seconds: seconds, nanos, offset_minutes: 0 })
    }

    /// Reads a strict RFC 3339 time. Digits of the fraction after the ninth are cut.
    ///
    /// # Errors
    /// [`TimeError`] for anything else: a lower-case `t` or `z`, a date that no calendar has, a leap
    /// second, an offset of a day or more, a year that leaves 0-9999 in UTC.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        parse(text.as_bytes()).ok_or_else(|| TimeError { text: text.chars().take(80).collect() })
    }

    /// The same instant with offset zero.
    pub const fn to_utc(self) -> Self {
        Self { offset_minutes: 0, ..self }
    }

    /// Whether this is the zero time, whatever its offset.
    pub const fn is_zero(&self) -> bool {
        self.unix_seconds == Self::ZERO.unix_seconds && self.nanos == 0
    }

    /// This time in UTC, or [`Timestamp::FALLBACK`] if it is zero: the `created_at` of derived records.
    pub const fn utc_or_fallback(self) -> Self {
        if self.is_zero() { Self::FALLBACK } else { self.to_utc() }
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub const fn unix_seconds(&self) -> i64 {
        self.unix_seconds
    }

    /// Nanoseconds after the whole second.
    pub const fn nanos(&self) -> u32 {
        self.nanos
    }

    /// Whether this instant comes before `other`, whatever the offsets.
    pub fn is_before(&self, other: &Self) -> bool {
        (self.unix_seconds, self.nanos) < (other.unix_seconds, other.nanos)
    }

    /// The instant `nanos` later (earlier, if negative), with the same offset; nothing outside the years 0 to 9999.
    pub fn plus_nanos(self, nanos: i64) -> Option<Self> {
        const SECOND: i64 = 1_000_000_000;
        let sum = i64::from(self.nanos) + nanos.rem_euclid(SECOND);
        let seconds = self.unix_seconds.checked_add(nanos.div_euclid(SECOND) + sum / SECOND)?;
        let later = Self::from_unix(seconds, u32::try_from(sum % SECOND).ok()?).ok()?;
        Some(Self { offset_minutes: self.offset_minutes, ..later })
    }

    /// The start of the span of `seconds` that this instant lies in, counted from 1970, in UTC. `seconds` is more
    /// than zero.
    pub const fn truncated_to(self, seconds: i64) -> Self {
        Self { unix_seconds: self.unix_seconds - self.unix_seconds.rem_euclid(seconds), nanos: 0, offset_minutes: 0 }
    }
}

fn parse(text: &[u8]) -> Option<Timestamp> {
    let (date_time, rest) = text.split_at_checked(19)?;
    for (index, separator) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        if date_time[index] != separator {
            return None;
        }
    }
    let field = |from: usize, to: usize| digits(&date_time[from..to]);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let date_exists = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    if !date_exists || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, rest) = parse_fraction(rest)?;
    let offset_minutes = parse_offset(rest)?;
    let local = days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    let unix_seconds = local - i64::from(offset_minutes) * 60;
    (FIRST_SECOND..END_SECOND).contains(&unix_seconds).then_some(Timestamp { unix_seconds, nanos, offset_minutes })
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value, &byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

/// Nanoseconds of a leading `.digits`, if there is one, and what follows.
fn parse_fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(after_point) = text.strip_prefix(b".") else { return Some((0, text)) };
    let length = after_point.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, rest) = after_point.split_at(length);
    if fraction.is_empty() {
        return None;
    }
    let kept = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    Some((kept.fold(0, |value, &byte| value * 10 + u32::from(byte - b'0')), rest))
}

fn parse_offset(text: &[u8]) -> Option<i16> {
    match text {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), hours @ .., b':', tens, units] if hours.len() == 2 => {
            let (hours, minutes) = (digits(hours)?, digits(&[*tens, *units])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let total = i16::try_from(hours * 60 + minutes).ok()?;
            Some(if *sign == b'-' { -total } else { total })
        }
        _ => None,
    }
}

const fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + is_leap(year) as i64,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar, counted in 400-year eras that
/// start on the first of March.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`]: year, month, day.
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + (month <= 2) as i64, month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.unix_seconds + i64::from(self.offset_minutes) * 60;
        let (year, month, day) = civil_from_days(local.div_euclid(DAY));
        let second = local.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos != 0 {
            let fraction = format!("{:09}", self.nanos);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        if self.offset_minutes == 0 {
            return f.write_str("Z");
        }
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        let minutes = self.offset_minutes.unsigned_abs();
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a string, or `null` as the zero time.
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)? {
            None => Ok(Self::ZERO),
            Some(text) => Self::parse(&text).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewritten(text: &str) -> String {
        Timestamp::parse(text).unwrap().to_string()
    }

    #[test]
    fn the_normal_form_is_that_of_artifacts_1_3() {
        for (written, normal) in [
            ("2026-02-05T00:00:00Z", "2026-02-05T00:00:00Z"),
            ("2026-02-05T00:00:00.500Z", "2026-02-05T00:00:00.5Z"),
            ("2026-02-05T00:00:00.000Z", "2026-02-05T00:00:00Z"),
            ("2026-02-05T00:00:00.1234567899Z", "2026-02-05T00:00:00.123456789Z"),
            ("2026-02-05T00:00:00+02:00", "2026-02-05T00:00:00+02:00"),
            ("2026-02-05T00:00:00+05:30", "2026-02-05T00:00:00+05:30"),
            ("2026-02-05T00:00:00-00:30", "2026-02-05T00:00:00-00:30"),
            ("2026-02-05T00:00:00+00:00", "2026-02-05T00:00:00Z"),
            ("2026-02-05T00:00:00-00:00", "2026-02-05T00:00:00Z"),
            ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
        ] {
            assert_eq!(rewritten(written), normal);
        }
    }

    #[test]
    fn utc_is_the_same_instant() {
        // control 4.6 and the golden case pt-lenient-json.
        assert_eq!(Timestamp::parse("2026-04-02T09:30:00+02:00").unwrap().to_utc().to_string(), "2026-04-02T07:30:00Z");
        assert_eq!(
            Timestamp::parse("2026-05-04T05:02:01.500+02:00").unwrap().to_utc().to_string(),
            "2026-05-04T03:02:01.5Z"
        );
    }

    #[test]
    fn what_is_not_strictly_rfc_3339_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-02-05",
            "2026-02-05t00:00:00Z",
            "2026-02-05T00:00:00z",
            "2026-02-05 00:00:00Z",
            "2026-02-05T00:00:00",
            "2026-02-05T00:00:00.Z",
            "2026-02-05T00:00:00,5Z",
            "2026-02-05T24:00:00Z",
            "2026-02-05T00:60:00Z",
            "2026-12-31T23:59:60Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-02-05T0:00:00Z",
            "2026-02-05T00:00:00+24:00",
            "2026-02-05T00:00:00+00:60",
            "2026-02-05T00:00:00+0000",
            "2026-02-05T00:00:00+00:00 ",
            "+026-02-05T00:00:00Z",
            "0000-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_zero_time_is_the_first_year() {
        assert_eq!(Timestamp::ZERO.to_string(), "0001-01-01T00:00:00Z");
        assert!(Timestamp::parse("0001-01-01T02:00:00+02:00").unwrap().is_zero());
        assert_eq!(Timestamp::FALLBACK.to_string(), "1980-01-01T00:00:00Z");
        assert_eq!(serde_json::from_str::<Timestamp>("null").unwrap(), Timestamp::ZERO);
    }

    #[test]
    fn sums_carry_and_stay_among_the_years_that_can_be_written() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let sum = |text: &str, nanos| at(text).plus_nanos(nanos).map(|time| time.to_string());
        assert_eq!(sum("2026-12-31T23:59:59.9Z", 200_000_000).unwrap(), "2027-01-01T00:00:00.1Z");
        assert_eq!(sum("2026-01-01T00:00:00+02:00", -1).unwrap(), "2025-12-31T23:59:59.999999999+02:00");
        assert_eq!(sum("9999-12-31T23:59:59Z", 1_000_000_000), None);
        assert!(at("2026-01-01T02:00:00+02:00").is_before(&at("2026-01-01T00:00:00.000000001Z")));
        assert!(!at("2026-01-01T02:00:00+02:00").is_before(&at("2026-01-01T00:00:00Z")));
        assert_eq!(at("2026-11-22T13:35:05.5+02:00").truncated_to(3600).to_string(), "2026-11-22T11:00:00Z");
        assert_eq!(at("1969-12-31T23:59:59Z").truncated_to(60).to_string(), "1969-12-31T23:59:00Z");
    }

    #[test]
    fn unix_seconds_count_from_1970() {
        // `date -u -d @1772352000.12` prints 2026-03-01T08:00:00.12.
        assert_eq!(Timestamp::from_unix(1_772_352_000, 120_000_000).unwrap().to_string(), "2026-03-01T08:00:00.12Z");
        assert!(Timestamp::from_unix(END_SECOND, 0).is_err());
        assert!(Timestamp::from_unix(0, 1_000_000_000).is_err());
    }

    proptest! {
        #[test]
        fn every_instant_reads_back_as_written(seconds in FIRST_SECOND..END_SECOND, nanos in 0u32..1_000_000_000) {
            let time = Timestamp::from_unix(seconds, nanos).unwrap();
            prop_assert_eq!(Timestamp::parse(&time.to_string()).unwrap(), time);
        }
    }
}
