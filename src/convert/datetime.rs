//! date, time, timestamp, timestamptz: the ISO forms, which read the same whatever DateStyle is set.
//!
//! `YYYY-MM-DD`, then optionally a blank or `T` and `HH:MM[:SS[.ffffff]]`, then optionally `Z`, ` UTC` or a numeric offset.
//! Microseconds and days since 2000-01-01, as Postgres has them.

use super::kind::trim;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Days from 0000-03-01 to 2000-01-01.
const EPOCH: i32 = 730_425;

/// What a text says. A time of its own never has a zone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub days: i32,
    /// Since midnight; `None`: only a date.
    pub time: Option<i64>,
    /// Seconds east of Greenwich, if told.
    pub offset: Option<i32>,
}

/// A zone and a time of day are passed over, as Postgres does.
pub(super) fn date(text: &[u8]) -> Option<i32> {
    moment(text).map(|moment| moment.days)
}

pub(super) fn time(text: &[u8]) -> Option<i64> {
    match clock(trim(text))? {
        (time, []) => Some(time),
        _ => None,
    }
}

/// A zone is passed over, as Postgres does.
pub(super) fn timestamp(text: &[u8]) -> Option<i64> {
    moment(text).map(local)
}

/// Without a zone the value depends on the session's, so it is known only if that is UTC.
pub(super) fn timestamptz(text: &[u8], utc: bool) -> Option<i64> {
    let moment = moment(text)?;
    match moment.offset {
        Some(offset) => Some(local(moment) - i64::from(offset) * 1_000_000),
        None if utc => Some(local(moment)),
        None => None,
    }
}

fn local(moment: Moment) -> i64 {
    i64::from(moment.days) * MICROS_PER_DAY + moment.time.unwrap_or(0)
}

#[inline]
pub(super) fn moment(text: &[u8]) -> Option<Moment> {
    let (day, rest) = trim(text).split_first_chunk::<10>()?;
    let days = calendar_day(day)?;
    let rest = match rest {
        [] => return Some(Moment { days, time: None, offset: None }),
        [b' ' | b'T', rest @ ..] => rest,
        _ => return None,
    };
    let (time, rest) = clock(rest)?;
    let offset = match rest {
        [] => None,
        b"Z" | b" UTC" => Some(0),
        [b' ', rest @ ..] | rest => Some(zone(rest)?),
    };
    Some(Moment { days, time: Some(time), offset })
}

#[inline]
fn calendar_day(text: &[u8; 10]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else { return None };
    let year = two(y1, y2)? * 100 + two(y3, y4)?;
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || day == 0 || day > length {
        return None;
    }
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    Some(year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - EPOCH)
}

/// `HH:MM[:SS[.ffffff]]` as microseconds, and what follows it.
#[inline]
fn clock(text: &[u8]) -> Option<(i64, &[u8])> {
    let [h1, h2, b':', m1, m2, rest @ ..] = text else { return None };
    let (hour, minute) = (two(*h1, *h2)?, two(*m1, *m2)?);
    let (second, micros, rest) = match rest {
        [b':', s1, s2, rest @ ..] => {
            let (micros, rest) = match rest {
                [b'.', rest @ ..] => fraction(rest)?,
                rest => (0, rest),
            };
            (two(*s1, *s2)?, micros, rest)
        }
        rest => (0, 0, rest),
    };
    // 24:00:00 and second 60 are left to Postgres.
    let known = hour < 24 && minute < 60 && second < 60;
    known.then_some((i64::from(hour * 3600 + minute * 60 + second) * 1_000_000 + micros, rest))
}

#[inline]
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    let value = digits.iter().fold(0i64, |value, b| value.wrapping_mul(10).wrapping_add(i64::from(b - b'0')));
    let micros = match length {
        1..=6 => value * 10i64.pow(6 - length as u32),
        // Postgres rounds in double precision. These numbers are exact there, so that this gives the same bits.
        7..=12 => (value as f64 / 10i64.pow(length as u32) as f64 * 1e6).round_ties_even() as i64,
        _ => return None,
    };
    (micros < 1_000_000).then_some((micros, rest))
}

