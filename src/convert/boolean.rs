//! boolean: the words that `boolin` documents, in any case. Its further abbreviations are left to it.

use super::kind::trim;

pub(super) fn parse(text: &[u8]) -> Option<bool> {
    let text = trim(text);
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
    match text.len() {
        1 if is(&["t", "y", "1"]) => Some(true),
        1 if is(&["f", "n", "0"]) => Some(false),
        2 if is(&["on"]) => Some(true),
        2 if is(&["no"]) => Some(false),
        3 if is(&["yes"]) => Some(true),
        3 if is(&["off"]) => Some(false),
        4 if is(&["true"]) => Some(true),
        5 if is(&["false"]) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_words_are_known_in_any_case_and_between_blanks() {
        for (text, value) in
            [("true", true), ("FALSE", false), (" t ", true), ("Off", false), ("yes", true), ("0", false)]
        {
            assert_eq!(parse(text.as_bytes()), Some(value), "{text}");
        }
    }

    #[test]
    fn anything_else_is_left_to_postgres() {
        for text in ["", " ", "tr", "2", "truth", "o", "t\0"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
