//! bytea: the hex form in pairs of digits, or text without backslash, which stands for its own bytes.

pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(hex) = text.strip_prefix(b"\\x") else {
        out.extend_from_slice(text);
        return memchr::memchr2(b'\\', 0, text).is_none();
    };
    let (pairs, rest) = hex.as_chunks::<2>();
    let mut bad = 0;
    out.extend(pairs.iter().map(|&[high, low]| {
        let (high, low) = (hex_digit(high), hex_digit(low));
        bad |= high | low;
        high << 4 | low
    }));
    rest.is_empty() && bad < 16
}

/// The digit's value; 255 for what is no digit.
pub(super) fn hex_digit(byte: u8) -> u8 {
    const VALUES: [u8; 256] = {
        let mut values = [255; 256];
        let mut i = 0;
        while i < 16 {
            values[b"0123456789abcdef"[i] as usize] = i as u8;
            values[b"0123456789ABCDEF"[i] as usize] = i as u8;
            i += 1;
        }
        values
    };
    VALUES[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        encode(text.as_bytes(), &mut out).then_some(out)
    }

    #[test]
    fn hex_and_plain_text_are_known() {
        assert_eq!(of("\\x00ffAb").unwrap(), b"\x00\xff\xab");
        assert_eq!(of("\\x").unwrap(), b"");
        assert_eq!(of("plain é").unwrap(), "plain é".as_bytes());
        assert_eq!(of("").unwrap(), b"");
    }

    #[test]
    fn escapes_and_broken_hex_are_left_to_postgres() {
        for text in ["a\\\\b", "\\001", "\\x0", "\\xzz", "\\x00 11", "\\X00"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
