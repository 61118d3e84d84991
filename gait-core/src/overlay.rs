//! Reading JSON records by the decoding rules of existing readers (control 2.1).
//!
//! Member names match in any case, unknown ones are ignored, of repeated scalars and arrays the last
//! wins while repeated objects merge, and `null` is as good as absent. The `records!` macro declares
//! structs that are read this way.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::{Map, Value};

use crate::time::Timestamp;

/// Reads a value over what is already there: how repeated members combine.
pub trait Overlay<'de>: Sized {
    /// Reads `deserializer` over `self`.
    fn overlay<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error>;
}

macro_rules! scalars {
    ($($scalar:ty),*) => {$(
        impl<'de> Overlay<'de> for $scalar {
            fn overlay<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
                if let Some(value) = Option::<$scalar>::deserialize(deserializer)? {
                    *self = value;
                }
                Ok(())
            }
        }
    )*};
}
scalars!(String, bool, f64, i64, Timestamp);

/// Free-form: the last one counts, whatever it is.
impl<'de> Overlay<'de> for Value {
    fn overlay<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        *self = Value::deserialize(deserializer)?;
        Ok(())
    }
}

impl<'de> Overlay<'de> for Map<String, Value> {
    fn overlay<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        match Option::<Self>::deserialize(deserializer)? {
            Some(members) => self.extend(members),
            None => self.clear(),
        }
        Ok(())
    }
}

impl<'de, T: Deserialize<'de>> Overlay<'de> for Vec<T> {
    fn overlay<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        *self = Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default();
        Ok(())
    }
}

impl<'de, R: Record<'de>> Overlay<'de> for Option<R> {
    fn overlay<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        // A `null` takes back what was there.
        let present = self.get_or_insert_default();
        if present.overlay_or_null(deserializer)? == Read::Null {
            *self = None;
        }
        Ok(())
    }
}

/// What a record was read from.
#[derive(PartialEq, Eq)]
pub enum Read {
    /// `null`: as good as absent.
    Null,
    /// An object.
    Object,
}

/// A struct whose members are found by name in any case.
pub trait Record<'de>: Default {
    /// What it is, for messages.
    const WHAT: &'static str;

    /// Reads the next value of `map` as the member `name`, given in lower case.
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;

    /// Reads an object over `self`, or nothing from `null`.
    fn overlay_or_null<D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<Read, D::Error> {
        deserializer.deserialize_any(RecordVisitor { record: self, marker: PhantomData })
    }
}

struct RecordVisitor<'a, 'de, R: Record<'de>> {
    record: &'a mut R,
    marker: PhantomData<&'de ()>,
}

impl<'de, R: Record<'de>> Visitor<'de> for RecordVisitor<'_, 'de, R> {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as an object", R::WHAT)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Read, E> {
        Ok(Read::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            self.record.member(&fold(&name), &mut map)?;
        }
        Ok(Read::Object)
    }
}

/// The name that matches `name` in any case: Go folds by simple folding, which also takes the long s and
/// the Kelvin sign to ASCII letters.
pub fn fold(name: &str) -> String {
    name.chars()
        .map(|character| match character {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

/// Reads a value over the one it borrows.
pub struct Over<'a, T>(pub &'a mut T);

impl<'de, T: Overlay<'de>> DeserializeSeed<'de> for Over<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.overlay(deserializer)
    }
}

/// Makes an existing struct readable by these rules; its fields are the members.
macro_rules! record {
    ($name:ty, $what:literal, $($field:ident),*) => {
        impl<'de> $crate::overlay::Record<'de> for $name {
            const WHAT: &'static str = $what;

            fn member<A: serde::de::MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
                match name {
                    $(stringify!($field) => map.next_value_seed($crate::overlay::Over(&mut self.$field)),)*
                    _ => $crate::overlay::skip(map),
                }
            }
        }
    };
}

/// Declares structs that are read by these rules.
macro_rules! records {
    ($($(#[$doc:meta])* $name:ident ($what:literal) { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        #[allow(missing_docs, reason = "the fields are the contract's, under the same names")]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        $crate::overlay::record!($name, $what, $($field),*);

        impl<'de> $crate::overlay::Overlay<'de> for $name {
            fn overlay<D: serde::Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
                $crate::overlay::Record::overlay_or_null(self, deserializer).map(|_| ())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut record = Self::default();
                $crate::overlay::Record::overlay_or_null(&mut record, deserializer)?;
                Ok(record)
            }
        }
    )*};
}

pub(crate) use {record, records};

/// Skips the next value of `map`.
pub fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}
