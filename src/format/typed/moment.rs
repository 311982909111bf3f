//! Days and instants as ISO text, for every value that 64 bits can hold: what lies outside of a calendar is for others to refuse.

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Of 400 years, after which the calendar begins anew.
const ERA: i64 = 146_097;

/// Days since 1970-01-01 as `YYYY-MM-DD`, with ` BC` behind years before the first.
pub fn date(days: i64) -> String {
    let (day, era) = calendar(days);
    format!("{day}{era}")
}

/// Microseconds since 1970 as `YYYY-MM-DD HH:MM:SS[.ffffff]`, with `+00` behind instants.
pub fn timestamp(micros: i64, utc: bool) -> String {
    let (day, era) = calendar(micros.div_euclid(MICROS_PER_DAY));
    format!("{day} {}{}{era}", clock(micros.rem_euclid(MICROS_PER_DAY)), if utc { "+00" } else { "" })
}

/// The same as Postgres writes it into JSON.
pub fn timestamp_json(micros: i64, utc: bool) -> String {
    let (day, era) = calendar(micros.div_euclid(MICROS_PER_DAY));
    format!("{day}T{}{}{era}", clock(micros.rem_euclid(MICROS_PER_DAY)), if utc { "+00:00" } else { "" })
}

/// Microseconds since midnight as `HH:MM:SS[.ffffff]`.
pub fn clock(micros: i64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction != 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text
}

fn calendar(days: i64) -> (String, &'static str) {
    let days = days + EPOCH;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    // Years that begin in March have their leap day at the end.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    // There is no year 0.
    let (year, suffix) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), suffix)
}
