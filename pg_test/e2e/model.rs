//! Random walks of eight workers over three consumers (ordered, pool, keyed) against a small model of what consumers are.
//!
//! The model is pure: it knows positions, leases and tokens, and nothing of SQL. Each step is drawn from a seed, so that a walk that
//! fails is walked again with `MODEL_SEED`; `MODEL_STEPS` (4000) makes it longer. Workers crash (their transaction rolls back, or they
//! forget what they had), lose replies (the server did it, they do not know), and leases run out at random, as if the clock jumped.

use crate::server::{Preload, Server, land, note, url};
use crate::sql::{Session, quote};
use std::collections::{BTreeMap, HashMap};

const WORKERS: usize = 8;
const CONSUMERS: [(&str, u32, usize); 3] = [("ordered", 1, 1), ("pool", 1, 3), ("keyed", 3, 1)];

/// Numbers from a seed: the walk must be the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Leased { token: String, worker: usize, late: bool },
    Open,
    Closed,
}

/// A delivery: a chunk for a slot of a consumer (slot 0 where there are no slots).
#[derive(Clone, Debug)]
struct Delivery {
    state: State,
    attempt: u32,
    acks: u32,
    acked_by: Option<String>,
}

#[derive(Default)]
struct Model {
    chunks: u64,
    /// By consumer, then slot and chunk.
    deliveries: HashMap<usize, BTreeMap<(u32, u64), Delivery>>,
    /// Where each slot of a consumer begins: chunks before are closed by an operator's word.
    from: HashMap<usize, u64>,
    /// Tokens that were good once and must not be again.
    stale: Vec<(usize, u64, String)>,
}

impl Model {
    fn slots(consumer: usize) -> Vec<u32> {
        if CONSUMERS[consumer].1 == 1 { vec![0] } else { (1..=CONSUMERS[consumer].1).collect() }
    }

    fn held(&self, consumer: usize, worker: usize) -> Option<(u32, u64)> {
        let mine = |d: &Delivery| matches!(&d.state, State::Leased { worker: w, .. } if *w == worker);
        self.deliveries[&consumer].iter().find(|(_, d)| mine(d)).map(|(key, _)| *key)
    }

    /// What a worker may be given now.
    fn choices(&self, consumer: usize, worker: usize) -> Vec<(u32, u64)> {
        let all = &self.deliveries[&consumer];
        let of = |key: &(u32, u64)| all.get(key).map(|d| &d.state);
        let running = all.values().filter(|d| matches!(d.state, State::Leased { late: false, .. })).count();
        let most = CONSUMERS[consumer].2;
        let mut out = Vec::new();
        for slot in Model::slots(consumer) {
            for chunk in self.from[&consumer]..=self.chunks {
                match of(&(slot, chunk)) {
                    Some(State::Closed) => continue,
                    Some(State::Leased { worker: w, late, .. }) => {
                        if *w == worker || *late {
                            out.push((slot, chunk));
                        }
                    }
                    _ if most > 1 && running >= most => {}
                    _ => out.push((slot, chunk)),
                }
                if most == 1 {
                    // In order: nothing behind what is open.
                    break;
                }
            }
        }
        out
    }
}

struct Walk {
    model: Model,
    dice: Dice,
    workers: Vec<Session>,
    operator: Session,
    landing: std::path::PathBuf,
    counts: BTreeMap<&'static str, u32>,
    /// What each worker believes to hold.
    believes: Vec<Option<(usize, u64, String)>>,
}

impl Walk {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn create(&mut self, consumer: usize) {
        let (name, slots, in_flight) = CONSUMERS[consumer];
        let mode = match name {
            "pool" => format!("mode => 'pool', max_in_flight => {in_flight}"),
            "keyed" => format!("mode => 'keyed', slots => {slots}, key => 'id'"),
            _ => "mode => 'ordered'".into(),
        };
        let after = self.operator.number(&format!(
            "SELECT millrace.create_consumer('s', '{name}', start_at => '{}', {mode}, lease => '1 hour', max_attempts => 1000000)",
            if self.dice.below(2) == 0 { "earliest" } else { "latest" }
        ));
        self.model.from.insert(consumer, after as u64 + 1);
        self.model.deliveries.insert(consumer, BTreeMap::new());
    }

