//! Integers and floating point. What does not fit its column is left to the text, and so to Postgres, whose message says why.

use crate::convert::kind::Kind;
use crate::convert::numeric;

/// The longest 64-bit integer with its sign.
const DIGITS: usize = 20;

pub(super) fn int(kind: &Kind, value: i64, out: &mut Vec<u8>) -> bool {
    match *kind {
        Kind::Int2 => put(i16::try_from(value).ok().map(i16::to_be_bytes), out),
        Kind::Int4 => put(i32::try_from(value).ok().map(i32::to_be_bytes), out),
        Kind::Int8 => put(Some(value.to_be_bytes()), out),
        // One rounding, the same that reading the digits would take.
        Kind::Float8 => put(Some((value as f64).to_be_bytes()), out),
        Kind::Float4 => put(Some((value as f32).to_be_bytes()), out),
        Kind::Numeric { precision, scale } => {
            let mut digits = [0; DIGITS];
            numeric::encode(write(value, &mut digits), precision.map(|p| (p, scale)), out)
        }
        Kind::Text { max_chars: None } => {
            let mut digits = [0; DIGITS];
            out.extend_from_slice(write(value, &mut digits));
            true
        }
        _ => false,
    }
}

fn write(value: i64, digits: &mut [u8; DIGITS]) -> &[u8] {
    let mut rest = value.unsigned_abs();
    let mut at = DIGITS;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    &digits[at..]
}

pub(super) fn real(kind: &Kind, value: f32, out: &mut Vec<u8>) -> bool {
    match kind {
        Kind::Float4 => put(Some(value.to_be_bytes()), out),
        Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Float8 => double(kind, f64::from(value), out),
        _ => false,
    }
}

pub(super) fn double(kind: &Kind, value: f64, out: &mut Vec<u8>) -> bool {
    match kind {
        Kind::Float8 => put(Some(value.to_be_bytes()), out),
        Kind::Float4 => {
            let narrow = value as f32;
            // Neither infinite nor nothing where the value itself is not.
            let fits = narrow.is_infinite() == value.is_infinite() && (narrow == 0.0) == (value == 0.0);
            put(fits.then(|| narrow.to_be_bytes()), out)
        }
        Kind::Int2 | Kind::Int4 | Kind::Int8 => {
            // The bounds are powers of two, so both are exact; NaN is in no range.
            let whole =
                value.trunc() == value && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value);
            whole && int(kind, value as i64, out)
        }
        _ => false,
    }
}

pub(super) fn put<const N: usize>(value: Option<[u8; N]>, out: &mut Vec<u8>) -> bool {
    if let Some(bytes) = &value {
        out.extend_from_slice(bytes);
    }
    value.is_some()
}
