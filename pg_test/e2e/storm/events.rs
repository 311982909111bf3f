//! What the storm does, a kind at a time.

use super::world::{DATABASE, World};
use crate::lake;
use crate::relay::{Harm, Mood};
use crate::server::signal;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    KillWorker,
    KillDatabaseWorker,
    KillLauncher,
    KillBackend,
    KillAnyProcess,
    KillPostmaster,
    StopImmediate,
    StopFast,
    TerminateAny,
    CancelAny,
    AzuriteKill,
    AzuriteRestart,
    NetStall,
    NetReset,
    NetUnanswered,
    Net429,
    Net500,
    Net503,
    NetDoneYetBusy,
    NetTruncated,
    NetTooLong,
    NetTooShort,
    DiskOfDataFull,
    DiskOfLakeFull,
    ConsumerRemade,
    StagingIndex,
    StagingColumn,
    VacuumFull,
    Reindex,
    LockTimeout,
    ClockStep,
    SecondWriter,
    PauseAndResume,
}

use Kind::*;

/// The kills come in each round.
pub const KILLS: [Kind; 8] = [
    KillWorker,
    KillDatabaseWorker,
    KillLauncher,
    KillBackend,
    KillAnyProcess,
    KillPostmaster,
    StopImmediate,
    StopFast,
];

pub const OTHERS: [Kind; 25] = [
    TerminateAny,
    CancelAny,
    AzuriteKill,
    AzuriteRestart,
    NetStall,
    NetReset,
    NetUnanswered,
    Net429,
    Net500,
    Net503,
    NetDoneYetBusy,
    NetTruncated,
    NetTooLong,
    NetTooShort,
    DiskOfDataFull,
    DiskOfLakeFull,
    ConsumerRemade,
    StagingIndex,
    StagingColumn,
    VacuumFull,
    Reindex,
    LockTimeout,
    ClockStep,
    SecondWriter,
    PauseAndResume,
];

fn short(dice: &mut ChaCha8Rng) -> Duration {
    Duration::from_millis(dice.random_range(200..900))
}

/// Does it; false where it did not come to pass.
pub fn strike(world: &World, kind: Kind, dice: &mut ChaCha8Rng) -> bool {
    match kind {
        KillWorker => kill(world, "backend_type = 'pg_millrace pipeline'", dice),
        KillDatabaseWorker => kill(world, "backend_type = 'pg_millrace database'", dice),
        KillLauncher => kill(world, "backend_type = 'pg_millrace launcher'", dice),
        KillBackend => kill(world, &format!("backend_type = 'client backend' AND datname = '{DATABASE}'"), dice),
        KillAnyProcess => kill(world, "true", dice),
        KillPostmaster => restart(world, |world| {
            // Its startup process would hold on for a minute, in Postgres' own wait for a checkpointer that is gone.
            drop(world.session());
            world.server.kill()
        }),
        StopImmediate => restart(world, |world| world.server.stop_immediate()),
        StopFast => restart(world, |world| {
            // Postgres 15 itself never ends if it is asked to while it recovers from the death of a process.
            drop(world.session());
            world.server.stop_fast()
        }),
        TerminateAny => tell(world, "pg_terminate_backend"),
        CancelAny => tell(world, "pg_cancel_backend"),
        AzuriteKill => azurite(world, true),
        AzuriteRestart => azurite(world, false),
        NetStall => harm(world, Harm::Stall, 3, dice),
        NetReset => harm(world, Harm::Reset, 2, dice),
        NetUnanswered => harm(world, Harm::Unanswered, 3, dice),
        Net429 => harm(world, Harm::Status(429), 2, dice),
        Net500 => harm(world, Harm::Status(500), 2, dice),
        Net503 => harm(world, Harm::Status(503), 2, dice),
        NetDoneYetBusy => harm(world, Harm::DoneYetBusy, 3, dice),
        NetTruncated => harm(world, Harm::HalfBody, 2, dice),
        NetTooLong => harm(world, Harm::TooLong, 2, dice),
        NetTooShort => harm(world, Harm::TooShort, 3, dice),
        DiskOfDataFull => world.mounted && fill(world, &world.server.dir().join("data"), dice),
        DiskOfLakeFull => world.mounted && fill(world, &world.lake, dice),
        ConsumerRemade => remake(world),
        StagingIndex => {
            let on =
                ["staging.sales (account)", "staging.accounts (tier)", "staging.shop (n)"][dice.random_range(0..3)];
            run(world, &format!("CREATE INDEX storm_index ON {on}; DROP INDEX staging.storm_index"))
        }
        StagingColumn => run(
            world,
            "ALTER TABLE staging.sales ADD COLUMN IF NOT EXISTS storm_column int DEFAULT 7; SELECT pg_sleep(0.3);
             ALTER TABLE staging.sales DROP COLUMN IF EXISTS storm_column",
        ),
        VacuumFull => {
            let of = [
                "staging.sales",
                "staging.accounts",
                "millrace.file",
                "millrace.chunk",
                "millrace.delivery",
                "millrace.publication",
            ];
            run(world, &format!("VACUUM FULL {}", of[dice.random_range(0..of.len())]))
        }
        Reindex => {
            let of = ["TABLE staging.sales", "TABLE staging.accounts", "SCHEMA millrace"][dice.random_range(0..3)];
            run(world, &format!("REINDEX {of}"))
        }
        LockTimeout => lock(world, dice),
        ClockStep => step_clock(world, dice),
        SecondWriter => (0..3).all(|_| write_beside(world, dice)),
        PauseAndResume => run(
            world,
            "SELECT millrace.pause('sales'), millrace.pause('accounts'); SELECT pg_sleep(0.2);
             SELECT millrace.resume('sales'), millrace.resume('accounts')",
        ),
    }
}