    /// All tokens of a consumer's deliveries from a chunk on are good for nothing from now on.
    fn spoil(&mut self, consumer: usize, from: u64) {
        for ((_, chunk), delivery) in &self.model.deliveries[&consumer] {
            let token = match &delivery.state {
                State::Leased { token, .. } => Some(token.clone()),
                _ if *chunk >= from => delivery.acked_by.clone(),
                _ => None,
            };
            self.model.stale.extend(token.map(|t| (consumer, *chunk, t)));
        }
    }

    fn seal(&mut self) {
        self.model.chunks += 1;
        let n = self.model.chunks;
        land(&self.landing, &format!("{n:06}.csv"), format!("id\n{n}1\n{n}2\n{n}3\n").as_bytes());
        self.operator.execute("CALL millrace.run('s')");
        self.count("sealed");
    }

    fn next(&mut self, consumer: usize, worker: usize) {
        let name = CONSUMERS[consumer].0;
        let call = format!(
            "SELECT chunk_no, token, attempt, COALESCE(slot, 0) FROM millrace.next_chunk('s', '{name}', worker => 'w{worker}')"
        );
        let crash = self.dice.below(12);
        if crash == 0 {
            // It dies before its claim is committed: as if it had never asked.
            self.workers[worker].execute("BEGIN");
            self.workers[worker].rows(&call);
            self.workers[worker].execute("ROLLBACK");
            self.count("claims undone");
            return;
        }
        let choices = self.model.choices(consumer, worker);
        let held = self.model.held(consumer, worker);
        let Some(row) = self.workers[worker].rows(&call).into_iter().next() else {
            if !choices.is_empty() {
                let shown = self.operator.lines(&format!(
                    "SELECT to_jsonb(c) FROM millrace.consumers c WHERE consumer = '{name}'
                      UNION ALL SELECT to_jsonb(d) - 'history' FROM millrace.deliveries d WHERE consumer = '{name}' AND state NOT IN ('acked', 'skipped')"
                ));
                panic!("{name}: nothing for w{worker}, though {choices:?} are open:\n{}", shown.join("\n"));
            }
            return;
        };
        let field = |i: usize| row[i].clone().unwrap();
        let (chunk, token, attempt, slot): (u64, String, u32, u32) =
            (field(0).parse().unwrap(), field(1), field(2).parse().unwrap(), field(3).parse().unwrap());
        assert!(
            choices.contains(&(slot, chunk)),
            "{name}: chunk {chunk} of slot {slot} for w{worker}, which may have {choices:?}"
        );
        if let Some(held) = held {
            let late = matches!(&self.model.deliveries[&consumer][&held].state, State::Leased { late: true, .. });
            assert!(late || held == (slot, chunk), "{name}: w{worker} holds {held:?} and got {:?}", (slot, chunk));
        }
        let deliveries = self.model.deliveries.get_mut(&consumer).unwrap();
        let before = deliveries.get(&(slot, chunk)).cloned();
        let (expected, same) = match &before {
            Some(Delivery { state: State::Leased { token, worker: w, late }, attempt, .. }) if *w == worker => {
                (*attempt + u32::from(*late), Some(token.clone()))
            }
            Some(d) => (d.attempt + 1, None),
            None => (1, None),
        };
        assert_eq!(attempt, expected, "{name}: attempt of {before:?}");
        match (same, &before) {
            (Some(same), _) => assert_eq!(token, same, "{name}: one's own lease keeps its token"),
            (None, Some(Delivery { state: State::Leased { token: old, .. }, .. })) => {
                assert_ne!(&token, old, "{name}: a takeover makes a new token");
                self.model.stale.push((consumer, chunk, old.clone()));
            }
            _ => {}
        }
        let acks = before.as_ref().map_or(0, |d| d.acks);
        deliveries.insert(
            (slot, chunk),
            Delivery {
                state: State::Leased { token: token.clone(), worker, late: false },
                attempt,
                acks,
                acked_by: None,
            },
        );
        self.count("handed out");
        // A lost reply: the server has leased the chunk, the worker does not know.
        self.believes[worker] = (crash != 1).then_some((consumer, chunk, token));
    }

    fn key_of(&self, consumer: usize, chunk: u64, token: &str) -> Option<(u32, u64)> {
        let good = |d: &Delivery| matches!(&d.state, State::Leased { token: t, .. } if t == token);
        self.model.deliveries[&consumer].iter().find(|(key, d)| key.1 == chunk && good(d)).map(|(key, _)| *key)
    }

