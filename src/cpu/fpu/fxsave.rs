//! FXSAVE and FXRSTOR: x87 and SSE state in one 512-byte image.
//! Intel SDM volume 1, section 10.5; table 10-2:
//!
//! ```text
//!   0 FCW  2 FSW  4 FTW (a bit a register)  6 FOP  8 FIP  16 FDP  24 MXCSR  28 MXCSR_MASK
//!   32 ST0 … 144 ST7, 16 bytes each         160 XMM0 … 400 XMM15 (XMM7 outside 64-bit mode)
//! ```
//!
//! The bytes behind the registers belong to software and are not written. FIP, FDP and FOP are
//! always saved and restored, whether an exception waits or not.

use super::soft::Float80;
use super::state::LastInstruction;
use crate::cpu::decode::Op;
use crate::cpu::exec::run;
use crate::cpu::fault::GP;
use crate::cpu::mmu::Access;
use crate::cpu::simd::MXCSR_MASK;
use crate::cpu::{Core, Exec, Handler, cr4};
use iced_x86::{Code, Instruction};

/// Bytes up to the end of the MXCSR mask, of ST7, of XMM7 and of XMM15.
pub(super) const HEAD: usize = 32;
const END_OF_X87: usize = 160;
const END_OF_XMM7: usize = 288;
const END_OF_XMM15: usize = 416;

/// How FIP and FDP are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pointers {
    /// Selector and 32-bit offset: FXSAVE.
    Selectors,
    /// 64-bit offset: FXSAVE64.
    Wide,
}

fn pointers(op: &Op) -> Pointers {
    match op.code() {
        Code::Fxsave64_m512byte | Code::Fxrstor64_m512byte => Pointers::Wide,
        _ => Pointers::Selectors,
    }
}

/// The image's offset: within its segment, and its linear address a multiple of `alignment`.
pub(super) fn image_offset(
    core: &mut Core<'_>,
    op: &Op,
    access: Access,
    alignment: u64,
) -> Exec<u64> {
    let offset = core.effective_address(op);
    core.linear(access, op.segment(), offset, 1)?;
    let base = core.cpu.segment(op.segment()).base;
    if base.wrapping_add(offset) & (alignment - 1) != 0 {
        return Err(core.fault_with(GP, 0));
    }
    Ok(offset)
}

fn fxsave(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_control()?;
    let offset = image_offset(core, op, Access::Write, 16)?;
    let mut image = [0; END_OF_XMM15];
    write_x87(core, pointers(op), &mut image);
    for (place, xmm) in image[END_OF_X87..]
        .chunks_exact_mut(16)
        .zip(core.cpu.sse.xmm)
    {
        place.copy_from_slice(&xmm);
    }
    if core.cpu.cr4 & cr4::OSFXSR == 0 {
        store_prefix::<END_OF_X87>(core, op, offset, &image)
    } else if core.cpu.is_64_bit() {
        core.store_bytes(op.segment(), offset, image)
    } else {
        store_prefix::<END_OF_XMM7>(core, op, offset, &image)
    }
}

fn store_prefix<const N: usize>(core: &mut Core<'_>, op: &Op, offset: u64, image: &[u8]) -> Exec {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&image[..N]);
    core.store_bytes(op.segment(), offset, bytes)
}

pub(super) fn write_x87(core: &Core<'_>, pointers: Pointers, image: &mut [u8]) {
    let fpu = &core.cpu.fpu;
    let last = &fpu.last;
    let [ip, data] = match pointers {
        Pointers::Wide => [last.ip, last.data],
        Pointers::Selectors => [(last.ip, last.cs), (last.data, last.ds)]
            .map(|(offset, selector)| offset & 0xffff_ffff | u64::from(selector) << 32),
    };
    image[0..2].copy_from_slice(&fpu.control().to_le_bytes());
    image[2..4].copy_from_slice(&fpu.status().to_le_bytes());
    image[4] = fpu.used();
    image[6..8].copy_from_slice(&last.opcode.to_le_bytes());
    image[8..16].copy_from_slice(&ip.to_le_bytes());
    image[16..24].copy_from_slice(&data.to_le_bytes());
    image[24..28].copy_from_slice(&core.cpu.sse.mxcsr.to_le_bytes());
    image[28..32].copy_from_slice(&MXCSR_MASK.to_le_bytes());
    for (i, place) in (0..8).zip(image[HEAD..END_OF_X87].chunks_exact_mut(16)) {
        place[..10].copy_from_slice(&fpu.st(i).to_bytes());
    }
}

fn fxrstor(core: &mut Core<'_>, op: &Op) -> Exec {
    core.enter_control()?;
    let offset = image_offset(core, op, Access::Read, 16)?;
    let image: [u8; END_OF_XMM15] = core.load_bytes(op.segment(), offset)?;
    let sse = core.cpu.cr4 & cr4::OSFXSR != 0;
    let mxcsr = word(&image, 24) as u32;
    if sse && mxcsr & !MXCSR_MASK != 0 {
        return Err(core.fault_with(GP, 0));
    }
    read_x87(core, pointers(op), &image);
    if sse {
        core.cpu.sse.mxcsr = mxcsr;
        let count = if core.cpu.is_64_bit() { 16 } else { 8 };
        let registers = core.cpu.sse.xmm.iter_mut().take(count);
        for (xmm, place) in registers.zip(image[END_OF_X87..].chunks_exact(16)) {
            xmm.copy_from_slice(place);
        }
    }
    core.drive_ferr();
    Ok(())
}

pub(super) fn read_x87(core: &mut Core<'_>, pointers: Pointers, image: &[u8]) {
    let fpu = &mut core.cpu.fpu;
    fpu.set_control(word(image, 0) as u16);
    fpu.set_status(word(image, 2) as u16);
    let (ip, data) = (word(image, 8), word(image, 16));
    let opcode = word(image, 6) as u16 & 0x7ff;
    fpu.last = match pointers {
        Pointers::Wide => LastInstruction {
            ip,
            data,
            cs: 0,
            ds: 0,
            opcode,
        },
        Pointers::Selectors => LastInstruction {
            ip: ip & 0xffff_ffff,
            data: data & 0xffff_ffff,
            cs: (ip >> 32) as u16,
            ds: (data >> 32) as u16,
            opcode,
        },
    };
    for (i, place) in (0..8).zip(image[HEAD..END_OF_X87].chunks_exact(16)) {
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&place[..10]);
        fpu.set_st(i, Float80::from_bytes(bytes));
    }
    fpu.set_used(image[4]);
}

/// Eight bytes of the image, little-endian.
pub(super) fn word(image: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&image[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match instruction.code() {
        Code::Fxsave_m512byte | Code::Fxsave64_m512byte => run!(fxsave),
        Code::Fxrstor_m512byte | Code::Fxrstor64_m512byte => run!(fxrstor),
        _ => return None,
    };
    Some(handler)
}
