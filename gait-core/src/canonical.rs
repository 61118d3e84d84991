//! RFC 8785 canonical JSON: the bytes that are hashed and signed.
//!
//! Keys are sorted by UTF-16 code units, there is no white space, strings carry the fewest escapes and
//! numbers print as ECMAScript prints the double. Two values that are equal as JSON give equal bytes.

use serde::Serialize;

use crate::digest::{Hasher, Sha256Hex};

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
#[error("no canonical JSON form")]
pub struct CanonicalError(#[from] serde_json::Error);

/// Canonical bytes of `value` (control 2.2).
///
/// Numbers are IEEE 754 doubles: integers beyond 2^53 lose digits here, so write them as strings
/// before they reach this function. JSON has no NaN and no infinity: inside a record they come out as
/// `null`.
///
/// # Errors
/// [`CanonicalError`] for map keys that are not strings and for values whose own serialisation fails.
pub fn canonical_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let mut bytes = Vec::with_capacity(256);
    write_canonical(value, &mut bytes)?;
    Ok(bytes)
}

/// Writes the canonical bytes of `value` to `out`.
///
/// # Errors
/// As [`canonical_bytes`], and where `out` can't be written.
pub fn write_canonical<T: Serialize + ?Sized>(value: &T, out: &mut impl std::io::Write) -> Result<(), CanonicalError> {
    Ok(serde_json_canonicalizer::to_writer(&value, out)?)
}

/// SHA-256 of the canonical bytes of `value`: every digest of a record is this.
///
/// # Errors
/// As [`canonical_bytes`].
pub fn digest_of<T: Serialize + ?Sized>(value: &T) -> Result<Sha256Hex, CanonicalError> {
    let mut hasher = Hasher::new();
    write_canonical(value, &mut hasher)?;
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn canonical_text(value: &Value) -> String {
        String::from_utf8(canonical_bytes(value).unwrap()).unwrap()
    }

    #[test]
    fn the_contract_vector_of_artifacts_1_1_holds() {
        let input = r#"{"\ud83d\ude00":1,"\ufb33":2,"e":[1e21,1e-7,0.000001,123456789012345680000,-0,5e-324,1.0,"\/","\u007f\u2028<>&",true]}"#;
        let value: Value = serde_json::from_str(input).unwrap();
        let want = "{\"e\":[1e+21,1e-7,0.000001,123456789012345680000,0,5e-324,1,\"/\",\"\u{7f}\u{2028}<>&\",true],\"\u{1f600}\":1,\"\u{fb33}\":2}";
        assert_eq!(canonical_text(&value), want);
    }

    #[test]
    fn the_digest_vectors_of_artifacts_1_2_hold() {
        let query = json!({"query": "gait demo: offline verification"});
        let result = json!({"ok": true, "message": "demo result 1"});
        assert_eq!(
            digest_of(&query).unwrap().to_string(),
            "33d148a7de89102bce5e2be136ca2acc3398ff9970a1f922faa3838eae837e3c"
        );
        assert_eq!(
            digest_of(&result).unwrap().to_string(),
            "0b2abfe8ba8a9dae03e92bcb4fe8fb733661a8b0560dda0ce8d7ac553e7a79a6"
        );
    }

    #[test]
    fn numbers_that_are_not_finite_never_look_like_numbers() {
        assert_eq!(canonical_bytes(&[f64::INFINITY, f64::NAN]).unwrap(), b"[null,null]");
    }

    #[test]
    fn map_keys_that_are_not_strings_have_no_canonical_form() {
        assert!(canonical_bytes(&std::collections::BTreeMap::from([([1, 2], 3)])).is_err());
    }

    #[test]
    fn big_integers_become_doubles() {
        let value: Value = serde_json::from_str("[12345678901234567890, 9007199254740993, 1.50e2]").unwrap();
        assert_eq!(canonical_text(&value), "[12345678901234567000,9007199254740992,150]");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_second_implementation_gives_the_same_bytes(value in any_json()) {
            // serde_jcs 0.2 sorts keys by UTF-8 bytes, RFC 8785 by UTF-16 units: they part beyond U+E000.
            prop_assume!(!value.to_string().chars().any(|character| character >= '\u{e000}'));
            prop_assert_eq!(canonical_bytes(&value).unwrap(), serde_jcs::to_vec(&value).unwrap());
        }

        #[test]
        fn canonical_bytes_read_back_as_the_same_value(value in any_json()) {
            let bytes = canonical_bytes(&value).unwrap();
            let again: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(canonical_bytes(&again).unwrap(), bytes);
        }
    }
}
