//! Sums of Postgres' numerics as whole numbers of a scale: exact, or not made at all.
//!
//! Promise: a sum has the value and shows the digits that Postgres' own sum of the same values does. What doesn't fit, and what is
//! no number (NaN, infinity), is refused.

use std::cmp::Ordering;

/// A number: `units` divided by ten to the `scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exact {
    pub units: i128,
    pub scale: u32,
}

/// Digits of one place of a stored numeric.
const PLACE: i32 = 4;

impl Exact {
    pub fn whole(units: i64) -> Exact {
        Exact { units: units.into(), scale: 0 }
    }

    /// From a numeric as Postgres stores it, without the header of its length. `None`: it doesn't fit, or is no number.
    pub fn from_stored(bytes: &[u8]) -> Option<Exact> {
        let Stored { negative, scale, weight, places } = Stored::read(bytes)?;
        let mut exponent = PLACE * (weight + 1) + scale as i32;
        let mut units: i128 = 0;
        for place in places.chunks_exact(2) {
            exponent -= PLACE;
            let digit = i16::from_ne_bytes([place[0], place[1]]);
            let part = if exponent >= 0 {
                i128::from(digit).checked_mul(power(exponent as u32)?)?
            } else {
                // A place has four digits; those behind the scale are zeros.
                i128::from(10i16.checked_pow(exponent.unsigned_abs()).map_or(0, |power| digit / power))
            };
            units = units.checked_add(part)?;
        }
        Some(Exact { units: if negative { -units } else { units }, scale })
    }

    /// The sum, with as many digits as the summand that has more.
    pub fn plus(self, other: Exact) -> Option<Exact> {
        let scale = self.scale.max(other.scale);
        let at = |n: Exact| if n.scale == scale { Some(n.units) } else { n.units.checked_mul(power(scale - n.scale)?) };
        Some(Exact { units: at(self)?.checked_add(at(other)?)?, scale })
    }

    /// As Postgres writes it.
    pub fn text(self) -> String {
        let digits = format!("{:0>width$}", self.units.unsigned_abs(), width = self.scale as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - self.scale as usize);
        let sign = if self.units < 0 { "-" } else { "" };
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }
}

/// A numeric as it is stored.
struct Stored<'a> {
    negative: bool,
    scale: u32,
    weight: i32,
    /// Two bytes each; the first and the last are not 0.
    places: &'a [u8],
}

impl Stored<'_> {
    #[inline]
    fn read(bytes: &[u8]) -> Option<Stored<'_>> {
        let short = |at: usize| Some(i16::from_ne_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let head = short(0)? as u16;
        let (negative, scale, weight, places) = match head & 0xC000 {
            0xC000 => return None,
            0x8000 => {
                let weight = i32::from(head & 0x3F) - if head & 0x40 != 0 { 0x40 } else { 0 };
                (head & 0x2000 != 0, (head & 0x1F80) >> 7, weight, 2)
            }
            sign => (sign == 0x4000, head & 0x3FFF, i32::from(short(2)?), 4),
        };
        Some(Stored { negative, scale: scale.into(), weight, places: bytes.get(places..)? })
    }

    fn digits(&self) -> impl Iterator<Item = i16> {
        self.places.chunks_exact(2).map(|pair| i16::from_ne_bytes([pair[0], pair[1]]))
    }
}

/// The order of two numerics as Postgres stores them, without the headers of their lengths. `None`: one is no number.
pub fn compare_stored(one: &[u8], other: &[u8]) -> Option<Ordering> {
    let (one, other) = (Stored::read(one)?, Stored::read(other)?);
    let sign = |n: &Stored| if n.places.is_empty() { 0 } else { 1 - 2 * i32::from(n.negative) };
    let by_sign = sign(&one).cmp(&sign(&other));
    if by_sign != Ordering::Equal || one.places.is_empty() {
        return Some(by_sign);
    }
    let by_size = one.weight.cmp(&other.weight).then_with(|| one.digits().cmp(other.digits()));
    Some(if one.negative { by_size.reverse() } else { by_size })
}

