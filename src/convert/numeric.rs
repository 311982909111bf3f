//! numeric: digits to base 10,000, as Postgres sends them: count, weight, sign, display scale, digits.
//!
//! With a precision, values are rounded half away from zero to the column's scale; what then has too many digits before the point
//! is left to Postgres, whose message says how many fit. So are exponents, infinities and NaN.

use super::kind::trim;

const NEGATIVE: u16 = 0x4000;

/// Longer texts are left to Postgres: it has limits that are not worth knowing here.
const MAX_DIGITS: usize = 1000;

/// With as many digits, filled up to a group of four, a value still fits 64 bits.
const FAST_DIGITS: usize = 16;

/// `limits` are precision and scale. False: undecided.
#[inline]
pub(super) fn encode(text: &[u8], limits: Option<(u16, i16)>, out: &mut Vec<u8>) -> bool {
    let (negative, number) = match trim(text) {
        [b'-', number @ ..] => (true, number),
        [b'+', number @ ..] => (false, number),
        number => (false, number),
    };
    if limits.is_some_and(|(_, scale)| scale < 0) || number.is_empty() {
        return false;
    }
    if number.len() <= FAST_DIGITS { fast(negative, number, limits, out) } else { any(negative, number, limits, out) }
}

#[inline]
fn fast(negative: bool, number: &[u8], limits: Option<(u16, i16)>, out: &mut Vec<u8>) -> bool {
    let mut value: u64 = 0;
    let mut point = None;
    for (i, &byte) in number.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + u64::from(digit);
        } else if byte == b'.' && point.is_none() {
            point = Some(i);
        } else {
            return false;
        }
    }
    let mut scale = point.map_or(0, |at| number.len() - 1 - at);
    if point.is_some() && number.len() == 1 {
        return false;
    }
    let mut shown = scale;
    if let Some((precision, limit)) = limits {
        shown = limit as usize;
        if scale > shown {
            let unit = 10u64.pow((scale - shown) as u32);
            value = (value + unit / 2) / unit;
            scale = shown;
        }
        // Digits before the point that fit; below zero where even the first digits behind it must be zeros.
        let room = i32::from(precision) - i32::from(limit) + scale as i32;
        if value > 0 && (room < 0 || 10u64.checked_pow(room as u32).is_some_and(|bound| value >= bound)) {
            return false;
        }
    }
    let fill = (4 - scale % 4) % 4;
    value *= [1, 10, 100, 1000][fill];
    let mut groups = [0u16; 5];
    let mut first = groups.len();
    while value > 0 {
        first -= 1;
        groups[first] = (value % 10_000) as u16;
        value /= 10_000;
    }
    let weight = (groups.len() - first) as i16 - 1 - ((scale + fill) / 4) as i16;
    write(negative, weight, shown as u16, &groups[first..], out);
    true
}

/// The same for a number of any length, digit by digit.
#[cold]
fn any(negative: bool, number: &[u8], limits: Option<(u16, i16)>, out: &mut Vec<u8>) -> bool {
    let point = number.iter().position(|&b| b == b'.').unwrap_or(number.len());
    let (whole, fraction) = (&number[..point], number.get(point + 1..).unwrap_or_default());
    let all_digits = whole.iter().chain(fraction).all(u8::is_ascii_digit);
    if !all_digits || number.len() > MAX_DIGITS || whole.len() + fraction.len() == 0 {
        return false;
    }
    let shown = limits.map_or(fraction.len(), |(_, scale)| scale as usize);
    let kept = fraction.len().min(shown);
    // A zero in front takes the carry, more of them make the whole part a multiple of four.
    let front = 4 + (4 - whole.len() % 4) % 4;
    let mut digits = vec![0u8; front];
    digits.extend(whole.iter().chain(&fraction[..kept]).map(|b| b - b'0'));
    if fraction.get(kept).is_some_and(|&b| b >= b'5') {
        for digit in digits.iter_mut().rev() {
            *digit = (*digit + 1) % 10;
            if *digit != 0 {
                break;
            }
        }
    }
    let before_point = front + whole.len();
    if let Some((precision, scale)) = limits
        && let Some(leading) = digits.iter().position(|&d| d != 0)
        && before_point as i64 - leading as i64 > i64::from(precision) - i64::from(scale)
    {
        return false;
    }
    digits.resize(digits.len().next_multiple_of(4), 0);
    let groups: Vec<u16> = digits
        .as_chunks::<4>()
        .0
        .iter()
        .map(|four| four.iter().fold(0, |group, &d| group * 10 + u16::from(d)))
        .collect();
    let zeros = groups.iter().take_while(|&&group| group == 0).count();
    let weight = (before_point / 4) as i16 - 1 - zeros as i16;
    write(negative, weight, shown as u16, &groups[zeros..], out);
    true
}