    fn answer(&mut self, worker: usize) {
        let Some((consumer, chunk, token)) = self.believes[worker].clone() else { return };
        let name = CONSUMERS[consumer].0;
        let how = ["ack", "ack", "ack", "nack", "release", "extend"][self.dice.below(6)];
        let more = if how == "nack" { ", delay => '0'" } else { "" };
        let call = format!("SELECT millrace.{how}('s', '{name}', {chunk}, {}{more})", quote(&token));
        let session = &mut self.workers[worker];
        if self.dice.below(10) == 0 {
            // It dies at work: its answer rolls back with the work.
            session.execute("BEGIN");
            let _ = session.try_value(&call);
            session.execute("ROLLBACK");
            self.believes[worker] = None;
            self.count("answers undone");
            return;
        }
        let said = attempt(session, &call);
        let Some(key) = self.key_of(consumer, chunk, &token) else {
            self.refused_or_repeated(consumer, chunk, &token, how, said);
            self.believes[worker] = None;
            return;
        };
        assert!(said.is_ok(), "{name}: a good token was refused: {said:?}");
        let delivery = self.model.deliveries.get_mut(&consumer).unwrap().get_mut(&key).unwrap();
        match how {
            "ack" => {
                delivery.state = State::Closed;
                delivery.acks += 1;
                delivery.acked_by = Some(token.clone());
                assert_eq!(delivery.acks, 1, "{name}: chunk {chunk} was acked twice");
                // A lost reply is answered again; only this very token may say so.
                if self.dice.below(3) == 0 {
                    assert_eq!(self.workers[worker].value(&call), "already_acked");
                }
            }
            "nack" => delivery.state = State::Open,
            "release" => {
                delivery.state = State::Open;
                delivery.attempt -= 1;
            }
            _ => {
                if let State::Leased { late, .. } = &mut delivery.state {
                    *late = false;
                }
            }
        }
        if how != "extend" {
            self.believes[worker] = None;
        }
        self.count(how);
    }

    fn refused_or_repeated(
        &mut self,
        consumer: usize,
        chunk: u64,
        token: &str,
        how: &str,
        said: Result<String, postgres::Error>,
    ) {
        let acked = self.model.deliveries[&consumer]
            .iter()
            .any(|(k, d)| k.1 == chunk && d.acked_by.as_deref() == Some(token) && d.state == State::Closed);
        match said {
            Ok(said) => {
                assert!(acked && how == "ack" && said == "already_acked", "a stale token was good for {how}: {said}")
            }
            Err(e) => {
                let state = e.as_db_error().map(|d| d.code().code().to_string()).unwrap_or_default();
                assert!(["MR001", "MR002"].contains(&state.as_str()), "{how} with a stale token: {e:?}");
            }
        }
        self.count("stale answers");
    }

    fn zombie(&mut self, worker: usize) {
        if self.model.stale.is_empty() {
            return;
        }
        let recent = self.model.stale.len().min(40);
        let at = self.model.stale.len() - 1 - self.dice.below(recent);
        let (consumer, chunk, token) = self.model.stale[at].clone();
        let how = ["ack", "nack", "release", "extend"][self.dice.below(4)];
        let call = format!("SELECT millrace.{how}('s', '{}', {chunk}, {})", CONSUMERS[consumer].0, quote(&token));
        let said = attempt(&mut self.workers[worker], &call);
        assert!(said.is_err(), "{}: a zombie's {how} of chunk {chunk} was taken: {said:?}", CONSUMERS[consumer].0);
        self.count("zombies refused");
    }

    fn lapse(&mut self, consumer: usize) {
        let leased: Vec<(u32, u64)> = (self.model.deliveries[&consumer].iter())
            .filter(|(_, d)| matches!(d.state, State::Leased { .. }))
            .map(|(key, _)| *key)
            .collect();
        if leased.is_empty() {
            return;
        }
        let key = leased[self.dice.below(leased.len())];
        self.operator.execute(&format!(
            "UPDATE millrace.delivery d SET lease_until = clock_timestamp() - interval '1 hour' FROM millrace.consumer c
              WHERE c.id = d.consumer_id AND c.name = '{}' AND COALESCE(c.slot, 0) = {} AND d.chunk_no = {}",
            CONSUMERS[consumer].0, key.0, key.1
        ));
        let delivery = self.model.deliveries.get_mut(&consumer).unwrap().get_mut(&key).unwrap();
        if let State::Leased { late, .. } = &mut delivery.state {
            *late = true;
        }
        self.count("leases ran out");
    }

