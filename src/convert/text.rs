//! text, varchar(n) and char(n): characters as they are. A NUL byte is never text in Postgres; what is too long is left to
//! Postgres, which may cut trailing blanks.

/// A field that holds a NUL byte is refused before this.
#[inline]
pub(super) fn varying(text: &str, max_chars: Option<u32>, out: &mut Vec<u8>) -> bool {
    let fits = max_chars.is_none_or(|max| text.len() <= max as usize || text.chars().count() <= max as usize);
    if fits {
        out.extend_from_slice(text.as_bytes());
    }
    fits
}

pub(super) fn padded(text: &str, len: Option<u32>, out: &mut Vec<u8>) -> bool {
    let Some(len) = len else { return varying(text, None, out) };
    let Some(missing) = (len as usize).checked_sub(text.chars().count()) else { return false };
    out.extend_from_slice(text.as_bytes());
    out.resize(out.len() + missing, b' ');
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_characters_not_bytes() {
        let mut out = Vec::new();
        assert!(varying("äöü", Some(3), &mut out));
        assert_eq!(out, "äöü".as_bytes());
        assert!(!varying("äöüx", Some(3), &mut out));
    }

    #[test]
    fn fixed_lengths_are_filled_up_with_blanks() {
        let mut out = Vec::new();
        assert!(padded("é", Some(3), &mut out));
        assert_eq!(out, "é  ".as_bytes());
        assert!(!padded("abcd", Some(3), &mut out));
        assert!(padded("", None, &mut out));
    }
}
