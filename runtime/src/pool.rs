//! A small pool of threads for work that is cut beforehand: the one place of this crate with
//! `unsafe`.
//!
//! Each worker has a slot of its own. To hand out work the owner writes a job into the slots it
//! needs and flips their state; a worker that has nothing to do spins for a while and then parks.
//! The owner works too, and leaves only when every worker it called has finished: that barrier is
//! what lets workers use data that lives on the owner's stack.
#![allow(
    unsafe_code,
    reason = "threads that outlive a call run work that does not; the barrier in `scope` keeps it alive"
)]

use std::cell::UnsafeCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a thread without work spins before it gives its core away: longer than the gap between
/// two steps of a model, shorter than anyone notices.
const SPIN: Duration = Duration::from_micros(50);

/// The owner may write the job.
const IDLE: u32 = 0;
/// The worker may read the job.
const WORK: u32 = 1;
/// As `IDLE`, and the worker sleeps.
const PARKED: u32 = 2;
/// The worker leaves.
const STOP: u32 = 3;

/// Workers that wait for parts of a job. Dropping it ends and joins them.
///
/// ```
/// let mut pool = qconfig_runtime::Pool::new(3)?;
/// let mut parts = [1, 2, 3];
/// pool.scope(&mut parts, |part| *part *= 10)?;
/// assert_eq!(parts, [10, 20, 30]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
}

/// A part of the work panicked on a worker; the other parts were done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a worker thread panicked")]
pub struct WorkerPanicked;

#[derive(Debug)]
struct Worker {
    slot: Arc<Slot>,
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Workers that have not finished their part.
    pending: AtomicUsize,
    panicked: AtomicBool,
}

/// Where one worker finds its job; on a cache line of its own (two, for the adjacent prefetch).
#[derive(Debug)]
#[repr(align(128))]
struct Slot {
    state: AtomicU32,
    job: UnsafeCell<Job>,
}

/// `call(work, part)`.
#[derive(Clone, Copy, Debug)]
struct Job {
    call: unsafe fn(*const (), *mut ()),
    work: *const (),
    part: *mut (),
}

// SAFETY: `job` is written by the owner only while `state` is not WORK, and read by the worker only
// while it is; the change of state orders one before the other. The pointers in it are used under
// the bounds of `Pool::scope` (`T: Send`, `F: Sync`).
unsafe impl Sync for Slot {}
// SAFETY: as above; nothing in a slot belongs to a thread.
unsafe impl Send for Slot {}

unsafe fn nothing(_: *const (), _: *mut ()) {}

/// # Safety
/// `work` points to an `F` and `part` to a `T` that no one else uses while this runs.
unsafe fn call<T, F: Fn(&mut T)>(work: *const (), part: *mut ()) {
    // SAFETY: the caller promises it.
    let (work, part) = unsafe { (&*work.cast::<F>(), &mut *part.cast::<T>()) };
    work(part);
}

impl Pool {
    /// A pool of that many threads, the caller's among them: one less is started.
    ///
    /// # Errors
    /// Where the system starts no more threads.
    pub fn new(threads: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut pool = Self {
            shared,
            workers: Vec::new(),
        };
        for index in 1..threads {
            let slot = Arc::new(Slot {
                state: AtomicU32::new(IDLE),
                job: UnsafeCell::new(Job {
                    call: nothing,
                    work: std::ptr::null(),
                    part: std::ptr::null_mut(),
                }),
            });
            let (shared, its_slot) = (Arc::clone(&pool.shared), Arc::clone(&slot));
            let handle = thread::Builder::new()
                .name(format!("qconfig-{index}"))
                .spawn(move || serve(&its_slot, &shared))?;
            pool.workers.push(Worker {
                slot,
                thread: handle.thread().clone(),
                handle: Some(handle),
            });
        }
        Ok(pool)
    }

    /// The caller's thread and the workers.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Does `work` once for each of `parts`, the first on the caller's thread and the next ones on
    /// a worker each; what is left over, on the caller's. Returns when all are done. Allocates
    /// nothing; a single part touches no worker.
    ///
    /// # Errors
    /// [`WorkerPanicked`]; a panic on the caller's own thread goes on from here, once the workers
    /// are done.
    pub fn scope<T, F>(&mut self, parts: &mut [T], work: F) -> Result<(), WorkerPanicked>
    where
        T: Send,
        F: Fn(&mut T) + Sync,
    {
        let count = parts.len();
        let helpers = self.workers.len().min(count.saturating_sub(1));
        if helpers == 0 {
            parts.iter_mut().for_each(work);
            return Ok(());
        }
        let base = parts.as_mut_ptr();
        self.shared.pending.store(helpers, Ordering::Relaxed);
        self.shared.panicked.store(false, Ordering::Relaxed);
        // from here on this returns, or unwinds, only when `pending` is 0
        let barrier = Barrier {
            shared: &self.shared,
        };
        for (index, worker) in self.workers.iter().take(helpers).enumerate() {
            let job = Job {
                call: call::<T, F>,
                work: (&raw const work).cast(),
                // SAFETY: `index + 1 <= helpers < count`, so it stays in the slice.
                part: unsafe { base.add(index + 1) }.cast(),
            };
            // SAFETY: `&mut self` makes this the only owner, and the barrier of the call before left
            // the slot's state IDLE or PARKED: the worker does not look at its job.
            unsafe { *worker.slot.job.get() = job };
            if worker.slot.state.swap(WORK, Ordering::AcqRel) == PARKED {
                worker.thread.unpark();
            }
        }
        for index in [0].into_iter().chain(helpers + 1..count) {
            // SAFETY: in the slice; workers have parts 1..=helpers, this thread all others, each
            // once, and `parts` is borrowed until the end of this function.
            work(unsafe { &mut *base.add(index) });
        }
        drop(barrier);
        if self.shared.panicked.load(Ordering::Relaxed) {
            return Err(WorkerPanicked);
        }
        Ok(())
    }
}

