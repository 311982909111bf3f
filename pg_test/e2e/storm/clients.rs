//! The clients of the storm: consumers with their ledgers, and a session that calls run().
//!
//! Whatever dies under them, they connect anew under the same name and go on. Ledgers have no constraint, so that what came twice shows.

use super::world::World;
use crate::sql::{Session, quote};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub const CREATE: &str = "
    CREATE SCHEMA copy;
    CREATE TABLE copy.sales AS SELECT * FROM staging.sales WHERE false;
    CREATE TABLE copy.accounts (account int, version bigint, balance numeric(12,2), tier text);
    CREATE TABLE copy.ledger (consumer text, chunk_no bigint, rows bigint, amount numeric);
    SELECT millrace.create_consumer('sales', 'copier', max_attempts => 1000000, backoff => '100 ms');
    SELECT millrace.create_consumer('sales', 'pool', mode => 'pool', max_in_flight => 2, max_attempts => 1000000, backoff => '100 ms', lease => '3 seconds');
    SELECT millrace.create_consumer('accounts', 'mirror', max_attempts => 1000000, backoff => '100 ms', lease => '5 seconds');
    SELECT millrace.create_consumer('shop', 'outside', max_attempts => 1000000, backoff => '100 ms', lease => '5 seconds');";

/// What a consumer does with a chunk, in the transaction of its ack.
pub struct Consumer {
    pub stream: &'static str,
    pub name: &'static str,
    pub worker: &'static str,
    work: fn(i64) -> String,
}

pub const CONSUMERS: [Consumer; 4] = [
    Consumer { stream: "sales", name: "copier", worker: "copier", work: copy_sales },
    Consumer { stream: "sales", name: "pool", worker: "pool 1", work: sum_sales },
    Consumer { stream: "sales", name: "pool", worker: "pool 2", work: sum_sales },
    Consumer { stream: "accounts", name: "mirror", worker: "mirror", work: mirror_accounts },
];

fn copy_sales(chunk_no: i64) -> String {
    format!(
        "INSERT INTO copy.sales (_chunk_no, _row_no, id, account, amount, note)
             SELECT _chunk_no, _row_no, id, account, amount, note FROM millrace.chunk_rows(NULL::staging.sales, {chunk_no});
         INSERT INTO copy.ledger SELECT 'copier', {chunk_no}, count(*), sum(amount) FROM copy.sales WHERE _chunk_no = {chunk_no}"
    )
}

fn sum_sales(chunk_no: i64) -> String {
    format!(
        "INSERT INTO copy.ledger SELECT 'pool', {chunk_no}, count(*), sum(amount) FROM millrace.chunk_rows(NULL::staging.sales, {chunk_no})"
    )
}

fn mirror_accounts(chunk_no: i64) -> String {
    let rows = format!("millrace.chunk_rows(NULL::staging.accounts_changes, {chunk_no}) c");
    format!(
        "DELETE FROM copy.accounts a USING {rows} WHERE a.account = c.account;
         INSERT INTO copy.accounts SELECT account, version, balance, tier FROM {rows} WHERE _op <> 'delete';
         INSERT INTO copy.ledger SELECT 'mirror', {chunk_no}, count(*), NULL FROM {rows}"
    )
}

