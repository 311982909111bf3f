//! What each pipeline is doing right now, in shared memory: a slot for each process that runs one.
//!
//! Promises: writing costs a few stores and no lock, so that reading threads may count as they go; a slot is free again when its
//! process ends, however it ends. Only for people to look at: nothing is decided by it. Without preload what is written is seen by
//! its own process alone.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use pgrx::lwlock::PgLwLock;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;
use pgrx::{pg_shmem_init, pg_sys};

use crate::pg::{databases, transaction};

const SLOTS: usize = 256;

/// What a process is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Waiting,
    Listing,
    Reading,
    Landing,
    Loading,
    Publishing,
}

const PHASES: [Phase; 6] =
    [Phase::Waiting, Phase::Listing, Phase::Reading, Phase::Landing, Phase::Loading, Phase::Publishing];

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Listing => "listing",
            Phase::Reading => "reading",
            Phase::Landing => "landing",
            Phase::Loading => "loading",
            Phase::Publishing => "publishing",
        }
    }

    fn of(number: u32) -> Phase {
        PHASES.get(number as usize).copied().unwrap_or(Phase::Waiting)
    }
}

/// Times are microseconds since 1970; 0 = not.
struct Slot {
    /// 0 = free.
    pid: AtomicI32,
    database: AtomicU32,
    pipeline: AtomicI32,
    phase: AtomicU32,
    phase_since: AtomicI64,
    /// Of the chunk that is being made.
    files: AtomicI64,
    files_done: AtomicI64,
    bytes: AtomicI64,
    bytes_done: AtomicI64,
    rows_done: AtomicI64,
    /// Files that are there and not loaded yet.
    backlog_files: AtomicI64,
    backlog_bytes: AtomicI64,
    /// The chunk's files are not among them: they were looked at when it was begun already.
    apart: AtomicBool,
    /// Since it last had nothing to do.
    busy_since: AtomicI64,
    busy_rows: AtomicI64,
    busy_bytes: AtomicI64,
    /// As `wait_event` numbers them; 0 = for nothing of ours.
    waits: AtomicU32,
    /// Microseconds spent on the chunk, by phase.
    spent: [AtomicI64; PHASES.len()],
}

impl Slot {
    const fn new() -> Slot {
        Slot {
            pid: AtomicI32::new(0),
            database: AtomicU32::new(0),
            pipeline: AtomicI32::new(0),
            phase: AtomicU32::new(0),
            phase_since: AtomicI64::new(0),
            files: AtomicI64::new(0),
            files_done: AtomicI64::new(0),
            bytes: AtomicI64::new(0),
            bytes_done: AtomicI64::new(0),
            rows_done: AtomicI64::new(0),
            backlog_files: AtomicI64::new(0),
            backlog_bytes: AtomicI64::new(0),
            apart: AtomicBool::new(false),
            busy_since: AtomicI64::new(0),
            busy_rows: AtomicI64::new(0),
            busy_bytes: AtomicI64::new(0),
            waits: AtomicU32::new(0),
            spent: [const { AtomicI64::new(0) }; PHASES.len()],
        }
    }

    fn clear_chunk(&self) {
        for counter in [&self.files, &self.files_done, &self.bytes, &self.bytes_done, &self.rows_done] {
            counter.store(0, Relaxed);
        }
        self.apart.store(false, Relaxed);
        self.spent.iter().for_each(|s| s.store(0, Relaxed));
    }
}

struct Board([Slot; SLOTS]);

// SAFETY: atomic numbers, no pointers.
unsafe impl PGRXSharedMemory for Board {}

// SAFETY: the name is this extension's alone.
static BOARD: PgLwLock<Board> = unsafe { PgLwLock::new(c"pg_millrace_progress") };
static READY: AtomicBool = AtomicBool::new(false);

/// Where a process writes that has no place on the board.
static NOWHERE: Slot = Slot::new();
/// This process's slot, once it has one.
static MINE: OnceLock<&'static Slot> = OnceLock::new();

