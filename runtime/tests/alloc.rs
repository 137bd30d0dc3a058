//! A run allocates nothing, on one thread or several.
#![allow(clippy::expect_used, reason = "tests fail by panicking")]
#![allow(unsafe_code, reason = "an allocator that counts")]
mod net;
#[allow(dead_code, reason = "shared by several tests")]
mod toy;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use qconfig_core::{DType, Isa};
use qconfig_runtime::{Plan, PlanBuilder, Session, SessionOptions, StepInfo, TensorInfo};

struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn plan() -> Plan<'static> {
    let mut builder = PlanBuilder::new();
    let info = |name| TensorInfo {
        name,
        dtype: DType::uint8,
        shape: &[50, 20],
        qparams: None,
    };
    let x = builder.tensor(info("x")).expect("a tensor");
    builder.input(x).expect("known");
    let mut last = x;
    for _ in 0..10 {
        let y = builder.tensor(info("y")).expect("a tensor");
        let inputs = [last, x];
        let step = StepInfo::new("sum", &toy::SUM, toy::OP, &inputs, y);
        builder.step(step).expect("fits");
        last = y;
    }
    builder.output(last).expect("known");
    builder.finish().expect("a plan")
}

// the one test of this file: others would allocate beside it
#[test]
fn a_run_allocates_nothing() {
    let plans = [plan(), net::plan(DType::qint8)];
    for (plan, threads) in plans
        .iter()
        .flat_map(|plan| [(plan, 1), (plan, 2), (plan, 4)])
    {
        let options = SessionOptions {
            threads,
            ..SessionOptions::with_isa(Isa::detect())
        };
        let mut session = Session::new(plan, options).expect("a session");
        // workers that are starting up allocate for themselves
        std::thread::sleep(std::time::Duration::from_millis(50));
        let before = CALLS.load(Ordering::Relaxed);
        for value in 0..100 {
            session.input_mut(0).expect("an input").fill(value);
            session.run().expect("a run");
        }
        assert_eq!(
            CALLS.load(Ordering::Relaxed) - before,
            0,
            "{threads} threads"
        );
    }
}
