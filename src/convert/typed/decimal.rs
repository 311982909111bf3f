//! Decimals: digit by digit, never by way of floating point.

use crate::convert::kind::Kind;
use crate::convert::{float, numeric};
use crate::format::typed::number;

/// 39 digits, up to 38 zeros behind the point before them, point and sign.
const LONGEST: usize = 80;

pub(super) fn encode(kind: &Kind, unscaled: i128, scale: i8, out: &mut Vec<u8>) -> bool {
    let mut room = [0; LONGEST];
    let text = write(unscaled, scale, &mut room);
    match *kind {
        Kind::Numeric { precision, scale } => numeric::encode(text, precision.map(|p| (p, scale)), out),
        Kind::Text { max_chars: None } => {
            out.extend_from_slice(text);
            true
        }
        Kind::Float8 => put(text, |text| float::parse8(text).map(f64::to_be_bytes), out),
        Kind::Float4 => put(text, |text| float::parse4(text).map(f32::to_be_bytes), out),
        _ => false,
    }
}

fn put<const N: usize>(text: &[u8], parse: impl Fn(&str) -> Option<[u8; N]>, out: &mut Vec<u8>) -> bool {
    let value = std::str::from_utf8(text).ok().and_then(parse);
    super::number::put(value, out)
}

/// Every digit of the scale, which is not below zero here: [`crate::format::typed::normal`] gives no other.
fn write(unscaled: i128, scale: i8, room: &mut [u8; LONGEST]) -> &[u8] {
    let scale = usize::try_from(scale).unwrap_or(0);
    let mut at = LONGEST;
    let mut put = |byte: u8| {
        at -= 1;
        room[at] = byte;
    };
    let mut rest = unscaled.unsigned_abs();
    let mut written = 0;
    while written <= scale || rest > 0 {
        if written == scale && scale > 0 {
            put(b'.');
        }
        // Most values are far smaller than the type, and 64 bits are much faster to divide.
        let digit = match u64::try_from(rest) {
            Ok(small) => {
                rest = u128::from(small / 10);
                (small % 10) as u8
            }
            Err(_) => {
                let digit = (rest % 10) as u8;
                rest /= 10;
                digit
            }
        };
        put(b'0' + digit);
        written += 1;
    }
    if unscaled < 0 {
        put(b'-');
    }
    &room[at..]
}

/// `2.00` as `2`: a whole number, however many decimals its type has, fits an integer column.
pub(super) fn without_zeros(unscaled: i128, scale: i8) -> String {
    let text = number::decimal(unscaled, scale);
    match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|b| b == b'0') => whole.to_string(),
        _ => text,
    }
}
