//! The host side of the disks: between the devices, which speak sectors at guest ticks, and the
//! images, which speak bytes at whatever speed the host has.
//!
//! ```text
//!   device --submit(disk, now, Request)--> Disks --job--> worker thread --> image::Image
//!          <--Completion at its due tick--       <--done--
//! ```
//!
//! **Guest time decides, the host only obeys.** The tick of a completion follows from the
//! request's kind and size and from what the disk was doing ([`Disks::submit`] gives the
//! figures), never from the host. At that tick the machine takes the completion, and waits for
//! the worker where the host is late. A write's payload is copied when it is submitted, and what
//! a read found is delivered with its completion.
//!
//! Each disk has one worker, which runs its requests in the order of submission: overlapping
//! requests cannot pass each other, and a flush covers all that came before it.
//!
//! Left out on purpose: stopping the machine on a full host disk. Every failure is told to the
//! guest as a real drive would tell it, and once to the user ([`Disks::take_notices`]).
#![deny(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing
)]

mod drive;
mod geometry;
mod queue;
mod request;
#[cfg(test)]
mod test_image;
#[cfg(test)]
mod tests;
mod worker;

pub use drive::Disk;
pub use geometry::Geometry;
pub use queue::{DiskId, Disks, DisksState};
pub use request::{Completion, Failure, FailureKind, Request, SECTOR_SIZE, Space, Tag};
#[cfg(test)]
pub(crate) use test_image::{TestImage, pattern as test_pattern};