/// Statements of an operator, each a transaction of its own; a lock that does not come is no reason to wait for ever.
fn run(world: &World, sql: &str) -> bool {
    let Ok(mut session) = world.try_session() else { return false };
    let mut all = session.try_execute("SET lock_timeout = '10s'").is_ok();
    for statement in sql.split(';') {
        all &= session.try_execute(statement).is_ok();
    }
    all
}

fn kill(world: &World, who: &str, dice: &mut ChaCha8Rng) -> bool {
    let Ok(mut session) = world.server.try_session("postgres") else { return false };
    let found = session
        .try_rows(&format!("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {who} ORDER BY pid"));
    let pids: Vec<u32> =
        found.unwrap_or_default().into_iter().flatten().flatten().filter_map(|p| p.parse().ok()).collect();
    if pids.is_empty() {
        return false;
    }
    signal("KILL", pids[dice.random_range(0..pids.len())]);
    // The postmaster needs a moment to notice, and then ends all sessions.
    let deadline = Instant::now() + Duration::from_secs(10);
    while session.try_value("SELECT 1").is_ok() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

fn restart(world: &World, end: fn(&World) -> Duration) -> bool {
    if !world.server.is_running() {
        return false;
    }
    end(world);
    world.server.start();
    true
}

fn tell(world: &World, what: &str) -> bool {
    let victims = format!(
        "SELECT count({what}(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = '{DATABASE}'
           ORDER BY random() LIMIT 2) a"
    );
    world.server.try_session("postgres").is_ok_and(|mut s| s.try_value(&victims).is_ok_and(|n| n != "0"))
}

/// Azurite goes, and comes back. A write that it has answered is on its disk only some seconds later, which no real storage would dare: a
/// kill waits until that is so, behind a relay that has let go of everybody.
fn azurite(world: &World, kill: bool) -> bool {
    let _nobody = world.storage.write().unwrap();
    let mut azurite = world.azurite.lock().unwrap();
    world.relay.is(Mood::Always(Harm::Reset));
    if kill {
        let (since, deadline) = (SystemTime::now(), Instant::now() + Duration::from_secs(6));
        while Instant::now() < deadline && !azurite.is_saved_since(since) {
            std::thread::sleep(Duration::from_millis(50));
        }
        azurite.kill();
    } else {
        azurite.stop();
    }
    azurite.restart();
    world.relay.is(Mood::Fine);
    true
}

