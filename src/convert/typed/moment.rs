//! Days and instants. Postgres' calendar is narrower than Arrow's: what lies outside is left to it, whose message says so.

use crate::convert::kind::Kind;

/// Days and microseconds between Arrow's epoch (1970-01-01) and Postgres' (2000-01-01).
const EPOCH_DAYS: i64 = 10_957;
const MICROS_PER_DAY: i64 = 86_400_000_000;
const EPOCH_MICROS: i64 = EPOCH_DAYS * MICROS_PER_DAY;

/// From 4714-11-24 BC on: dates up to the year 5874897, timestamps up to 294276 (datatype/timestamp.h).
const DAYS: std::ops::Range<i64> = -2_451_545..2_145_031_949;
const MICROS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// Days since 1970.
pub(super) fn date(kind: &Kind, days: i32, out: &mut Vec<u8>) -> bool {
    let days = i64::from(days) - EPOCH_DAYS;
    match kind {
        Kind::Date => put_day(days, out),
        Kind::Timestamp | Kind::TimestampTz { utc: true } => {
            days.checked_mul(MICROS_PER_DAY).is_some_and(|micros| put_micros(micros, out))
        }
        _ => false,
    }
}

/// Microseconds since 1970. What a clock on a wall said becomes an instant only where the session's zone is UTC; an instant becomes
/// what a clock in UTC said.
pub(super) fn timestamp(kind: &Kind, micros: i64, utc: bool, out: &mut Vec<u8>) -> bool {
    let Some(micros) = micros.checked_sub(EPOCH_MICROS) else { return false };
    match kind {
        Kind::Timestamp => put_micros(micros, out),
        Kind::TimestampTz { utc: session } if utc || *session => put_micros(micros, out),
        Kind::Date => put_day(micros.div_euclid(MICROS_PER_DAY), out),
        _ => false,
    }
}

fn put_day(days: i64, out: &mut Vec<u8>) -> bool {
    let fits = DAYS.contains(&days);
    if fits {
        out.extend_from_slice(&(days as i32).to_be_bytes());
    }
    fits
}

fn put_micros(micros: i64, out: &mut Vec<u8>) -> bool {
    let fits = MICROS.contains(&micros);
    if fits {
        out.extend_from_slice(&micros.to_be_bytes());
    }
    fits
}
