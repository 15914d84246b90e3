//! Cowbox: a small PC in one crate, from the `OUT` instruction down to the host `pwrite`.
//!
//! The modules are layers, and imports go down only (`tests/layering.rs` keeps it so):
//! `cli` over `machine` over `cpu`, `devices`, `firmware`, `debug` and `disk`; `disk` over
//! `image` over `storage`; `bus` and `memory` below everything that uses them.

pub mod bus;
pub mod cli;
pub mod cpu;
pub mod devices;
pub mod disk;
pub mod firmware;
pub mod image;
pub mod machine;
pub mod memory;
pub mod storage;
