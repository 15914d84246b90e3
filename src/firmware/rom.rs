//! The ROMs that Cowbox brings along, built from `firmware/` (its `Makefile`; `TOOLCHAIN` names the
//! compiler whose output they are).

/// The system BIOS: mapped at 0xE0000-0xFFFFF, and again so that it ends at 4 GiB.
pub static BIOS: &[u8; 128 * 1024] = include_bytes!("../../firmware/bios.bin");

/// The VGA BIOS: the option ROM of the standard VGA, which the BIOS copies to 0xC0000. Its length
/// is a multiple of 512 bytes, and its bytes add up to zero.
pub static VGA_BIOS: &[u8] = include_bytes!("../../firmware/vgabios.bin");
