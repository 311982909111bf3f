//! Random landing files: rows with NULLs, NaN, infinities, 38 digits and equal values that are shown differently; keys that come
//! again, deletes, rows that came before, rows of an earlier time, rows that are none.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

pub const COLUMNS: &str = "id int, op text, g text, ci text COLLATE staging.folded, num numeric, wide numeric(38,10), amount numeric(12,2), n int, \
     big bigint, f double precision, flag boolean, day date, at timestamptz, who text";
const HEADER: &str = "id,op,g,ci,num,wide,amount,n,big,f,flag,day,at,who\n";

/// Few keys, so that they come again and groups empty.
const KEYS: i32 = 150;

/// What was written so far, to come again.
#[derive(Default)]
pub struct Writer {
    written: Vec<String>,
    minute: u32,
}

impl Writer {
    pub fn file(&mut self, random: &mut ChaCha8Rng) -> String {
        let mut text = HEADER.to_owned();
        self.minute += 7;
        for _ in 0..random.random_range(1..80) {
            let line = match random.random_range(0..20) {
                0 if !self.written.is_empty() => self.written[random.random_range(0..self.written.len())].clone(),
                1 => line(random, self.minute, "oops"),
                _ => line(random, self.minute, "1"),
            };
            text.push_str(&line);
            text.push('\n');
            self.written.push(line);
        }
        text + &self.always()
    }

    /// Deletes of all keys in a range: groups become empty.
    pub fn deletes(&mut self, random: &mut ChaCha8Rng) -> String {
        let mut text = HEADER.to_owned();
        self.minute += 7;
        let first = random.random_range(0..KEYS);
        for id in first..KEYS.min(first + 60) {
            text.push_str(&format!("{id},D,,,,,,,,,,,{},\n", at(self.minute)));
        }
        text + &self.always()
    }

    /// However few files there are, a row is replaced and one is rejected.
    fn always(&self) -> String {
        let at = at(self.minute);
        format!("{KEYS},U,a,one,1,1,1.00,1,5,1,true,,{at},ann\n{KEYS},U,a,one,1,1,1.00,oops,5,1,true,,{at},ann\n")
    }
}

fn at(minute: u32) -> String {
    format!("2024-01-{:02} {:02}:{:02}:00+00", 1 + minute / 1440, minute / 60 % 24, minute % 60)
}

/// `one` is what stands for 1 in column `n`.
fn line(random: &mut ChaCha8Rng, minute: u32, one: &str) -> String {
    let mut pick = |from: &[&str]| from[random.random_range(0..from.len())].to_owned();
    let op = pick(&["U", "U", "U", "U", "U", "U", "D"]);
    let g = pick(&["a", "b", "c", "d", "e", ""]);
    let ci = pick(&["one", "ONE", "One", "two", "TWO", "ß", ""]);
    let num = pick(&[
        "1.0",
        "1.00",
        "1",
        "0.1",
        "123.456",
        "-7.5",
        "NaN",
        "Infinity",
        "-Infinity",
        "",
        "12345678901234567890.123456789012345678",
    ]);
    let wide = pick(&[
        "9999999999999999999999999999.9999999999",
        "-9999999999999999999999999999.9999999999",
        "0.0000000001",
        "1",
        "",
    ]);
    let n = pick(&[one, one, "7", "21", "60", "99", ""]);
    let big = pick(&["9223372036854775807", "-9223372036854775808", "5", ""]);
    let f = pick(&["NaN", "Infinity", "-Infinity", "0", "0.25", "1.5", "-8", ""]);
    let flag = pick(&["true", "false", ""]);
    let day = pick(&["2024-02-28", "2024-02-29", "2024-03-01", ""]);
    let who = pick(&["ann", "bob", "cleo", "dan", "eve", "Eve", ""]);
    let amount = if random.random_range(0..9) == 0 {
        String::new()
    } else {
        format!("{}.{:02}", random.random_range(-5..120), random.random_range(0..100))
    };
    // Rows of an earlier time come late.
    let late = if random.random_range(0..8) == 0 { random.random_range(0..minute) } else { 0 };
    let id = random.random_range(0..KEYS);
    let at = at(minute - late);
    format!("{id},{op},{g},{ci},{num},{wide},{amount},{n},{big},{f},{flag},{day},{at},{who}")
}
