//! A saved plan: read, and run where it is small. What changes bytes keeps the header right, as the
//! checksum would refuse every change otherwise.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use qconfig::runtime::{Plan, Session, SessionOptions};
use qconfig::{Isa, Kernel, backends};

/// Most bytes of a session that is run.
const MEMORY: usize = 64 << 20;
/// Most of what a step may have to do, as output bytes times bytes of its weights.
const WORK: usize = 1 << 30;
const HEADER: usize = 64;

fn kernel(name: &str) -> Option<&'static Kernel> {
    let mut found = backends::ALL.iter().filter_map(|b| b.kernel_named(name));
    found.next().or_else(|| qconfig::kernels::glue(name))
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(plan) = Plan::from_bytes(bytes, kernel) else {
        return;
    };
    let work = plan.steps().iter().map(|step| {
        let output = plan
            .tensor(step.output())
            .map_or(0, |output| output.bytes());
        output.saturating_mul(step.blob_bytes())
    });
    if work.fold(0, usize::saturating_add) > WORK {
        return;
    }
    // the best instruction set, and the reference
    for isa in [Isa::detect(), Isa::SCALAR] {
        let options = SessionOptions {
            memory_limit: MEMORY,
            ..SessionOptions::with_isa(isa)
        };
        let Ok(mut session) = Session::new(&plan, options) else {
            return;
        };
        let mut at = 0;
        while let Ok(input) = session.input_mut(at) {
            for (at, byte) in input.iter_mut().enumerate() {
                *byte = (at * 37 % 256) as u8;
            }
            at += 1;
        }
        let _ = session.run();
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let tables = table_length(&data[..size]);
    let Some(tables) = tables.filter(|_| max_size > HEADER) else {
        return fuzzer_mutate(data, size, max_size);
    };
    let start = (HEADER + tables).next_multiple_of(64);
    let (mut table, mut blobs) = (
        data[HEADER..HEADER + tables].to_vec(),
        data[start.min(size)..size].to_vec(),
    );
    let room = max_size - HEADER;
    // the tables more often: most of the rules are theirs
    if seed % 4 != 0 || blobs.is_empty() {
        let most = room.saturating_sub(blobs.len() + 64).max(table.len());
        mutate(&mut table, most);
    } else {
        let most = room.saturating_sub(table.len() + 64).max(blobs.len());
        mutate(&mut blobs, most);
    }
    let start = (HEADER + table.len()).next_multiple_of(64);
    let mut plan = data[..HEADER].to_vec();
    plan.extend_from_slice(&table);
    plan.resize(start, 0);
    plan.extend_from_slice(&blobs);
    plan.truncate(max_size);
    let length = plan.len();
    for (at, value) in [
        (16, length),
        (24, table.len()),
        (32, start),
        (40, length.saturating_sub(start)),
    ] {
        plan[at..at + 8].copy_from_slice(&(value as u64).to_le_bytes());
    }
    let sum = crc32fast::hash(&plan[16..]);
    plan[12..16].copy_from_slice(&sum.to_le_bytes());
    data[..length].copy_from_slice(&plan);
    length
});

/// Of bytes that look like a plan.
fn table_length(bytes: &[u8]) -> Option<usize> {
    let field = bytes.get(24..32)?.try_into().ok()?;
    let tables = usize::try_from(u64::from_le_bytes(field)).ok()?;
    let whole = bytes.starts_with(b"QCFGPLAN") && HEADER.checked_add(tables)? <= bytes.len();
    whole.then_some(tables)
}

fn mutate(part: &mut Vec<u8>, most: usize) {
    let size = part.len();
    part.resize(most, 0);
    let size = fuzzer_mutate(part, size, most);
    part.truncate(size);
}
