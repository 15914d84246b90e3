//! The image layer from outside: against a flat model, against QEMU's tools, and against images
//! made to do harm.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

mod attacks;
mod bitmaps;
mod commands;
mod compact;
mod concurrency;
mod degraded;
mod direct;
mod encryption;
mod heap;
mod host_errors;
mod locks;
mod luks;
mod model;
mod mutations;
mod operations;
mod pairs;
mod programs;
mod punch;
mod qemu;
mod scratch;
mod timings;
mod unknown;
mod vm_state;
mod zeroing;
