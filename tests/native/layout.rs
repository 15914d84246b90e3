//! Where things lie, natively and in our guest: the same linear addresses in the first 2 GiB,
//! which a displacement of 32 bits and a 32-bit register reach.
//!
//! ```text
//!   CODE      64 KiB   the instruction, in the middle
//!   SCRATCH  128 KiB   what memory operands lie in; the window is its first 64 KiB's middle
//!   TABLES    64 KiB   our guest's GDT, LDT and page tables
//!   HARNESS            the host's trampoline and its data
//! ```

/// The code.
pub(crate) const CODE: u64 = 0x1000_0000;
pub(crate) const CODE_BYTES: u64 = 0x1_0000;
/// Where the instruction goes, within the code: the middle, where a page begins.
pub(crate) const MIDDLE: u64 = 0x8000;

/// The memory for operands. A 16-bit segment that begins here reaches the window.
pub(crate) const SCRATCH: u64 = 0x1200_0000;
pub(crate) const SCRATCH_BYTES: u64 = 0x2_0000;
/// The middle of the part that is filled, compared and restored, where a page begins.
pub(crate) const TARGET: u64 = SCRATCH + 0x8000;
/// The size of that part.
pub(crate) const WINDOW: u64 = 1024;
/// Where it begins.
pub(crate) const WINDOW_START: u64 = TARGET - WINDOW / 2;

/// How far behind the window nothing is mapped.
pub(crate) const UNMAPPED: u64 = 0x4_0000;

/// The memory on both sides of the window that is compared after each batch.
pub(crate) const MARGIN: u64 = 2048;
pub(crate) const MARGINS: [u64; 2] = [WINDOW_START - MARGIN, WINDOW_START + WINDOW];

/// Our guest's tables: the GDT, the LDT behind it, and the page tables.
pub(crate) const TABLES: u64 = 0x1300_0000;
pub(crate) const TABLES_BYTES: u64 = 0x1_0000;
pub(crate) const LDT: u64 = TABLES + 0x800;
pub(crate) const PAGE_TABLES: u64 = TABLES + 0x1000;

/// The trampoline: a page of code, then [`super::state::Registers`], then its own data.
pub(crate) const HARNESS: u64 = 0x1100_0000;
pub(crate) const HARNESS_BYTES: u64 = 0x4000;
