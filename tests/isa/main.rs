//! Instructions against their specification.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by a panic"
)]

mod cases;
#[path = "../fuzz/execution.rs"]
mod execution;
mod streams;
mod system;
