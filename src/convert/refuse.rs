//! Text that is plainly no value of a type: refused here in the words of the type's own input function, without asking it.
//!
//! Promises: what is refused would be refused by Postgres, with this SQLSTATE and message. Whatever is not plain is left to Postgres,
//! whose answer costs a subtransaction; a file that is half wrong would otherwise take many times as long as a good one.

use super::kind::Kind;

/// SQLSTATE and message.
pub fn refuse(kind: &Kind, text: &str) -> Option<(&'static str, String)> {
    match kind {
        Kind::Int2 => whole(text, "smallint", i128::from(i16::MAX)),
        Kind::Int4 => whole(text, "integer", i128::from(i32::MAX)),
        Kind::Int8 => whole(text, "bigint", i128::from(i64::MAX)),
        Kind::Numeric { .. } if begins_with_a_word(text) => Some(invalid("22P02", "numeric", text)),
        Kind::Float4 if begins_with_a_word(text) => Some(invalid("22P02", "real", text)),
        Kind::Float8 if begins_with_a_word(text) => Some(invalid("22P02", "double precision", text)),
        Kind::Bool if text.starts_with(|c: char| c.is_ascii_alphabetic() && !"tTfFyYnNoO".contains(c)) => {
            Some(invalid("22P02", "boolean", text))
        }
        Kind::Uuid if text.starts_with(|c: char| c.is_ascii_alphabetic() && !c.is_ascii_hexdigit()) => {
            Some(invalid("22P02", "uuid", text))
        }
        Kind::Date if is_no_moment(text) => Some(invalid("22007", "date", text)),
        Kind::Timestamp if is_no_moment(text) => Some(invalid("22007", "timestamp", text)),
        Kind::TimestampTz { .. } if is_no_moment(text) => Some(invalid("22007", "timestamp with time zone", text)),
        _ => None,
    }
}

fn invalid(sqlstate: &'static str, type_name: &str, text: &str) -> (&'static str, String) {
    (sqlstate, format!("invalid input syntax for type {type_name}: \"{text}\""))
}

/// Digits that no type of whole numbers has too many of: behind more of them Postgres may speak of the range first.
const FEW: usize = 4;

fn whole(text: &str, type_name: &str, most: i128) -> Option<(&'static str, String)> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.is_empty() && digits.len() < 38 && digits.bytes().all(|b| b.is_ascii_digit()) {
        let value = text.parse::<i128>().ok()?;
        let fits = (-most - 1..=most).contains(&value);
        return (!fits).then(|| ("22003", format!("value \"{text}\" is out of range for type {type_name}")));
    }
    let is_word = text.bytes().any(|b| b.is_ascii_alphabetic()) && !text.contains('\0');
    // From Postgres 16 on, whole numbers are also written in hexadecimal, octal and binary.
    let has_base = digits.starts_with('0') && digits[1..].starts_with(['x', 'X', 'o', 'O', 'b', 'B']);
    (is_word && !has_base && text.bytes().filter(u8::is_ascii_digit).count() <= FEW)
        .then(|| invalid("22P02", type_name, text))
}

/// No number begins with a letter but for the words NaN and Infinity.
fn begins_with_a_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() && !"nNiI".contains(c)) && !text.contains('\0')
}

/// A single word that is none of those which stand for a moment, and too long to be part of one.
fn is_no_moment(text: &str) -> bool {
    const MOMENTS: [&str; 6] = ["now", "today", "tomorrow", "yesterday", "epoch", "infinity"];
    let is_word = !text.is_empty() && text.len() <= 40 && text.bytes().all(|b| b.is_ascii_alphabetic());
    is_word && !MOMENTS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plainly_no_value_is_refused_and_all_else_is_left_to_postgres() {
        let of = |kind: Kind, text: &str| refuse(&kind, text).map(|r| r.0);
        for (kind, text, state) in [
            (Kind::Int4, "abc", Some("22P02")),
            (Kind::Int4, "12x", Some("22P02")),
            (Kind::Int4, "-0x1F", None),
            (Kind::Int4, "0y1", Some("22P02")),
            (Kind::Int4, "99999999999x", None),
            (Kind::Int4, "2147483648", Some("22003")),
            (Kind::Int4, "2147483647", None),
            (Kind::Int8, "-9223372036854775809", Some("22003")),
            (Kind::Int4, " 7", None),
            (Kind::Int4, "", None),
            (Kind::Float8, "nan", None),
            (Kind::Float8, "x1", Some("22P02")),
            (Kind::Bool, "yes", None),
            (Kind::Bool, "maybe", Some("22P02")),
            (Kind::Date, "Tomorrow", None),
            (Kind::Date, "someday", Some("22007")),
            (Kind::Date, "2024-02-30", None),
            (Kind::Text { max_chars: None }, "abc", None),
        ] {
            assert_eq!(of(kind, text), state, "{kind:?} {text}");
        }
    }
}
