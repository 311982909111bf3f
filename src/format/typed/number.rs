//! Numbers as text: floating point with the fewest digits that give the same bits, laid out as Postgres does; decimals exactly.

/// Postgres writes exponents from 10^15 on, and from 10^6 on for real.
const DOUBLE_DIGITS: i32 = 15;
const REAL_DIGITS: i32 = 6;

pub fn double(value: f64) -> String {
    match special(value) {
        Some(text) => text.to_string(),
        None => layout(&format!("{value:e}"), DOUBLE_DIGITS),
    }
}

pub fn real(value: f32) -> String {
    match special(f64::from(value)) {
        Some(text) => text.to_string(),
        None => layout(&format!("{value:e}"), REAL_DIGITS),
    }
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        None
    }
}

/// `text` is `[-]d[.ddd]e[-]x`.
fn layout(text: &str, most: i32) -> String {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= most {
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{direction}{:02}", exponent.abs());
    }
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        return format!("{sign}{digits}{}", "0".repeat(whole - digits.len()));
    }
    format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
}

/// `unscaled` / 10^scale, with every digit of the scale.
pub fn decimal(unscaled: i128, scale: i8) -> String {
    let digits = unscaled.unsigned_abs().to_string();
    let sign = if unscaled < 0 { "-" } else { "" };
    let Ok(scale) = usize::try_from(scale) else {
        let zeros = if unscaled == 0 { 0 } else { usize::from(scale.unsigned_abs()) };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    };
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        return format!("{sign}{whole}.{fraction}");
    }
    format!("{sign}0.{}{digits}", "0".repeat(scale - digits.len()))
}