thread_local! {
    /// The name of the pipeline that a worker is at, for pg_stat_activity.
    static NAME: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Asks for the memory. Only in the postmaster, while it preloads.
pub fn request() {
    pg_shmem_init!(BOARD = Board([const { Slot::new() }; SLOTS]));
    READY.store(true, Relaxed);
}

fn board() -> Option<&'static [Slot; SLOTS]> {
    if !READY.load(Relaxed) {
        return None;
    }
    let guard = BOARD.share();
    let slots: *const [Slot; SLOTS] = &raw const guard.0;
    // SAFETY: the board stays mapped for the life of the process, nobody takes it exclusively, and all that changes in it is atomic.
    Some(unsafe { &*slots })
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}

/// May be called from any thread.
fn mine() -> &'static Slot {
    MINE.get().copied().unwrap_or(&NOWHERE)
}

fn my_pid() -> i32 {
    // SAFETY: reads a process-wide value.
    unsafe { pg_sys::MyProcPid }
}

/// Says which pipeline this process runs from now on. Takes a slot, at the first call.
pub fn begin(pipeline: i32) {
    if MINE.get().is_none()
        && let Some(slots) = board()
        && let Some(slot) = slots.iter().find(|s| s.pid.compare_exchange(0, my_pid(), Relaxed, Relaxed).is_ok())
    {
        let _ = MINE.set(slot);
        // SAFETY: the callback is a static function that takes no argument.
        unsafe { pg_sys::before_shmem_exit(Some(leave), pg_sys::Datum::from(0usize)) };
    }
    let slot = mine();
    slot.clear_chunk();
    for counter in [&slot.backlog_files, &slot.backlog_bytes, &slot.busy_since, &slot.busy_rows, &slot.busy_bytes] {
        counter.store(0, Relaxed);
    }
    slot.phase.store(Phase::Waiting as u32, Relaxed);
    slot.phase_since.store(now(), Relaxed);
    slot.database.store(databases::current(), Relaxed);
    slot.pipeline.store(pipeline, Relaxed);
}

/// This process runs no pipeline any more.
pub fn end() {
    mine().pipeline.store(0, Relaxed);
}

#[pg_guard]
unsafe extern "C-unwind" fn leave(_code: i32, _arg: pg_sys::Datum) {
    end();
    mine().pid.store(0, Relaxed);
}

/// The name that a worker shows in pg_stat_activity.
pub fn name(pipeline: &str) {
    NAME.with_borrow_mut(|name| pipeline.clone_into(name));
}

/// The server's thread turns to something else.
pub fn phase(phase: Phase) {
    let slot = mine();
    let then = slot.phase_since.swap(now(), Relaxed);
    let before = Phase::of(slot.phase.swap(phase as u32, Relaxed));
    slot.spent[before as usize].fetch_add((now() - then).max(0), Relaxed);
    if phase == Phase::Waiting {
        slot.busy_since.store(0, Relaxed);
        slot.clear_chunk();
    }
    NAME.with_borrow(|name| match (name.is_empty(), phase) {
        (true, _) => {}
        (false, Phase::Waiting) => transaction::report_activity(None),
        (false, _) => transaction::report_activity(Some(&format!("pipeline {name}: {}", phase.name()))),
    });
}

/// What this process waits for from now on.
pub(super) fn waits(number: u32) {
    mine().waits.store(number, Relaxed);
}

/// What a process waits for that runs a pipeline of this database; `None` for any other.
pub(super) fn waits_of(pid: i32) -> Option<u32> {
    let database = databases::current();
    let slot = board()?.iter().find(|s| s.pid.load(Relaxed) == pid && pid != 0)?;
    let here = slot.pipeline.load(Relaxed) != 0 && slot.database.load(Relaxed) == database;
    here.then(|| slot.waits.load(Relaxed))
}

/// What there is to do: files that are there, not loaded yet, and not those of a chunk that is begun.
pub fn backlog(files: usize, bytes: u64) {
    let slot = mine();
    slot.backlog_files.store(files as i64, Relaxed);
    slot.backlog_bytes.store(bytes as i64, Relaxed);
    slot.apart.store(slot.files.load(Relaxed) > 0, Relaxed);
}