fn harm(world: &World, harm: Harm, of: u64, dice: &mut ChaCha8Rng) -> bool {
    let before = world.relay.harmed();
    world.relay.is(Mood::Sometimes(harm, of));
    let deadline = Instant::now() + Duration::from_secs(3);
    std::thread::sleep(short(dice));
    while world.relay.harmed() == before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    world.relay.is(Mood::Fine);
    world.relay.harmed() > before
}

/// Not a byte is left for a while.
fn fill(world: &World, dir: &Path, dice: &mut ChaCha8Rng) -> bool {
    use std::io::Write;
    let ballast = dir.join("ballast");
    let zeros = vec![0; 1 << 20];
    let mut file = std::fs::File::create(&ballast).unwrap();
    let mut size = zeros.len();
    while size > 0 {
        if file.write_all(&zeros[..size]).is_err() {
            size /= 2;
        }
    }
    std::thread::sleep(short(dice));
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    world.revive();
    true
}

fn remake(world: &World) -> bool {
    let before = world.remade.load(Ordering::Relaxed);
    world.remake.store(true, Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.remade.load(Ordering::Relaxed) == before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    world.remade.load(Ordering::Relaxed) > before
}

/// Somebody holds a table for longer than anybody is willing to wait.
fn lock(world: &World, dice: &mut ChaCha8Rng) -> bool {
    let of = [
        "staging.sales",
        "staging.accounts",
        "staging.shop",
        "millrace.chunk",
        "millrace.file",
        "millrace.delivery",
        "millrace.position",
    ];
    let table = of[dice.random_range(0..of.len())];
    let Ok(mut session) = world.try_session() else { return false };
    let lowered = ["ALTER SYSTEM SET lock_timeout = '50ms'", "SELECT pg_reload_conf()"];
    let mut done = lowered.iter().all(|sql| session.try_execute(sql).is_ok());
    let seconds = short(dice).as_secs_f64();
    done &= session
        .try_execute(&format!(
            "SET lock_timeout = '10s'; BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT"
        ))
        .is_ok();
    // By a session that is there: the one above may have died.
    let mut session = world.session();
    for sql in ["ALTER SYSTEM RESET lock_timeout", "SELECT pg_reload_conf()"] {
        done &= session.try_execute(sql).is_ok();
    }
    done
}

fn step_clock(world: &World, dice: &mut ChaCha8Rng) -> bool {
    let Some(clock) = &world.clock else { return false };
    for _ in 0..2 {
        clock.is_off_by(dice.random_range(-20..=20));
        std::thread::sleep(short(dice));
    }
    clock.is_off_by(0);
    true
}

/// Another application commits to one of our tables, at whatever version is next.
fn write_beside(world: &World, dice: &mut ChaCha8Rng) -> bool {
    let tables = ["sales/raw", "sales/semi", "sales/by_account", "accounts/raw", "accounts/semi", "accounts/by_tier"];
    let log = format!("{}/_delta_log", tables[dice.random_range(0..tables.len())]);
    let azurite = world.azurite.lock().unwrap();
    let last =
        lake::list(&azurite, &log).iter().filter_map(|name| name.strip_suffix(".json")?.parse::<u64>().ok()).max();
    let Some(last) = last else { return false };
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    (last + 1..last + 20).any(|version| {
        let lines = format!(
            "{{\"commitInfo\":{{\"timestamp\":{now},\"operation\":\"MANUAL UPDATE\",\"engineInfo\":\"somebody else\"}}}}\n\
             {{\"txn\":{{\"appId\":\"somebody else\",\"version\":{version},\"lastUpdated\":{now}}}}}\n"
        );
        lake::put_new(&azurite, &format!("{log}/{version:020}.json"), lines.as_bytes())
    })
}
