//! Which workers run, in shared memory: a slot each. Only a hint for starting and waking them; the tables are the truth.
//!
//! Needs preload. When any process that may hold a lock here is killed, Postgres restarts all of them and this memory with
//! them, so a slot never outlives its worker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use pgrx::lwlock::PgLwLock;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;
use pgrx::{pg_shmem_init, pg_sys};

const SLOTS: usize = 128;
/// A worker that has not reported for duty after this long never will.
const START_GRACE_MS: u64 = 30_000;

/// Longer than DROP DATABASE waits for other sessions (5 seconds).
const LEAVE_MS: u64 = 10_000;

/// What a worker is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duty {
    pub database: u32,
    /// 0 = the database's own worker.
    pub pipeline: i32,
}

#[derive(Clone, Copy)]
struct Slot {
    used: bool,
    duty: Duty,
    /// 0 until the worker has started.
    pid: i32,
    claimed_at: u64,
}

#[derive(Clone, Copy)]
struct Board {
    launcher: i32,
    /// A database that is about to be dropped, and until when nobody starts a worker there.
    leaving: u32,
    leaving_until: u64,
    slots: [Slot; SLOTS],
}

const EMPTY: Slot = Slot { used: false, duty: Duty { database: 0, pipeline: 0 }, pid: 0, claimed_at: 0 };

// SAFETY: plain numbers, no pointers; shared only behind the lock.
unsafe impl PGRXSharedMemory for Board {}

// SAFETY: the name is this extension's alone.
static BOARD: PgLwLock<Board> = unsafe { PgLwLock::new(c"pg_millrace_board") };
static READY: AtomicBool = AtomicBool::new(false);

/// Asks for the memory. Only in the postmaster, while it preloads.
pub fn request() {
    pg_shmem_init!(BOARD = Board { launcher: 0, leaving: 0, leaving_until: 0, slots: [EMPTY; SLOTS] });
    READY.store(true, Ordering::Relaxed);
}

/// True if the server preloaded us: without, there are no workers.
pub fn is_ready() -> bool {
    READY.load(Ordering::Relaxed)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// What came of asking for a slot.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    Slot(usize),
    Running,
    /// The database is about to be dropped.
    Leaving,
    Full,
}

/// Takes a slot for a worker about to be started, unless one with that duty runs or starts already.
pub fn claim(duty: Duty, limit: usize) -> Claim {
    let now = now_ms();
    let mut board = BOARD.exclusive();
    for slot in board.slots.iter_mut() {
        if slot.used && slot.pid == 0 && now.saturating_sub(slot.claimed_at) > START_GRACE_MS {
            *slot = EMPTY;
        }
    }
    if board.leaving == duty.database && now < board.leaving_until {
        return Claim::Leaving;
    }
    if board.slots.iter().any(|s| s.used && s.duty == duty) {
        return Claim::Running;
    }
    match board.slots.iter().take(limit.min(SLOTS)).position(|s| !s.used) {
        Some(free) => {
            board.slots[free] = Slot { used: true, duty, pid: 0, claimed_at: now };
            Claim::Slot(free)
        }
        None => Claim::Full,
    }
}

/// Gives back a slot whose worker could not be started.
pub fn release(slot: usize) {
    BOARD.exclusive().slots[slot] = EMPTY;
}

/// Called first by a started worker: notes its process, and that the slot is free when the process ends, however it ends.
/// `None` when the slot was given up meanwhile.
pub fn report_for_duty(slot: usize) -> Option<Duty> {
    // SAFETY: reads a process-wide value.
    let me = unsafe { pg_sys::MyProcPid };
    let duty = {
        let mut board = BOARD.exclusive();
        let entry = board.slots.get_mut(slot)?;
        if !entry.used || entry.pid != 0 {
            return None;
        }
        entry.pid = me;
        entry.duty
    };
    // SAFETY: the callback is a static function; its argument is a plain number.
    unsafe { pg_sys::before_shmem_exit(Some(leave), pg_sys::Datum::from(slot)) };
    Some(duty)
}

#[pg_guard]
unsafe extern "C-unwind" fn leave(_code: i32, slot: pg_sys::Datum) {
    release(slot.value());
}

/// The process ids of the workers of a database; with `pipeline`, only that one's.
pub fn pids(database: u32, pipeline: Option<i32>) -> Vec<i32> {
    let board = BOARD.share();
    let wanted = |d: &Duty| d.database == database && pipeline.is_none_or(|p| d.pipeline == p);
    board.slots.iter().filter(|s| s.used && s.pid != 0 && wanted(&s.duty)).map(|s| s.pid).collect()
}

/// Keeps new workers out of a database that is about to be dropped, for as long as DROP DATABASE may wait; gives the processes there.
pub fn vacate(database: u32) -> Vec<i32> {
    {
        let mut board = BOARD.exclusive();
        board.leaving = database;
        board.leaving_until = now_ms() + LEAVE_MS;
    }
    pids(database, None)
}

pub fn set_launcher(pid: i32) {
    BOARD.exclusive().launcher = pid;
}

pub fn launcher() -> i32 {
    BOARD.share().launcher
}
