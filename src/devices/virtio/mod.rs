//! Virtio devices on PCI.
//!
//! ```text
//!   block      requests of virtio-blk <--> crate::disk
//!   transport  features, status, interrupts    registers, access: how drivers see them
//!   queue      available and used rings        chain: the buffers of one request
//! ```
//!
//! What a driver does wrong with a ring stops the device with DEVICE_NEEDS_RESET and leaves a
//! line in the outlet; a wrong request fails alone. No work here is longer than the rings are.
//! Left out on purpose: packed rings, several queues, other devices than the disk.
//! (Virtual I/O Device (VIRTIO) 1.2.)

mod access;
mod block;
mod chain;
mod queue;
mod registers;
mod transport;

pub use block::VirtioBlock;
