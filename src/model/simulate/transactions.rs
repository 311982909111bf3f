//! Card payments: who paid how much to whom, and whether it was fraud.

use super::Plan;
use super::draw::Draw;
use super::population::{Customer, Population};

/// BankSim's largest amount, in cents.
const MAX_CENTS: u64 = 832_996;

/// BankSim's rows per step.
const ROWS_PER_STEP: u64 = 3_304;

pub(super) struct Transaction<'a> {
    pub id: u128,
    /// Microseconds since 1970.
    pub time: i64,
    pub step: u64,
    pub customer: &'a Customer,
    pub merchant: &'static str,
    pub category: &'static str,
    pub cents: u64,
    pub fraud: bool,
}

/// Hands out the file's transactions in the order of their times.
pub(super) fn each(plan: &Plan, mut take: impl FnMut(Transaction)) {
    let population = Population::new(plan.seed);
    let mut draw = Draw::new(plan.seed, 2, plan.file_index);
    for row in 0..plan.rows {
        let customer = &population.customers[draw.below(population.customers.len() as u32) as usize];
        let (category, merchant) = population.shop(&mut draw);
        let fraud = draw.below(10_000) < category.fraud;
        let mean = category.mean[usize::from(fraud)];
        // Both have mean 1. Ordinary amounts spread evenly around it; frauds have many small and a few very large ones.
        let shape = if fraud { 4.0 * draw.unit() * draw.unit() } else { draw.unit() + draw.unit() };
        take(Transaction {
            // Files have far fewer than 2^36 rows, and a series fewer than 2^26 files.
            id: draw.uuid(plan.file_index << 36 | row),
            time: time_of(plan, row, &mut draw),
            step: plan.file_index.wrapping_mul(plan.rows).wrapping_add(row) / ROWS_PER_STEP,
            customer,
            merchant,
            category: category.name,
            cents: ((mean * shape * 100.0) as u64).min(MAX_CENTS),
            fraud,
        });
    }
}

/// Each event somewhere within its own share of the file's span.
pub(super) fn time_of(plan: &Plan, row: u64, draw: &mut Draw) -> i64 {
    let share = plan.span as f64 / plan.rows as f64;
    plan.start + ((row as f64 + draw.unit()) * share) as i64
}
