//! The ROMs that Cowbox brings along, built from `firmware/` (its `Makefile`; `TOOLCHAIN` names the
//! compiler whose output they are).

/// The system BIOS: mapped at 0xE0000-0xFFFFF, and again so that it ends at 4 GiB.
pub static BIOS: &[u8; 128 * 1024] = include_bytes!("../../firmware/bios.bin");
