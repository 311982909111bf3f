//! What has been landed, and what must have become of it: kept beside the server, from the lines as they were written.
//!
//! Everything is drawn from a seed. Which file came to lie in which chunk, and in which order keys changed, makes no difference here.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// A file to land.
pub struct File {
    pub name: String,
    pub content: Vec<u8>,
}

/// Of a pipeline that appends: clean rows, rejected and dropped records.
#[derive(Default)]
pub struct Sales {
    pub files: i64,
    pub rows: i64,
    pub cents: i64,
    pub rejects: i64,
    pub dropped: i64,
    by_account: BTreeMap<i64, (i64, i64)>,
    next_id: i64,
}

/// Its number; balance and tier, where it is no deletion.
type Version = (i64, Option<(i64, &'static str)>);

/// Of a keyed one: the newest version of each account; a deleted one has nothing else.
#[derive(Default)]
pub struct Accounts {
    pub files: i64,
    newest: BTreeMap<i64, Version>,
    next_version: i64,
    /// Versions that were passed over, to come late.
    late: Vec<i64>,
}

#[derive(Default)]
pub struct Shop {
    pub files: i64,
    pub rows: i64,
    pub quantity: i64,
}

pub struct Truth {
    dice: ChaCha8Rng,
    pub sales: Sales,
    pub accounts: Accounts,
    pub shop: Shop,
}

const TIERS: [&str; 3] = ["gold", "iron", "wood"];

pub fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

impl Truth {
    pub fn new(dice: ChaCha8Rng) -> Truth {
        Truth { dice, sales: Sales::default(), accounts: Accounts::default(), shop: Shop::default() }
    }

    /// Counts as landed from here on: whoever asks for it lands it.
    pub fn sales_file(&mut self) -> File {
        let (dice, sales) = (&mut self.dice, &mut self.sales);
        let mut text = "id,account,amount,note\n".to_owned();
        for _ in 0..dice.random_range(1..60) {
            sales.next_id += 1;
            let (id, account, cents) = (sales.next_id, dice.random_range(1..=20), dice.random_range(1..100_000));
            let amount = money(cents);
            text += &match dice.random_range(0..20) {
                0 => {
                    sales.rejects += 1;
                    format!("{id},{account},-{amount},negative\n")
                }
                1 => {
                    sales.rejects += 1;
                    format!("{id},{account},{amount}x,\"no, number\"\n")
                }
                2 => {
                    sales.dropped += 1;
                    format!("{id},{account},{amount},drop me\n")
                }
                _ => {
                    sales.rows += 1;
                    sales.cents += cents;
                    let of_account = sales.by_account.entry(account).or_default();
                    *of_account = (of_account.0 + 1, of_account.1 + cents);
                    format!("{id},{account},{amount},\"sold, and paid\"\n")
                }
            };
        }
        sales.files += 1;
        File { name: format!("{:06}.csv", sales.files), content: text.into_bytes() }
    }

    pub fn accounts_file(&mut self) -> File {
        let (dice, accounts) = (&mut self.dice, &mut self.accounts);
        let mut text = "account,version,balance,tier,op\n".to_owned();
        for _ in 0..dice.random_range(1..30) {
            accounts.next_version += 1;
            let mut version = accounts.next_version;
            if dice.random_range(0..6) == 0 {
                accounts.late.push(version);
                continue;
            }
            if !accounts.late.is_empty() && dice.random_range(0..6) == 0 {
                version = accounts.late.swap_remove(dice.random_range(0..accounts.late.len()));
            }
            let (account, cents) = (dice.random_range(1..=40), dice.random_range(0..100_000));
            let tier = TIERS[dice.random_range(0..TIERS.len())];
            let deleted = dice.random_range(0..8) == 0;
            let (op, state) = if deleted { ("D", None) } else { ("U", Some((cents, tier))) };
            text += &format!("{account},{version},{},{tier},{op}\n", money(cents));
            let newest = accounts.newest.entry(account).or_insert((0, None));
            if version > newest.0 {
                *newest = (version, state);
            }
        }
        accounts.files += 1;
        File { name: format!("{:06}.csv", accounts.files), content: text.into_bytes() }
    }

    pub fn shop_file(&mut self) -> File {
        let (dice, shop) = (&mut self.dice, &mut self.shop);
        let mut text = String::new();
        for _ in 0..dice.random_range(1..30) {
            let quantity = dice.random_range(1..10);
            shop.rows += 1;
            shop.quantity += quantity;
            text += &format!("{{\"n\": {}, \"quantity\": {quantity}}}\n", shop.rows);
        }
        shop.files += 1;
        File { name: format!("{:06}.json", shop.files), content: text.into_bytes() }
    }
}

impl Sales {
    /// Account, rows and amount, as the aggregate has them.
    pub fn by_account(&self) -> Vec<String> {
        self.by_account.iter().map(|(account, (rows, cents))| format!("{account}|{rows}|{}", money(*cents))).collect()
    }
}

impl Accounts {
    fn present(&self) -> impl Iterator<Item = (i64, i64, i64, &'static str)> + '_ {
        self.newest.iter().filter_map(|(account, (version, state))| {
            let (cents, tier) = (*state)?;
            Some((*account, *version, cents, tier))
        })
    }

    pub fn state(&self) -> Vec<String> {
        self.present()
            .map(|(account, version, cents, tier)| format!("{account}|{version}|{}|{tier}", money(cents)))
            .collect()
    }

    pub fn by_tier(&self) -> Vec<String> {
        let mut tiers: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        for (_, _, cents, tier) in self.present() {
            let of_tier = tiers.entry(tier).or_default();
            *of_tier = (of_tier.0 + 1, of_tier.1 + cents);
        }
        tiers.iter().map(|(tier, (accounts, cents))| format!("{tier}|{accounts}|{}", money(*cents))).collect()
    }
}