fn power(exponent: u32) -> Option<i128> {
    if exponent < 19 { Some(10i64.pow(exponent).into()) } else { 10i128.checked_pow(exponent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A numeric in its short form.
    fn stored(negative: bool, scale: u16, weight: i16, places: &[i16]) -> Vec<u8> {
        let head = 0x8000 | if negative { 0x2000 } else { 0 } | scale << 7 | (weight as u16 & 0x7F);
        let words = std::iter::once(head as i16).chain(places.iter().copied());
        words.flat_map(i16::to_ne_bytes).collect()
    }

    fn long(sign: u16, scale: u16, weight: i16, places: &[i16]) -> Vec<u8> {
        let words = [(sign | scale) as i16, weight].into_iter().chain(places.iter().copied());
        words.flat_map(i16::to_ne_bytes).collect()
    }

    #[test]
    fn stored_numbers_are_read_with_their_digits() {
        let text = |bytes: &[u8]| Exact::from_stored(bytes).map(Exact::text);
        assert_eq!(text(&stored(false, 2, 0, &[12, 3400])).unwrap(), "12.34");
        assert_eq!(text(&stored(true, 4, -1, &[5])).unwrap(), "-0.0005");
        assert_eq!(text(&stored(false, 3, 0, &[])).unwrap(), "0.000");
        assert_eq!(text(&stored(false, 0, 2, &[7])).unwrap(), "700000000");
        assert_eq!(text(&long(0x4000, 2, 1, &[1, 2, 300])).unwrap(), "-10002.03");
    }

    #[test]
    fn what_is_no_number_or_too_large_is_refused() {
        for head in [0xC000u16, 0xD000, 0xF000] {
            assert_eq!(Exact::from_stored(&head.to_ne_bytes()), None);
        }
        assert_eq!(Exact::from_stored(&long(0, 0, 12, &[1])), None);
        assert_eq!(Exact::from_stored(&[0]), None);
        let most = Exact { units: i128::MAX, scale: 0 };
        assert_eq!(most.plus(Exact::whole(1)), None);
        assert_eq!(most.plus(Exact { units: 1, scale: 1 }), None);
    }

    #[test]
    fn stored_numbers_are_in_the_order_of_their_values() {
        let ascending = [
            long(0x4000, 0, 20, &[1]),
            stored(true, 2, 1, &[1, 0, 5]),
            stored(true, 2, 0, &[12, 3400]),
            stored(true, 0, 0, &[12]),
            stored(true, 8, -2, &[5]),
            stored(false, 0, 0, &[]),
            stored(false, 8, -2, &[5]),
            stored(false, 8, -1, &[5]),
            stored(false, 0, 0, &[12]),
            stored(false, 2, 0, &[12, 3400]),
            stored(false, 2, 1, &[1, 0, 5]),
            long(0, 70, 1, &[1, 1]),
        ];
        for (i, one) in ascending.iter().enumerate() {
            for (j, other) in ascending.iter().enumerate() {
                assert_eq!(compare_stored(one, other), Some(i.cmp(&j)), "{i} and {j}");
            }
        }
        let same = |one: &[u8], other: &[u8]| compare_stored(one, other) == Some(Ordering::Equal);
        assert!(same(&stored(false, 2, 0, &[7]), &long(0, 70, 0, &[7])), "digits that are shown do not count");
        assert!(same(&stored(false, 2, 0, &[]), &stored(false, 0, 0, &[])));
        assert_eq!(compare_stored(&0xC000u16.to_ne_bytes(), &stored(false, 0, 0, &[1])), None);
    }

    #[test]
    fn a_sum_shows_the_digits_of_the_summand_that_has_most() {
        let sum = Exact { units: 15, scale: 1 }.plus(Exact { units: 500, scale: 3 }).unwrap();
        assert_eq!(sum.text(), "2.000");
        assert_eq!(Exact::whole(-3).plus(sum).unwrap().text(), "-1.000");
    }
}
