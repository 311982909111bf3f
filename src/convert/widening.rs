//! Which type holds every value of another: how a column grows when its source does.
//!
//! Promises: a type that is given here holds each value of those that it was asked for, to the last digit; where there is none, none is given.

use super::Kind;

/// Types of whole numbers, and the one that holds them all and fractions.
const WHOLE: [&str; 4] = ["smallint", "integer", "bigint", "numeric"];

/// The greatest value of a type of whole numbers.
pub fn most_of(kind: &Kind) -> Option<i128> {
    match kind {
        Kind::Int2 => Some(i128::from(i16::MAX)),
        Kind::Int4 => Some(i128::from(i32::MAX)),
        Kind::Int8 => Some(i128::from(i64::MAX)),
        _ => None,
    }
}

/// The type that these numbers need where one up to `most` does not hold them all; what is no number counts as nothing.
pub fn needed(values: impl Iterator<Item = impl AsRef<str>>, most: i128) -> Option<&'static str> {
    let most_needed = values.filter_map(|text| rank(text.as_ref().trim(), most)).max()?;
    WHOLE.get(most_needed).copied()
}

/// The place in [`WHOLE`] of the type that a number needs.
fn rank(text: &str, most: i128) -> Option<usize> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    if digits.contains('.') {
        return Some(3);
    }
    let value = text.parse::<i128>().unwrap_or(i128::MAX);
    if (-most - 1..=most).contains(&value) {
        return None;
    }
    let within = |most: i128| (-most - 1..=most).contains(&value);
    Some(if within(i128::from(i32::MAX)) {
        1
    } else if within(i128::from(i64::MAX)) {
        2
    } else {
        3
    })
}

fn decimal(type_name: &str) -> Option<(i32, i32)> {
    let (p, s) = type_name.strip_prefix("numeric(")?.strip_suffix(')')?.split_once(',')?;
    Some((p.parse().ok()?, s.parse().ok()?))
}

/// Digits before the point that a type of whole numbers may need.
fn digits(type_name: &str) -> Option<i32> {
    Some(match type_name {
        "smallint" => 5,
        "integer" => 10,
        "bigint" => 19,
        _ => return None,
    })
}

/// True where the column holds every value of a type as it is.
pub fn holds(kind: &Kind, type_name: &str, new: &str) -> bool {
    if type_name == new {
        return true;
    }
    match *kind {
        Kind::Text { max_chars: None } | Kind::Json | Kind::Jsonb => true,
        Kind::Int4 => new == "smallint",
        Kind::Int8 => matches!(new, "smallint" | "integer"),
        Kind::Numeric { precision: None, .. } => digits(new).is_some() || decimal(new).is_some(),
        Kind::Numeric { precision: Some(p), scale } => {
            let (p, s) = (i32::from(p), i32::from(scale));
            digits(new).is_some_and(|n| n <= p - s) || decimal(new).is_some_and(|(p2, s2)| s2 <= s && p2 - s2 <= p - s)
        }
        Kind::Float8 => matches!(new, "smallint" | "integer" | "real"),
        Kind::Float4 => new == "smallint",
        Kind::Timestamp => new == "date",
        _ => false,
    }
}

/// The type that holds what the column has and what comes, if there is one.
pub fn widened(kind: &Kind, new: &str) -> Option<String> {
    Some(match *kind {
        Kind::Int2 | Kind::Int4 | Kind::Int8 if digits(new).is_some() => new.into(),
        Kind::Int2 | Kind::Int4 | Kind::Int8 if decimal(new).is_some() => "numeric".into(),
        Kind::Int2 | Kind::Int4 if new == "double precision" => new.into(),
        Kind::Float4 if new == "double precision" => new.into(),
        Kind::Date if new == "timestamp without time zone" => new.into(),
        Kind::Numeric { precision: Some(p), scale } => {
            let (p, s) = (i32::from(p), i32::from(scale));
            let (before, behind) = digits(new).map(|n| (n, 0)).or(decimal(new).map(|(p2, s2)| (p2 - s2, s2)))?;
            let (before, behind) = (before.max(p - s), behind.max(s));
            format!("numeric({},{behind})", before + behind)
        }
        _ => return None,
    })
}

/// The type that holds what both do, where one of them or a numeric of more digits does.
pub fn of_both(one: &str, other: &str) -> Option<String> {
    if one == other {
        return Some(one.into());
    }
    let place = |type_name: &str| WHOLE.iter().position(|t| *t == type_name);
    if let (Some(one), Some(other)) = (place(one), place(other)) {
        return WHOLE.get(one.max(other)).map(|t| (*t).to_owned());
    }
    let split = |type_name: &str| digits(type_name).map(|n| (n, 0)).or(decimal(type_name).map(|(p, s)| (p - s, s)));
    if let (Some((before, behind)), Some((before2, behind2))) = (split(one), split(other)) {
        let (before, behind) = (before.max(before2), behind.max(behind2));
        return Some(format!("numeric({},{behind})", before + behind));
    }
    match (one, other) {
        ("numeric", other) if decimal(other).is_some() => Some(one.into()),
        (one, "numeric") if decimal(one).is_some() => Some(other.into()),
        ("double precision", "smallint" | "integer" | "real") => Some(one.into()),
        ("smallint" | "integer" | "real", "double precision") => Some(other.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_needs_the_smallest_type_that_holds_it() {
        let most = i128::from(i32::MAX);
        for (text, needed_type) in [
            ("2147483647", None),
            ("2147483648", Some("bigint")),
            ("-2147483649", Some("bigint")),
            ("9223372036854775808", Some("numeric")),
            ("1.5", Some("numeric")),
            ("abc", None),
            ("1e3", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(needed([text].into_iter(), most), needed_type, "{text}");
        }
        assert_eq!(needed(["7", "32768", "x"].into_iter(), i128::from(i16::MAX)), Some("integer"));
    }

    #[test]
    fn of_several_types_that_a_column_is_asked_for_the_one_that_holds_all_is_given_in_whatever_order_they_come() {
        for (one, other, both) in [
            ("integer", "bigint", Some("bigint")),
            ("bigint", "numeric", Some("numeric")),
            ("numeric(12,2)", "numeric(9,5)", Some("numeric(15,5)")),
            ("numeric(12,2)", "bigint", Some("numeric(21,2)")),
            ("numeric", "numeric(12,2)", Some("numeric")),
            ("double precision", "integer", Some("double precision")),
            ("double precision", "bigint", None),
            ("double precision", "numeric", None),
            ("date", "bigint", None),
        ] {
            assert_eq!(of_both(one, other).as_deref(), both, "{one}, {other}");
            assert_eq!(of_both(other, one).as_deref(), both, "{other}, {one}");
        }
    }

    #[test]
    fn a_column_that_holds_every_value_stays_and_one_that_can_not_grow_safely_is_given_no_type() {
        assert!(holds(&Kind::Int8, "bigint", "integer") && !holds(&Kind::Int4, "integer", "bigint"));
        assert!(holds(&Kind::Text { max_chars: None }, "text", "double precision"));
        assert_eq!(widened(&Kind::Int4, "bigint").as_deref(), Some("bigint"));
        assert_eq!(widened(&Kind::Int8, "double precision"), None);
        assert_eq!(widened(&Kind::Int4, "text"), None);
    }
}
