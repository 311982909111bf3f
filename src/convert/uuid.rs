//! uuid: the standard form, or 32 hexadecimal digits without hyphens. Braces and other groupings are left to Postgres.

use super::bytea::hex_digit;

pub(super) fn parse(text: &[u8]) -> Option<[u8; 16]> {
    let hyphens = match text.len() {
        36 if [8, 13, 18, 23].iter().all(|&i| text[i] == b'-') => true,
        32 => false,
        _ => return None,
    };
    let mut value = [0; 16];
    let mut bad = 0;
    for (i, byte) in value.iter_mut().enumerate() {
        let groups = if hyphens {
            usize::from(i >= 4) + usize::from(i >= 6) + usize::from(i >= 8) + usize::from(i >= 10)
        } else {
            0
        };
        let (high, low) = (hex_digit(text[2 * i + groups]), hex_digit(text[2 * i + groups + 1]));
        bad |= high | low;
        *byte = high << 4 | low;
    }
    (bad < 16).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_known_in_any_case() {
        let value = *b"\x72\xd7\x6f\xde\x8b\xb3\x4e\x00\x8c\x23\xa0\x32\xdf\xed\x73\x8c";
        for text in ["72d76fde-8bb3-4e00-8c23-a032dfed738c", "72D76FDE8BB34E008C23A032DFED738C"] {
            assert_eq!(parse(text.as_bytes()), Some(value));
        }
    }

    #[test]
    fn anything_else_is_left_to_postgres() {
        for text in [
            "",
            "{72d76fde-8bb3-4e00-8c23-a032dfed738c}",
            "72d76fde-8bb3-4e00-8c23-a032dfed738g",
            "72d76fde-8bb3-4e00-8c23a-032dfed738c",
            "72d76fde8bb34e008c23a032dfed738-",
            "72d76fde-8bb3-4e00-8c23-a032dfed738c ",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
