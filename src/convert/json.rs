//! json and jsonb: text that is JSON goes over as it is; Postgres reads jsonb from text in the binary form too.
//!
//! jsonb is narrower than JSON: it knows no NUL character and needs numbers that fit numeric. What could touch these limits is
//! left to Postgres.

use serde::de::IgnoredAny;

/// The version byte that the binary form of jsonb starts with.
const JSONB_VERSION: u8 = 1;

/// As many digits in a row always fit numeric.
const MAX_DIGITS: usize = 300;

/// Postgres limits the size of jsonb strings; nothing below this comes near.
const MAX_JSONB: usize = 16 << 20;

pub(super) fn json(text: &str, out: &mut Vec<u8>) -> bool {
    let valid = serde_json::from_str::<IgnoredAny>(text).is_ok();
    if valid {
        out.extend_from_slice(text.as_bytes());
    }
    valid
}

pub(super) fn jsonb(text: &str, out: &mut Vec<u8>) -> bool {
    out.push(JSONB_VERSION);
    json(text, out) && text.len() <= MAX_JSONB && fits_jsonb(text.as_bytes())
}

/// For what is known to be JSON.
fn fits_jsonb(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    let mut in_string = false;
    let mut digits = 0;
    while let Some(&byte) = bytes.next() {
        if in_string {
            match byte {
                b'"' => in_string = false,
                // Could be NUL, or half a surrogate pair.
                b'\\' if bytes.next() == Some(&b'u') => return false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'0'..=b'9' => digits += 1,
            b'e' | b'E' if digits > 0 => return false,
            b'.' => {}
            _ => digits = 0,
        }
        if digits > MAX_DIGITS {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(encode: impl Fn(&str, &mut Vec<u8>) -> bool, text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        encode(text, &mut out).then_some(out)
    }

    #[test]
    fn json_keeps_its_text_and_jsonb_has_a_version_before_it() {
        let text = r#" {"a": [1, -2.50, true, null, "é\n\"x\\"], "b e": {}} "#;
        assert_eq!(of(json, text).unwrap(), text.as_bytes());
        assert_eq!(of(jsonb, text).unwrap(), format!("\u{1}{text}").as_bytes());
        assert!(of(jsonb, r#""3e5 is text""#).is_some());
    }

    #[test]
    fn what_is_not_json_is_left_to_postgres() {
        for text in ["", "{", "{'a': 1}", "[1,]", "01", "nul", "\"\n\"", "NaN", "1 2"] {
            assert_eq!(of(json, text), None, "{text}");
            assert_eq!(of(jsonb, text), None, "{text}");
        }
    }

    #[test]
    fn what_jsonb_may_not_hold_is_left_to_postgres() {
        let long = "1".repeat(MAX_DIGITS + 1);
        for text in [r#""\u0000""#, r#""\ud800""#, "1e5", "[1.0E9]", long.as_str()] {
            assert!(of(json, text).is_some(), "{text}");
            assert_eq!(of(jsonb, text), None, "{text}");
        }
    }
}