/// Connects, and does it again and again; what fails ends the session.
fn again_and_again(world: &World, who: &str, mut step: impl FnMut(&mut Session) -> Result<bool, postgres::Error>) {
    while !world.over.load(Ordering::Relaxed) {
        if let Ok(mut session) = world.try_session() {
            while !world.over.load(Ordering::Relaxed) {
                match step(&mut session) {
                    Ok(true) => {}
                    Ok(false) => std::thread::sleep(Duration::from_millis(20)),
                    Err(error) => {
                        judge(world, who, &error);
                        break;
                    }
                }
            }
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Errors are what a storm is made of; a bug is not.
fn judge(world: &World, who: &str, error: &postgres::Error) {
    let Some(db) = error.as_db_error() else { return };
    // Internal errors, undefined things, wrong types, data that is said to be corrupt.
    let bugs = ["XX000", "XX001", "XX002", "42P01", "42883", "42703", "22023", "MR003", "MR004"];
    if bugs.contains(&db.code().code()) {
        world.differs(format!("{who}: {}", crate::sql::explain(error)));
    }
}

impl Consumer {
    pub fn consume(&self, world: &World) {
        again_and_again(world, self.worker, |session| {
            let next = format!(
                "SELECT chunk_no, token FROM millrace.next_chunk('{}', '{}', worker => '{}')",
                self.stream, self.name, self.worker
            );
            let Some(chunk) = session.try_rows(&next)?.into_iter().next() else { return Ok(false) };
            let [Some(number), Some(token)] = chunk.as_slice() else { return Ok(false) };
            let number: i64 = number.parse().unwrap();
            session.try_execute(&format!(
                "BEGIN; {}; SELECT millrace.ack('{}', '{}', {number}, {}); COMMIT",
                (self.work)(number),
                self.stream,
                self.name,
                quote(token)
            ))?;
            Ok(true)
        });
    }
}

/// A consumer whose ledger lies outside of the database: a chunk may come again until its ack is known to have been taken, never later.
#[derive(Default)]
pub struct Outside {
    /// Rows and quantity of each chunk.
    pub ledger: BTreeMap<i64, (i64, i64)>,
    acked: i64,
}

impl Outside {
    pub fn consume(&mut self, world: &World, publish: impl Fn(&Outside)) {
        again_and_again(world, "outside", |session| {
            if world.remake.load(Ordering::Relaxed) {
                session.try_execute(&format!(
                    "BEGIN; SELECT millrace.drop_consumer('shop', 'outside', force => true);
                     SELECT millrace.create_consumer('shop', 'outside', start_at => '{}', max_attempts => 1000000, backoff => '100 ms'); COMMIT",
                    self.acked + 1
                ))?;
                world.remake.store(false, Ordering::Relaxed);
                world.remade.fetch_add(1, Ordering::Relaxed);
            }
            let next =
                "SELECT chunk_no, token, row_count FROM millrace.next_chunk('shop', 'outside', worker => 'outside')";
            let Some(chunk) = session.try_rows(next)?.into_iter().next() else { return Ok(false) };
            let [Some(number), Some(token), Some(row_count)] = chunk.as_slice() else { return Ok(false) };
            let (number, row_count): (i64, i64) = (number.parse().unwrap(), row_count.parse().unwrap());
            let last = self.ledger.keys().next_back().copied().unwrap_or(0);
            if number <= self.acked || number > last + 1 {
                world.differs(format!("outside: chunk {number} came, after {last}, acked up to {}", self.acked));
            }
            let sums = format!(
                "SELECT count(*), coalesce(sum(quantity), 0) FROM millrace.chunk_rows(NULL::staging.shop, {number})"
            );
            let sums = session.try_rows(&sums)?.pop().unwrap_or_default();
            let sums: Vec<i64> = sums.into_iter().flatten().filter_map(|n| n.parse().ok()).collect();
            let [rows, quantity] = sums[..] else { return Ok(false) };
            if rows != row_count {
                world.differs(format!("outside: chunk {number} has {rows} rows, and not {row_count}"));
            }
            if self.ledger.insert(number, (rows, quantity)).is_some_and(|before| before != (rows, quantity)) {
                world.differs(format!("outside: chunk {number} came with other rows than before"));
            }
            publish(self);
            session.try_execute(&format!("SELECT millrace.ack('shop', 'outside', {number}, {})", quote(token)))?;
            self.acked = number;
            Ok(true)
        });
    }
}

/// What pg_cron would do.
pub fn call_run(world: &World) {
    again_and_again(world, "run", |session| {
        session.try_execute("CALL millrace.run('shop')")?;
        Ok(false)
    });
}