/// Waits, when dropped, until all workers have finished, even while a panic unwinds.
struct Barrier<'s> {
    shared: &'s Shared,
}

impl Drop for Barrier<'_> {
    fn drop(&mut self) {
        let done = || self.shared.pending.load(Ordering::Acquire) == 0;
        if !spin(done) {
            // more threads than cores: let them work
            while !done() {
                thread::yield_now();
            }
        }
    }
}

/// Spins until `done`, for as long as [`SPIN`]; whether it came to be.
fn spin(done: impl Fn() -> bool) -> bool {
    let mut start = None;
    loop {
        for _ in 0..64 {
            if done() {
                return true;
            }
            std::hint::spin_loop();
        }
        let now = Instant::now();
        if now.duration_since(*start.get_or_insert(now)) >= SPIN {
            return done();
        }
    }
}

/// A worker's life.
fn serve(slot: &Slot, shared: &Shared) {
    loop {
        let called = || slot.state.load(Ordering::Acquire) != IDLE;
        if !spin(called)
            && slot
                .state
                .compare_exchange(IDLE, PARKED, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        {
            // unpark may have come before, and park may return for no reason
            while slot.state.load(Ordering::Acquire) == PARKED {
                thread::park();
            }
        }
        if slot.state.load(Ordering::Acquire) != WORK {
            return;
        }
        // SAFETY: the state is WORK, so the owner has written the job and leaves it alone.
        let job = unsafe { *slot.job.get() };
        // SAFETY: `scope` made the job of an `F` and a part that is this worker's alone, and waits
        // for `pending` before either goes away.
        let result = catch_unwind(AssertUnwindSafe(|| unsafe {
            (job.call)(job.work, job.part)
        }));
        if let Err(payload) = result {
            shared.panicked.store(true, Ordering::Relaxed);
            // its drop could panic in turn
            std::mem::forget(payload);
        }
        slot.state.store(IDLE, Ordering::Relaxed);
        // orders all of the above before the owner's next look
        shared.pending.fetch_sub(1, Ordering::Release);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.slot.state.store(STOP, Ordering::Release);
            worker.thread.unpark();
        }
        for worker in &mut self.workers {
            if let Some(handle) = worker.handle.take() {
                // a worker catches what panics
                let _ = handle.join();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once_whatever_the_counts() {
        for threads in [0, 1, 2, 3, 8] {
            let mut pool = Pool::new(threads).expect("threads");
            for count in 0..20 {
                let mut parts: Vec<usize> = (0..count).collect();
                pool.scope(&mut parts, |part| *part += 100)
                    .expect("no panic");
                assert!(parts.iter().copied().eq(100..100 + count));
            }
        }
    }

    #[test]
    fn parked_workers_wake() {
        let mut pool = Pool::new(3).expect("threads");
        for _ in 0..20 {
            thread::sleep(Duration::from_micros(200));
            let mut parts = [0; 3];
            pool.scope(&mut parts, |part| *part += 1).expect("no panic");
            assert_eq!(parts, [1; 3]);
        }
    }

    #[test]
    fn many_short_jobs() {
        let mut pool = Pool::new(2).expect("threads");
        let mut parts = [0u64; 2];
        for _ in 0..20_000 {
            pool.scope(&mut parts, |part| *part += 1).expect("no panic");
        }
        assert_eq!(parts, [20_000; 2]);
    }

    #[test]
    fn a_worker_that_panics_is_told_and_serves_on() {
        let mut pool = Pool::new(3).expect("threads");
        let mut parts = [0, 1, 2];
        let fail = |part: &mut i32| assert!(*part != 2, "on purpose");
        assert_eq!(pool.scope(&mut parts, fail), Err(WorkerPanicked));
        assert_eq!(pool.scope(&mut parts, |part| *part = 7), Ok(()));
        assert_eq!(parts, [7; 3]);
    }

    #[test]
    fn a_panic_of_the_caller_waits_for_the_workers() {
        let mut pool = Pool::new(2).expect("threads");
        let mut parts = [0, 1];
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(&mut parts, |part| {
                assert!(*part != 0, "on purpose");
                thread::sleep(Duration::from_millis(5));
                *part = 5;
            })
        }));
        assert!(result.is_err());
        assert_eq!(parts, [0, 5]);
        assert_eq!(pool.scope(&mut parts, |part| *part = 7), Ok(()));
    }
}
