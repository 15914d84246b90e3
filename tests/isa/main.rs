//! Instructions against their specification and, where the host can run them, against the host.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by a panic"
)]

#[cfg(target_arch = "x86_64")]
mod empty_board;
#[path = "../fuzz/execution.rs"]
mod execution;
#[cfg(target_arch = "x86_64")]
mod guest;
#[cfg(target_arch = "x86_64")]
mod native_code;
#[cfg(target_arch = "x86_64")]
mod native_float;
#[cfg(target_arch = "x86_64")]
mod native_sse;
#[cfg(target_arch = "x86_64")]
mod native_x87;
mod streams;
mod system;