/// `+HH`, `+HHMM` or `+HH:MM` as seconds east of Greenwich.
fn zone(text: &[u8]) -> Option<i32> {
    let (sign, h1, h2, minute) = match *text {
        [sign, h1, h2] => (sign, h1, h2, 0),
        [sign, h1, h2, m1, m2] | [sign, h1, h2, b':', m1, m2] => (sign, h1, h2, two(m1, m2)?),
        _ => return None,
    };
    let hour = two(h1, h2)?;
    let offset = hour * 3600 + minute * 60;
    match sign {
        _ if hour > 14 || minute > 59 => None,
        b'+' => Some(offset),
        b'-' => Some(-offset),
        _ => None,
    }
}

#[inline]
fn two(tens: u8, ones: u8) -> Option<i32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then_some(i32::from(tens) * 10 + i32::from(ones))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = MICROS_PER_DAY / 2;

    #[test]
    fn days_count_from_2000() {
        for (text, days) in [
            ("2000-01-01", 0),
            ("1999-12-31", -1),
            ("2000-03-01", 60),
            ("2001-01-01", 366),
            ("1970-01-01", -10957),
            ("0001-01-01", -730_119),
            ("9999-12-31", 2_921_939),
            (" 2010-12-01 08:26:00 ", 3987),
        ] {
            assert_eq!(date(text.as_bytes()), Some(days), "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut expected = date(b"1900-01-01").unwrap();
        for year in 1900..2300 {
            for month in 1..=12 {
                let days = (1..=31).filter_map(|day| date(format!("{year}-{month:02}-{day:02}").as_bytes()));
                for day in days {
                    assert_eq!(day, expected);
                    expected += 1;
                }
            }
        }
    }

    #[test]
    fn timestamps_take_a_blank_or_a_t_and_any_part_of_a_time() {
        for text in [
            "2000-01-02 12:00",
            "2000-01-02T12:00:00",
            "2000-01-02 12:00:00.000",
            "2000-01-02 12:00:00+05",
            "2000-01-02 12:00 UTC",
        ] {
            assert_eq!(timestamp(text.as_bytes()), Some(MICROS_PER_DAY + NOON), "{text}");
        }
        assert_eq!(timestamp(b"2000-01-01 00:00:01.05"), Some(1_050_000));
        assert_eq!(timestamp(b"1999-12-31 23:59:59.999999"), Some(-1));
        assert_eq!(timestamp(b"2000-01-01 00:00:00.123456789"), Some(123_457));
        assert_eq!(timestamp(b"2000-01-02"), Some(MICROS_PER_DAY));
    }

    #[test]
    fn a_zone_moves_a_timestamptz() {
        for text in [
            "2000-01-01 12:00:00Z",
            "2000-01-01 12:00:00 UTC",
            "2000-01-01T14:00+02",
            "2000-01-01 06:30:00 -05:30",
            "2000-01-01 06:30-0530",
        ] {
            assert_eq!(timestamptz(text.as_bytes(), false), Some(NOON), "{text}");
        }
        assert_eq!(timestamptz(b"2000-01-01 12:00", true), Some(NOON));
        assert_eq!(timestamptz(b"2000-01-01 12:00", false), None);
    }

    #[test]
    fn times_of_day_stand_alone() {
        assert_eq!(time(b" 00:01 "), Some(60_000_000));
        assert_eq!(time(b"23:59:59.999999"), Some(MICROS_PER_DAY - 1));
        for text in ["24:00:00", "1:00", "12:00 UTC", "12", "12:00:60", "2000-01-01 12:00"] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_iso_or_not_in_the_calendar_is_left_to_postgres() {
        for text in [
            "",
            "0000-01-01",
            "2001-02-29",
            "1900-02-29",
            "2001-13-01",
            "2001-00-01",
            "2001-01-00",
            "2001-04-31",
            "01-02-2003",
            "2001/01/01",
            "20010101",
            "2001-01-01x",
            "2001-01-01 8:26",
            "2001-01-01 24:00",
            "2001-01-01 12:00:60",
            "2001-01-01 12:00:00.",
            "2001-01-01 12:00:00.1234567890123",
            "2001-01-01 12:00:00.9999999",
            "2001-01-01 12:00:00 CET",
            "2001-01-01 12:00+15",
            "2001-01-01 12:00+1",
            "2001-01-01 12:00 +01:60",
            "2001-01-01 BC",
            "infinity",
            "now",
        ] {
            assert_eq!(moment(text.as_bytes()), None, "{text}");
        }
    }
}
