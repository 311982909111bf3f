//! real and double precision: plain decimal numbers with or without exponent.
//!
//! Both sides round correctly, so the same decimal text gives the same bits. What over- or underflows is left to Postgres, and so
//! are infinities, NaN and hexadecimal forms.

use super::kind::trim;

pub(super) fn parse8(text: &str) -> Option<f64> {
    let value: f64 = decimal(text)?.parse().ok()?;
    (value.is_normal() || (value == 0.0 && !has_nonzero_digit(text))).then_some(value)
}

pub(super) fn parse4(text: &str) -> Option<f32> {
    let value: f32 = decimal(text)?.parse().ok()?;
    (value.is_normal() || (value == 0.0 && !has_nonzero_digit(text))).then_some(value)
}

/// The text between blanks, if it has no letters but an exponent's.
fn decimal(text: &str) -> Option<&str> {
    let bytes = trim(text.as_bytes());
    let plain = bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
    // Only ASCII blanks were taken away, so these are character boundaries.
    plain.then(|| std::str::from_utf8(bytes).ok()).flatten()
}

fn has_nonzero_digit(text: &str) -> bool {
    text.bytes().take_while(|b| !matches!(b, b'e' | b'E')).any(|b| matches!(b, b'1'..=b'9'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_numbers_are_known() {
        for (text, value) in
            [("0", 0.0), ("-1.5", -1.5), ("+2.", 2.0), (".5", 0.5), (" 1e3 ", 1000.0), ("1E-2", 0.01), ("0.0e9", 0.0)]
        {
            assert_eq!(parse8(text), Some(value), "{text}");
            assert_eq!(parse4(text), Some(value as f32), "{text}");
        }
        assert!(parse8("-0").unwrap().is_sign_negative());
    }

    #[test]
    fn a_real_is_rounded_once_from_the_text() {
        // Halfway between two reals but for the last digit, which a detour over double precision loses.
        assert_eq!(parse4("1.00000017881393432617187500001"), Some(1.0000002));
    }

    #[test]
    fn what_does_not_fit_and_odd_forms_are_left_to_postgres() {
        for text in
            ["1e400", "1e-400", "4e-320", "", ".", "-", "e5", "1e", "1.2.3", "NaN", "inf", "-Infinity", "0x10", "1 2"]
        {
            assert_eq!(parse8(text), None, "{text}");
        }
        assert_eq!(parse4("1e39"), None);
        assert_eq!(parse4("1e-46"), None);
    }
}
