//! Names that users give, and the names that we make of them.

use crate::model::{Code, Error, Result};

/// Longest identifier that Postgres keeps.
pub const LONGEST: usize = 63;

/// Checks a pipeline's name: it becomes part of stream names, of a NOTIFY channel and of Delta application ids.
pub fn check_pipeline(name: &str) -> Result<()> {
    let fault = if name.trim().is_empty() {
        "it is empty"
    } else if name.len() > LONGEST {
        "it is longer than 63 bytes"
    } else if name.contains('.') {
        "it holds a dot, which separates the pipeline from the layer in a stream's name"
    } else if name.chars().any(char::is_control) {
        "it holds a control character"
    } else {
        return Ok(());
    };
    Err(Error::new(Code::InvalidParameter, format!("\"{}\" can't be a pipeline's name", name.escape_debug()))
        .detail(format!("The trouble: {fault}."))
        .hint("Use a short name such as 'transactions'."))
}

/// The channel that chunks are announced on.
pub fn channel(pipeline: &str) -> String {
    cut(&format!("millrace_{pipeline}"), LONGEST).to_string()
}

/// `base` with `suffix`, cut so that it stays an identifier that Postgres keeps whole.
pub fn with_suffix(base: &str, suffix: &str) -> String {
    format!("{}{suffix}", cut(base, LONGEST - suffix.len()))
}

fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_but_harmless_names_are_taken() {
        for name in ["transactions", "drop\"; --", "Ünïcode 名前", "a'b"] {
            assert!(check_pipeline(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_that_would_break_streams_are_refused_with_the_reason() {
        for name in ["", "  ", "a.b", "a\nb", &"x".repeat(64)] {
            assert!(check_pipeline(name).unwrap_err().detail.is_some(), "{name:?}");
        }
    }

    #[test]
    fn made_names_fit_and_keep_characters_whole() {
        let long = "é".repeat(31);
        assert!(with_suffix(&long, "_rejects").len() <= LONGEST);
        assert!(with_suffix(&long, "_rejects").ends_with("_rejects"));
        assert!(channel(&long).len() <= LONGEST);
    }
}