/// A new chunk is begun, of so much.
pub fn plan(files: usize, bytes: u64) {
    let slot = mine();
    slot.files.store(files as i64, Relaxed);
    slot.bytes.store(bytes as i64, Relaxed);
    if slot.busy_since.load(Relaxed) == 0 {
        slot.busy_rows.store(0, Relaxed);
        slot.busy_bytes.store(0, Relaxed);
        slot.busy_since.store(now(), Relaxed);
    }
}

/// So much more was read. From any thread.
pub fn read(rows: u64, bytes: u64) {
    let slot = mine();
    slot.rows_done.fetch_add(rows as i64, Relaxed);
    slot.bytes_done.fetch_add(bytes as i64, Relaxed);
    slot.busy_rows.fetch_add(rows as i64, Relaxed);
    slot.busy_bytes.fetch_add(bytes as i64, Relaxed);
}

/// A file of the chunk was read to where the chunk ends. From any thread.
pub fn file_done() {
    mine().files_done.fetch_add(1, Relaxed);
}

/// Forgets the chunk that was made, or given up.
pub fn next_chunk() {
    mine().clear_chunk();
}

/// Milliseconds that the chunk has taken so far, by phase.
pub fn spent() -> Vec<(&'static str, f64)> {
    let slot = mine();
    let current = slot.phase.load(Relaxed);
    let since = slot.phase_since.load(Relaxed);
    let of = |phase: Phase| {
        let running = if phase as u32 == current { (now() - since).max(0) } else { 0 };
        (slot.spent[phase as usize].load(Relaxed) + running) as f64 / 1_000.0
    };
    let counted = [Phase::Listing, Phase::Reading, Phase::Landing, Phase::Loading];
    counted.into_iter().map(|p| (p.name(), of(p))).filter(|(_, ms)| *ms > 0.0).collect()
}

/// What a slot shows.
pub struct Shown {
    pub pid: i32,
    pub pipeline: i32,
    pub phase: &'static str,
    pub phase_since: i64,
    pub files: i64,
    pub files_done: i64,
    pub bytes: i64,
    pub bytes_done: i64,
    pub rows_done: i64,
    pub backlog_files: i64,
    pub backlog_bytes: i64,
    pub busy_since: i64,
    pub busy_rows: i64,
    pub busy_bytes: i64,
}

/// The processes of this database that run a pipeline now.
pub fn shown() -> Vec<Shown> {
    let database = databases::current();
    let here =
        |s: &&Slot| s.pid.load(Relaxed) != 0 && s.pipeline.load(Relaxed) != 0 && s.database.load(Relaxed) == database;
    let slots = board().map(|b| b.as_slice()).unwrap_or_default();
    let of_chunk = |s: &Slot, counter: &AtomicI64| if s.apart.load(Relaxed) { counter.load(Relaxed) } else { 0 };
    let show = |s: &Slot| Shown {
        pid: s.pid.load(Relaxed),
        pipeline: s.pipeline.load(Relaxed),
        phase: Phase::of(s.phase.load(Relaxed)).name(),
        phase_since: s.phase_since.load(Relaxed),
        files: s.files.load(Relaxed),
        files_done: s.files_done.load(Relaxed),
        bytes: s.bytes.load(Relaxed),
        bytes_done: s.bytes_done.load(Relaxed),
        rows_done: s.rows_done.load(Relaxed),
        backlog_files: s.backlog_files.load(Relaxed) + of_chunk(s, &s.files),
        backlog_bytes: s.backlog_bytes.load(Relaxed) + of_chunk(s, &s.bytes),
        busy_since: s.busy_since.load(Relaxed),
        busy_rows: s.busy_rows.load(Relaxed),
        busy_bytes: s.busy_bytes.load(Relaxed),
    };
    slots.iter().filter(here).map(show).collect()
}
