//! Executing guest code.
#![no_main]

#[path = "../execution.rs"]
mod execution;

use execution::{Bench, Program};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(program) = Program::from_bytes(bytes) {
        let mut bench = Bench::new();
        bench.execute(&program);
        bench.assert_intact();
    }
});
