//! Data that looks like the real thing, for demos, tests and benchmarks: the same [`Plan`] gives the same bytes on every machine.
//!
//! A generator makes events and a writer makes text of them; another file format is another writer. Only integer arithmetic and
//! plain products decide about values: functions such as `exp` differ between platforms.

mod catalog;
mod csv;
mod draw;
mod json;
mod population;
mod shop_events;
mod transactions;

use serde::{Deserialize, Serialize};

pub use csv::csv;
pub use json::json;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Card payments as in BankSim: few merchants with most of the business, a little fraud with large amounts.
    Transactions,
    /// What visitors of a web shop look at, put in their carts and buy.
    ShopEvents,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Transactions, Kind::ShopEvents];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Transactions => "transactions",
            Kind::ShopEvents => "shop_events",
        }
    }

    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One file of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub kind: Kind,
    pub rows: u64,
    /// Fixes the whole series: its customers, products, and every file.
    pub seed: u64,
    /// Which file of the series. Ids of events are never shared by two files of a series.
    pub file_index: u64,
    /// Time of the first event, in microseconds since 1970-01-01 UTC.
    pub start: i64,
    /// The time over which the events are spread, in microseconds.
    pub span: i64,
    /// The share of rows that are broken in one way or another. The others are the same with and without.
    pub bad_ratio: f64,
}

impl Plan {
    /// One second of events, none of them broken.
    pub fn new(kind: Kind, rows: u64, seed: u64, file_index: u64, start: i64) -> Plan {
        Plan { kind, rows, seed, file_index, start, span: 1_000_000, bad_ratio: 0.0 }
    }
}

#[cfg(test)]
mod tests;
