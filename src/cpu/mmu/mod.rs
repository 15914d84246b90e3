//! From effective addresses to bytes: segmentation, paging, the TLB, memory and bus.
//!
//! ```text
//!   effective address --segment bound, base--> linear --TLB--> host pointer
//!                                                 |miss
//!                                                 +--page walk--> physical --map--> arena | bus
//! ```

mod access;
mod bulk;
mod bytes;
mod pdpte;
mod physical;
mod tlb;
mod walk;

pub use access::{Place, QuickPlace};
pub use bulk::Run;
pub use tlb::Tlb;
pub use walk::Access;
pub(crate) use walk::PHYSICAL_BITS;
