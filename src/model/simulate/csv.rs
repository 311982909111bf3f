//! Simulated events as a CSV file, header and all.

use super::draw::Draw;
use super::{Kind, Plan, shop_events, transactions};

const TRANSACTIONS: &str =
    "transaction_id,event_time,step,customer,age,gender,zipcode,merchant,category,amount,fraud\n";
const SHOP_EVENTS: &str = "event_time,event_type,product_id,category_code,brand,price,user_id,user_session\n";

/// BankSim has but one.
const ZIPCODE: &str = "28007";

/// Appends the whole file.
pub fn csv(plan: &Plan, out: &mut Vec<u8>) {
    let mut lines = Lines {
        out,
        clock: Clock::default(),
        bad_ratio: plan.bad_ratio,
        draw: Draw::new(plan.seed, 5, plan.file_index),
    };
    match plan.kind {
        Kind::Transactions => {
            lines.out.extend_from_slice(TRANSACTIONS.as_bytes());
            transactions::each(plan, |transaction| lines.transaction(&transaction));
        }
        Kind::ShopEvents => {
            lines.out.extend_from_slice(SHOP_EVENTS.as_bytes());
            shop_events::each(plan, |event| lines.shop_event(&event));
        }
    }
}

/// What is wrong with a broken row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// The amount or price is no number.
    Amount,
    /// The row stops before its last field.
    Short,
    /// A quote opens and never closes.
    Quote,
}

struct Lines<'a> {
    out: &'a mut Vec<u8>,
    clock: Clock,
    bad_ratio: f64,
    /// Apart from the events' own numbers, so that flaws change nothing in the rows that have none.
    draw: Draw,
}

impl Lines<'_> {
    fn transaction(&mut self, transaction: &transactions::Transaction) {
        let flaw = self.flaw();
        uuid(transaction.id, self.out);
        self.out.push(b',');
        self.clock.second(transaction.time, self.out);
        self.out.push(b'.');
        padded(transaction.time.rem_euclid(1_000_000) as u64, 6, self.out);
        self.out.extend_from_slice(b"+00,");
        number(transaction.step, self.out);
        let customer = transaction.customer;
        self.text(&customer.id);
        self.out.extend_from_slice(&[b',', customer.age as u8, b',', customer.gender as u8]);
        self.text(ZIPCODE);
        if flaw == Some(Flaw::Quote) {
            self.out.extend_from_slice(b",\"");
            self.out.extend_from_slice(transaction.merchant.as_bytes());
        } else {
            self.text(transaction.merchant);
        }
        self.text(transaction.category);
        self.amount(transaction.cents, flaw);
        if flaw != Some(Flaw::Short) {
            self.out.extend_from_slice(if transaction.fraud { b",1" } else { b",0" });
        }
        self.out.push(b'\n');
    }

    fn shop_event(&mut self, event: &shop_events::ShopEvent) {
        let flaw = self.flaw();
        self.clock.second(event.time, self.out);
        self.out.extend_from_slice(b" UTC");
        self.text(event.event_type.name());
        self.out.push(b',');
        number(event.product.id, self.out);
        self.text(event.product.category);
        if flaw == Some(Flaw::Quote) {
            self.out.extend_from_slice(b",\"");
            self.out.extend_from_slice(event.product.brand.as_bytes());
        } else {
            self.text(event.product.brand);
        }
        self.amount(event.product.cents, flaw);
        self.out.push(b',');
        number(event.user, self.out);
        if flaw != Some(Flaw::Short) {
            self.out.push(b',');
            uuid(event.session, self.out);
        }
        self.out.push(b'\n');
    }

    fn flaw(&mut self) -> Option<Flaw> {
        if self.bad_ratio <= 0.0 || !self.draw.chance(self.bad_ratio) {
            return None;
        }
        Some([Flaw::Amount, Flaw::Short, Flaw::Quote][self.draw.below(3) as usize])
    }

    /// A delimiter and a field that needs no quotes.
    fn text(&mut self, text: &str) {
        self.out.push(b',');
        self.out.extend_from_slice(text.as_bytes());
    }

    fn amount(&mut self, cents: u64, flaw: Option<Flaw>) {
        self.out.push(b',');
        number(cents / 100, self.out);
        self.out.push(if flaw == Some(Flaw::Amount) { b'x' } else { b'.' });
        padded(cents % 100, 2, self.out);
    }
}

/// Writes times; the text of the last second is kept, for thousands of events share it.
#[derive(Default)]
struct Clock {
    second: Option<i64>,
    text: Vec<u8>,
}

impl Clock {
    /// `YYYY-MM-DD HH:MM:SS`
    fn second(&mut self, micros: i64, out: &mut Vec<u8>) {
        let second = micros.div_euclid(1_000_000);
        if self.second != Some(second) {
            self.second = Some(second);
            let (year, month, day) = civil(second.div_euclid(86_400));
            let time = second.rem_euclid(86_400);
            self.text =
                format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60)
                    .into_bytes();
        }
        out.extend_from_slice(&self.text);
    }
}

/// The calendar date, so many days after 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    // Count from 0000-03-01: then leap days come last in their years, and 400 years are one period.
    let days = days + 719_468;
    let (period, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (year * 365 + year / 4 - year / 100);
    let month = (day * 5 + 2) / 153;
    let day = day - (month * 153 + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (period * 400 + year + next, month, day)
}

fn number(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn padded(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn uuid(value: u128, out: &mut Vec<u8>) {
    let mut text = *b"00000000-0000-0000-0000-000000000000";
    let mut at = 0;
    for byte in value.to_be_bytes() {
        if text[at] == b'-' {
            at += 1;
        }
        text[at] = b"0123456789abcdef"[usize::from(byte >> 4)];
        text[at + 1] = b"0123456789abcdef"[usize::from(byte & 15)];
        at += 2;
    }
    out.extend_from_slice(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_513, (2026, 3, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date);
        }
        let mut out = Vec::new();
        Clock::default().second(1_569_888_000_000_000, &mut out);
        assert_eq!(out, b"2019-10-01 00:00:00");
    }
}
