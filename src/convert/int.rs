//! smallint, integer, bigint: an optional sign and decimal digits, between blanks. Values out of range are left to Postgres,
//! whose message names the type.

use super::kind::trim;

#[inline]
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match trim(text) {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let mut value: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Nineteen digits always fit 64 bits without sign.
        value = value * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_range_is_known() {
        for value in [0, 1, -1, 42, i64::MAX, i64::MIN, i64::from(i32::MIN), 1_000_000_000_000_000_000] {
            assert_eq!(parse(value.to_string().as_bytes()), Some(value));
        }
    }

    #[test]
    fn signs_zeros_and_blanks_are_taken_as_postgres_takes_them() {
        for (text, value) in [("+5", 5), ("-0", 0), ("007", 7), (" 12\t", 12), ("\u{b}1\u{c}", 1)] {
            assert_eq!(parse(text.as_bytes()), Some(value), "{text}");
        }
    }

    #[test]
    fn anything_else_is_left_to_postgres() {
        let outside = ["9223372036854775808", "-9223372036854775809", "00000000000000000001"];
        for text in
            ["", "-", "+", "1.0", "17850.0", "1e3", "0x1", "1_000", "- 1", "+-1", "١", "1\0"].iter().chain(&outside)
        {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
