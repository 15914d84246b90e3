//! From bytes to basic blocks of [`Op`]s.
//!
//! iced-x86 decodes, through a [`Reader`](reader::Reader) that knows the model;
//! [`lower`](lower::lower) packs each instruction into 32 bytes with the function that executes it;
//! a [`Block`](block::Block) is a run of them up to a branch (a third one, of conditional
//! branches), a page edge or whatever changes mode or interrupts; the [`BlockCache`] finds blocks
//! by physical address and code size, and forgets those whose bytes are written.

mod block;
mod cache;
mod lower;
mod op;
mod pages;
mod reader;

pub use block::{Block, BlockId};
pub(super) use cache::MAX_BLOCK_BYTES;
pub use cache::{BlockCache, BlockKey};
pub use lower::lower;
pub use op::{Op, Repeat};