/// `groups` has no leading zeros; trailing ones are not sent.
#[inline]
fn write(negative: bool, weight: i16, scale: u16, groups: &[u16], out: &mut Vec<u8>) {
    let mut groups = groups;
    while let [rest @ .., 0] = groups {
        groups = rest;
    }
    // Zero has neither weight nor sign.
    let (weight, sign) = if groups.is_empty() { (0, 0) } else { (weight, if negative { NEGATIVE } else { 0 }) };
    let [n, w, s, d] = [groups.len() as u16, weight as u16, sign, scale].map(u16::to_be_bytes);
    out.extend_from_slice(&[n[0], n[1], w[0], w[1], s[0], s[1], d[0], d[1]]);
    for group in groups {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

/// From the form in which a number is sent to the short one in which it is stored, the header of its length not included (numeric.c:
/// sign, display scale and weight, then the digits). `None`: it has no such form.
pub(super) fn append_stored(sent: &[u8], out: &mut Vec<u8>) -> Option<()> {
    const SHORT: u16 = 0x8000;
    const SHORT_NEGATIVE: u16 = 0x2000;
    let (head, digits) = sent.split_first_chunk::<8>()?;
    let [_, weight, sign, scale] = std::array::from_fn(|i| u16::from_be_bytes([head[2 * i], head[2 * i + 1]]));
    if scale > 63 || !(-64..=63).contains(&(weight as i16)) {
        return None;
    }
    let negative = if sign == NEGATIVE { SHORT_NEGATIVE } else { 0 };
    out.extend_from_slice(&(SHORT | negative | scale << 7 | weight & 0x7f).to_ne_bytes());
    for digit in digits.as_chunks::<2>().0 {
        out.extend_from_slice(&u16::from_be_bytes(*digit).to_ne_bytes());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// What was sent, as Postgres would show it.
    fn shown(sent: &[u8]) -> String {
        let words: Vec<i16> = sent.as_chunks::<2>().0.iter().map(|&w| i16::from_be_bytes(w)).collect();
        let (count, weight, sign, scale, groups) =
            (words[0], words[1], words[2] as u16, words[3] as usize, &words[4..]);
        assert_eq!(groups.len(), count as usize);
        assert!(groups.iter().all(|g| (0..10_000).contains(g)));
        assert!(groups.first() != Some(&0) && groups.last() != Some(&0), "stripped of zeros");
        assert!(!groups.is_empty() || (weight == 0 && sign == 0), "one zero only");
        let group = |power: i16| usize::try_from(weight - power).ok().and_then(|i| groups.get(i)).copied().unwrap_or(0);
        let whole: String = (0..=weight.max(0)).rev().map(|power| format!("{:04}", group(power))).collect();
        let fraction: String = (1..=scale.div_ceil(4) as i16).map(|power| format!("{:04}", group(-power))).collect();
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let sign = if sign == NEGATIVE { "-" } else { "" };
        if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{}", &fraction[..scale]) }
    }

    fn of(text: &str, limits: Option<(u16, i16)>) -> Option<String> {
        let mut out = Vec::new();
        encode(text.as_bytes(), limits, &mut out).then(|| shown(&out))
    }

    #[test]
    fn the_bytes_are_those_that_postgres_sends() {
        let mut out = Vec::new();
        assert!(encode(b"-12345.670", None, &mut out));
        assert_eq!(out, [0, 3, 0, 1, 0x40, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x2c]);
    }

    #[test]
    fn without_precision_the_written_scale_is_kept() {
        for text in [
            "2.50",
            "0.00",
            "0",
            "1000000",
            "0.000012",
            "-7",
            "10000.0001",
            "99999999.99999999",
            "123456789012345678901.5",
        ] {
            assert_eq!(of(text, None).as_deref(), Some(text));
        }
        for (text, value) in [(".5", "0.5"), ("5.", "5"), (" +007.10 ", "7.10"), ("-0.0", "0.0"), ("-.5", "-0.5")] {
            assert_eq!(of(text, None).as_deref(), Some(value), "{text}");
        }
    }

    #[test]
    fn with_precision_values_are_rounded_half_away_from_zero() {
        for (text, value) in [
            ("2.345", "2.35"),
            ("-2.345", "-2.35"),
            ("2.344999999999999999999", "2.34"),
            ("2.345000000000000000000", "2.35"),
            ("5", "5.00"),
            ("0.004", "0.00"),
            ("-0.004", "0.00"),
            ("0.995", "1.00"),
        ] {
            assert_eq!(of(text, Some((5, 2))).as_deref(), Some(value), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_the_precision_is_left_to_postgres() {
        assert_eq!(of("999.994", Some((5, 2))).as_deref(), Some("999.99"));
        for text in ["999.995", "1000", "-1000.00", "1000.0000000000000000"] {
            assert_eq!(of(text, Some((5, 2))), None, "{text}");
        }
        assert_eq!(of("0.0099", Some((2, 4))).as_deref(), Some("0.0099"));
        assert_eq!(of("0.01", Some((2, 4))), None);
        assert_eq!(of("0.00995", Some((2, 4))), None);
    }

    #[test]
    fn odd_forms_are_left_to_postgres() {
        for text in ["", "-", ".", "-.", "1e5", "NaN", "inf", "1,5", "1.2.3", "0x1", "1 2", "12345678901234567.8.9"] {
            assert_eq!(of(text, None), None, "{text}");
        }
        assert_eq!(of("150", Some((3, -2))), None);
    }

    /// Schoolbook rounding on the text itself.
    fn reference(negative: bool, whole: &str, fraction: &str, limits: Option<(u16, i16)>) -> Option<String> {
        let mut digits: Vec<u8> = format!("0{whole}").into_bytes();
        let mut scale = fraction.len();
        digits.extend(fraction.bytes());
        if let Some((_, limit)) = limits {
            let limit = limit as usize;
            if limit < scale {
                let up = digits[digits.len() - scale + limit] >= b'5';
                digits.truncate(digits.len() - scale + limit);
                let nines = digits.iter().rev().take_while(|&&d| up && d == b'9').count();
                let last = digits.len() - nines;
                digits[last..].fill(b'0');
                digits[last - 1] += u8::from(up);
            } else {
                digits.resize(digits.len() + limit - scale, b'0');
            }
            scale = limit;
        }
        let text = String::from_utf8(digits).unwrap();
        let significant = text.trim_start_matches('0').len();
        if limits.is_some_and(|(precision, _)| significant > usize::from(precision)) {
            return None;
        }
        let (whole, fraction) = text.split_at(text.len() - scale);
        let whole = whole.trim_start_matches('0');
        let sign = if negative && significant > 0 { "-" } else { "" };
        let point = if scale > 0 { "." } else { "" };
        Some(format!("{sign}{}{point}{fraction}", if whole.is_empty() { "0" } else { whole }))
    }

    #[test]
    fn random_numbers_are_what_schoolbook_arithmetic_makes_of_them() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for _ in 0..20_000 {
            let length = if rng.random_bool(0.8) { 9 } else { 40 };
            let mut digits = |max: usize| -> String {
                let n = rng.random_range(0..=max);
                // Zeros and nines are where carries and stripping go wrong.
                (0..n).map(|_| ["0", "9", "5", "4", "1", "7"][rng.random_range(0..6)]).collect()
            };
            let (whole, fraction) = (digits(length), digits(length));
            let negative = rng.random_bool(0.5);
            let precision = rng.random_range(1..30);
            let limits = rng.random_bool(0.5).then(|| (precision, rng.random_range(0..=precision as i16 + 3)));
            let text = format!("{}{whole}.{fraction}", if negative { "-" } else { "" });
            let expected =
                (whole.len() + fraction.len() > 0).then(|| reference(negative, &whole, &fraction, limits)).flatten();
            assert_eq!(of(&text, limits), expected, "{text} {limits:?}");
        }
    }
}