    fn seek(&mut self, consumer: usize) {
        let back = self.dice.below(12) as u64;
        let to = (self.model.chunks + 1).saturating_sub(back).max(1);
        self.spoil(consumer, to);
        self.operator.execute(&format!("SELECT millrace.seek('s', '{}', {to}, force => true)", CONSUMERS[consumer].0));
        let deliveries = self.model.deliveries.get_mut(&consumer).unwrap();
        deliveries.retain(|key, d| key.1 < to && d.state == State::Closed);
        self.model.from.insert(consumer, to);
        self.count("seeks");
    }

    fn drop_and_create(&mut self, consumer: usize) {
        self.spoil(consumer, 0);
        let name = CONSUMERS[consumer].0;
        self.operator.execute(&format!("SELECT millrace.drop_consumer('s', '{name}', force => true)"));
        self.create(consumer);
        self.count("drops");
    }

    /// The position that the server shows is the model's.
    fn compare(&mut self, consumer: usize) {
        let all = &self.model.deliveries[&consumer];
        let closed = |slot: u32, chunk: u64| all.get(&(slot, chunk)).is_some_and(|d| d.state == State::Closed);
        let through = (Model::slots(consumer).into_iter())
            .map(|slot| {
                (self.model.from[&consumer]..=self.model.chunks)
                    .find(|n| !closed(slot, *n))
                    .map_or(self.model.chunks, |n| n - 1)
            })
            .min()
            .unwrap_or(0);
        let shown = self.operator.number(&format!(
            "SELECT acked_through FROM millrace.consumers WHERE consumer = '{}'",
            CONSUMERS[consumer].0
        ));
        assert_eq!(shown as u64, through, "{}: position", CONSUMERS[consumer].0);
    }

    fn step(&mut self) {
        let (consumer, worker) = (self.dice.below(CONSUMERS.len()), self.dice.below(WORKERS));
        match self.dice.below(1000) {
            0..40 => self.seal(),
            40..440 => self.next(consumer, worker),
            440..800 => self.answer(worker),
            800..880 => self.lapse(consumer),
            880..960 => self.zombie(worker),
            960..990 => self.compare(consumer),
            990..997 => self.seek(consumer),
            _ => self.drop_and_create(consumer),
        }
    }
}

/// A call that may be refused. The error arrives before the server has rolled back and let go of its locks; the next answer does not.
fn attempt(session: &mut Session, call: &str) -> Result<String, postgres::Error> {
    let said = session.try_value(call);
    if said.is_err() {
        session.execute("SELECT 1");
    }
    said
}

#[test]
fn random_walks_of_workers_never_leave_the_model() {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let steps = number("MODEL_STEPS").unwrap_or(4_000);
    let seed = number("MODEL_SEED").unwrap_or_else(|| u64::from(std::process::id()) * 7_919 + 1);
    println!("seed {seed}, {steps} steps; MODEL_SEED={seed} walks it again");
    let server = Server::shared(Preload::No);
    let mut operator = server.create_database("model");
    let landing = server.create_dir("model_landing");
    operator.execute(&format!(
        "CREATE SCHEMA staging; ALTER DATABASE model SET synchronous_commit = off;
         SELECT millrace.create_pipeline('s', source => '{}/*.csv', columns => 'id int', staging => 'staging.s', every => NULL)",
        url(&landing)
    ));
    let workers = (0..WORKERS).map(|_| server.session("model")).collect();
    let operator = server.session("model");
    let believes = vec![None; WORKERS];
    let mut walk = Walk {
        model: Model::default(),
        dice: Dice(seed.wrapping_mul(2) | 1),
        workers,
        operator,
        landing,
        counts: BTreeMap::new(),
        believes,
    };
    walk.seal();
    for consumer in 0..CONSUMERS.len() {
        walk.create(consumer);
    }
    for step in 0..steps {
        if step % 1_000 == 999 {
            for consumer in 0..CONSUMERS.len() {
                walk.compare(consumer);
            }
        }
        walk.step();
    }
    note(&format!("model: seed {seed}, {steps} steps: {:?}", walk.counts));
}
