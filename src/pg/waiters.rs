//! Sessions that wait for a chunk, in shared memory, so that whoever commits one can wake them. Only a hint: waiters look again after a
//! while anyway. Without preload there is no such memory, and they look more often.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgrx::lwlock::PgLwLock;
use pgrx::prelude::*;
use pgrx::shmem::PGRXSharedMemory;
use pgrx::{PgXactCallbackEvent, pg_shmem_init, pg_sys, register_xact_callback};

use crate::pg::wait_event::Wait;
use crate::pg::{databases, latch};

const PLACES: usize = 256;
/// How long a waiter sleeps that nobody can wake.
const UNWOKEN: Duration = Duration::from_millis(20);

#[derive(Clone, Copy)]
struct Waiter {
    /// 0: the place is free.
    pid: i32,
    database: u32,
}

#[derive(Clone, Copy)]
struct Room {
    places: [Waiter; PLACES],
}

// SAFETY: plain numbers, no pointers; shared only behind the lock.
unsafe impl PGRXSharedMemory for Room {}

// SAFETY: the name is this extension's alone.
static ROOM: PgLwLock<Room> = unsafe { PgLwLock::new(c"pg_millrace_waiters") };
static READY: AtomicBool = AtomicBool::new(false);

/// Asks for the memory. Only in the postmaster, while it preloads.
pub fn request() {
    pg_shmem_init!(ROOM = Room { places: [Waiter { pid: 0, database: 0 }; PLACES] });
    READY.store(true, Ordering::Relaxed);
}

/// A place in the room, given back when dropped. That of a process that was ended while it slept is free to whoever needs one.
struct Place(usize);

impl Place {
    fn take() -> Option<Place> {
        // SAFETY: reads a process-wide value.
        let pid = unsafe { pg_sys::MyProcPid };
        let mut room = ROOM.exclusive();
        let places = &room.places;
        let free = (places.iter().position(|w| w.pid == pid))
            .or_else(|| places.iter().position(|w| w.pid == 0))
            .or_else(|| places.iter().position(|w| !latch::is_alive(w.pid)))?;
        room.places[free] = Waiter { pid, database: databases::current() };
        Some(Place(free))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        ROOM.exclusive().places[self.0].pid = 0;
    }
}

/// Sleeps until a chunk is committed in this database, or for so long, or for a moment where nobody can wake us. Raises when the query
/// is cancelled.
pub fn sleep(time: Duration) {
    let place = if READY.load(Ordering::Relaxed) { Place::take() } else { None };
    let time = if place.is_some() { time } else { time.min(UNWOKEN) };
    latch::sleep(Wait::Chunk, time);
}

/// Wakes the sessions that wait in this database once this transaction has committed.
pub fn wake_at_commit() {
    if READY.load(Ordering::Relaxed) {
        register_xact_callback(PgXactCallbackEvent::Commit, wake);
    }
}

fn wake() {
    let database = databases::current();
    let pids: Vec<i32> = {
        let room = ROOM.share();
        room.places.iter().filter(|w| w.pid != 0 && w.database == database).map(|w| w.pid).collect()
    };
    for pid in pids {
        latch::wake(pid);
    }
}
