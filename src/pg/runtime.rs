//! The tokio runtime of this process, and waiting on it from the server's own thread.
//!
//! Promises: no signal is ever delivered to one of its threads; the server's thread polls no future, so an error or a
//! cancel unwinds our frames only; waiting answers interrupts within 20 ms. The runtime is made on first use (never
//! before a fork) and never dropped: a FATAL leaves through exit() with its threads alive.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::model::{Code, Error, Result};
use crate::pg::interrupts;
use crate::pg::wait_event::{Wait, Waiting};

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

fn runtime() -> Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = with_signals_blocked(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(8)
            .thread_name("millrace")
            .on_thread_start(block_signals)
            .enable_all()
            .build()
    })
    .map_err(|e| Error::new(Code::Io, format!("could not start threads: {e}")))?;
    Ok(RUNTIME.get_or_init(|| made))
}

struct AbortOnDrop(tokio::task::AbortHandle);
impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs `future` on the runtime's threads and waits for it, answering interrupts meanwhile.
/// The future must not touch Postgres.
pub fn wait<T, F>(future: F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    start(future)?.wait()
}

/// Work under way on the runtime's threads. Dropped, it is called off.
pub struct Task<T> {
    answer: Receiver<Result<T>>,
    guard: AbortOnDrop,
}

/// Begins to run `future`, which must not touch Postgres.
pub fn start<T, F>(future: F) -> Result<Task<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let (sender, answer) = sync_channel(1);
    let task = runtime()?.spawn(async move {
        // The receiver is gone only if the waiter was cancelled; nobody wants the answer then.
        let _ = sender.send(future.await);
    });
    Ok(Task { answer, guard: AbortOnDrop(task.abort_handle()) })
}

impl<T: Send + 'static> Task<T> {
    /// Waits for the answer, answering interrupts meanwhile.
    pub fn wait(self) -> Result<T> {
        let _waiting = Waiting::begin(Wait::Lake);
        loop {
            match self.answer.recv_timeout(Duration::from_millis(20)) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) => interrupts::check(),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(panicked());
                }
            }
        }
    }

    /// The answer, where there is one by now; else the work goes on.
    pub fn poll(self) -> std::result::Result<Result<T>, Task<T>> {
        match self.answer.try_recv() {
            Ok(answer) => Ok(answer),
            Err(TryRecvError::Empty) => Err(self),
            Err(TryRecvError::Disconnected) => Ok(Err(panicked())),
        }
    }

    /// Lets the work end by itself, and hands what it gives to `clean_up`. Nobody waits for that.
    pub fn abandon<F, C>(self, clean_up: C)
    where
        F: Future<Output = ()> + Send + 'static,
        C: FnOnce(T) -> F + Send + 'static,
    {
        let Task { answer, guard } = self;
        let Ok(runtime) = runtime() else { return };
        runtime.spawn_blocking(move || {
            let answer = answer.recv();
            drop(guard);
            if let Ok(Ok(answer)) = answer {
                runtime.block_on(clean_up(answer));
            }
        });
    }
}

/// The error for a task that ended without an answer.
pub fn panicked() -> Error {
    Error::new(Code::Internal, "a reading or writing task panicked")
        .hint("This is a bug in pg_millrace; please report it with the server log.")
}

fn all_signals() -> libc::sigset_t {
    // SAFETY: sigfillset initialises the set that it is given.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&mut set);
        set
    }
}

fn block_signals() {
    let set = all_signals();
    // SAFETY: changes the calling thread's mask alone; both pointers are valid for the call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()) };
}

/// Threads inherit the mask of the thread that makes them: block all signals while they are made.
fn with_signals_blocked<R>(f: impl FnOnce() -> R) -> R {
    let set = all_signals();
    // SAFETY: both sets live across the calls; the old mask is put back before anything else runs on this thread.
    unsafe {
        let mut old: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_SETMASK, &set, &mut old);
        let result = f();
        libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut());
        result
    }
}
