//! XSAVE, XSAVEOPT, XRSTOR, XGETBV and XSETBV: x87, SSE and AVX state in one image, of which a
//! mask says what counts. Intel SDM volume 1, chapter 13:
//!
//! ```text
//!   0 as FXSAVE, without the software's bytes    512 XSTATE_BV  520 XCOMP_BV and zeros
//! 576 the high halves of YMM0 … YMM15 (YMM7 outside 64-bit mode)
//! ```
//!
//! Only the standard form: CPUID does not report XSAVEC and XSAVES. All state counts as in use,
//! which section 13.6 permits: what is asked for is always written.

use super::fxsave::{HEAD, Pointers, image_offset, read_x87, word, write_x87};
use crate::cpu::decode::Op;
use crate::cpu::exec::run;
use crate::cpu::fault::{GP, NM, UD};
use crate::cpu::mmu::Access;
use crate::cpu::regs::{RAX, RCX, RDX};
use crate::cpu::simd::{Bytes, MXCSR_MASK};
use crate::cpu::{Core, Exec, Handler, cr0, cr4};
use iced_x86::{Code, Instruction, Mnemonic};

/// Bits of XCR0, RFBM and XSTATE_BV.
const X87: u64 = 1 << 0;
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
/// The state components that exist.
pub(in crate::cpu) const COMPONENTS: u64 = X87 | SSE | AVX;

/// Where things stand in the image.
const MXCSR: u64 = 24;
const REGISTERS: u64 = 32;
const XMM: u64 = 160;
const HEADER: u64 = 512;
pub(in crate::cpu) const YMM_HIGH: u32 = 576;

/// The bytes of an image that holds `components`.
pub(in crate::cpu) fn image_size(components: u64) -> u32 {
    match components & AVX {
        0 => YMM_HIGH,
        _ => YMM_HIGH + 256,
    }
}

/// The mask in EDX:EAX.
fn mask(core: &Core<'_>) -> u64 {
    let half = |n| u64::from(core.cpu.regs.read::<u32>(n));
    half(RDX) << 32 | half(RAX)
}

impl Core<'_> {
    fn require_xsave(&mut self) -> Exec {
        if self.cpu.cr4 & cr4::OSXSAVE == 0 {
            return Err(self.fault(UD));
        }
        Ok(())
    }

    /// How many vector registers this mode has.
    fn vector_registers(&self) -> usize {
        if self.cpu.is_64_bit() { 16 } else { 8 }
    }
}

/// What all instructions on an image check, and its offset.
fn image(core: &mut Core<'_>, op: &Op, access: Access) -> Exec<u64> {
    core.require_xsave()?;
    if core.cpu.cr0 & cr0::TS != 0 {
        return Err(core.fault(NM));
    }
    image_offset(core, op, access, 64)
}

fn pointers(op: &Op) -> Pointers {
    match op.code() {
        Code::Xsave64_mem | Code::Xsaveopt64_mem | Code::Xrstor64_mem => Pointers::Wide,
        _ => Pointers::Selectors,
    }
}

fn xsave(core: &mut Core<'_>, op: &Op) -> Exec {
    let offset = image(core, op, Access::Write)?;
    let asked = mask(core) & core.cpu.sse.xcr0;
    let segment = op.segment();
    let at = |place: u64| offset.wrapping_add(place);
    let held: u64 = core.load_at(segment, at(HEADER))?;
    let (registers, count) = (core.cpu.sse.clone(), core.vector_registers());
    probe_image(core, segment, offset, asked)?;
    if asked & X87 != 0 {
        let mut legacy = [0; XMM as usize];
        write_x87(core, pointers(op), &mut legacy);
        let mut first = [0; MXCSR as usize];
        first.copy_from_slice(&legacy[..MXCSR as usize]);
        let mut stack = [0; (XMM - REGISTERS) as usize];
        stack.copy_from_slice(&legacy[HEAD..]);
        core.store_bytes(segment, at(0), first)?;
        core.store_bytes(segment, at(REGISTERS), stack)?;
    }
    if asked & (SSE | AVX) != 0 {
        let both = u64::from(MXCSR_MASK) << 32 | u64::from(registers.mxcsr);
        core.store_at(segment, at(MXCSR), both)?;
    }
    if asked & SSE != 0 {
        store_vectors(core, op, at(XMM), &registers.xmm[..count])?;
    }
    if asked & AVX != 0 {
        let high = &registers.ymm_high[..count];
        store_vectors(core, op, at(YMM_HIGH.into()), high)?;
    }
    core.store_at(segment, at(HEADER), held & !asked | asked)
}

/// Faults before the first byte is written, if an image of `components` cannot be.
fn probe_image(core: &mut Core<'_>, segment: u8, offset: u64, components: u64) -> Exec {
    let high = match components & AVX {
        0 => 0,
        _ => 16 * core.vector_registers() as u64,
    };
    let bytes = u64::from(YMM_HIGH) + high;
    let linear = core.linear(Access::Write, segment, offset, bytes)?;
    core.probe_write(linear, bytes, core.cpu.mode.user, segment)
}

fn store_vectors(core: &mut Core<'_>, op: &Op, offset: u64, vectors: &[Bytes]) -> Exec {
    for (n, vector) in (0..).zip(vectors) {
        let place = offset.wrapping_add(16 * n);
        core.store_bytes(op.segment(), place, *vector)?;
    }
    Ok(())
}

fn load_vectors(core: &mut Core<'_>, op: &Op, offset: u64) -> Exec<[Bytes; 16]> {
    let mut vectors = [[0; 16]; 16];
    let count = core.vector_registers();
    for (n, vector) in (0..).zip(&mut vectors[..count]) {
        let place = offset.wrapping_add(16 * n);
        *vector = core.load_bytes(op.segment(), place)?;
    }
    Ok(vectors)
}

/// Everything is read and checked before a register changes.
fn xrstor(core: &mut Core<'_>, op: &Op) -> Exec {
    let offset = image(core, op, Access::Read)?;
    let asked = mask(core) & core.cpu.sse.xcr0;
    let segment = op.segment();
    let at = |place: u64| offset.wrapping_add(place);
    let [held, compacted, zero] =
        [0, 8, 16].map(|place| core.load_at::<u64>(segment, at(HEADER + place)));
    let (held, compacted, zero) = (held?, compacted?, zero?);
    if held & !core.cpu.sse.xcr0 != 0 || compacted | zero != 0 {
        return Err(core.fault_with(GP, 0));
    }
    let legacy: [u8; XMM as usize] = core.load_bytes(segment, at(0))?;
    let mxcsr = word(&legacy, MXCSR as usize) as u32;
    if asked & (SSE | AVX) != 0 && mxcsr & !MXCSR_MASK != 0 {
        return Err(core.fault_with(GP, 0));
    }
    let loads = asked & held;
    let mut xmm = [[0; 16]; 16];
    let mut ymm_high = [[0; 16]; 16];
    if loads & SSE != 0 {
        xmm = load_vectors(core, op, at(XMM))?;
    }
    if loads & AVX != 0 {
        ymm_high = load_vectors(core, op, at(YMM_HIGH.into()))?;
    }
    let count = core.vector_registers();
    let registers = &mut core.cpu.sse;
    if asked & SSE != 0 {
        registers.xmm[..count].copy_from_slice(&xmm[..count]);
    }
    if asked & AVX != 0 {
        registers.ymm_high[..count].copy_from_slice(&ymm_high[..count]);
    }
    if asked & (SSE | AVX) != 0 {
        registers.mxcsr = mxcsr;
    }
    if loads & X87 != 0 {
        read_x87(core, pointers(op), &legacy);
    } else if asked & X87 != 0 {
        core.cpu.fpu = super::Fpu::default();
        core.cpu.fpu.init();
    }
    core.drive_ferr();
    Ok(())
}

/// XCR0 is the only extended control register.
fn xgetbv(core: &mut Core<'_>, _: &Op) -> Exec {
    core.require_xsave()?;
    if core.cpu.regs.read::<u32>(RCX) != 0 {
        return Err(core.fault_with(GP, 0));
    }
    let value = core.cpu.sse.xcr0;
    core.cpu.regs.write(RAX, value as u32);
    core.cpu.regs.write(RDX, (value >> 32) as u32);
    Ok(())
}

/// x87 state is always on, and AVX needs SSE.
fn xsetbv(core: &mut Core<'_>, _: &Op) -> Exec {
    core.require_xsave()?;
    let value = mask(core);
    let sensible = value & X87 != 0 && (value & AVX == 0 || value & SSE != 0);
    let exists = core.cpu.regs.read::<u32>(RCX) == 0 && value & !COMPONENTS == 0;
    if core.cpu.cpl != 0 || !exists || !sensible {
        return Err(core.fault_with(GP, 0));
    }
    core.cpu.sse.xcr0 = value;
    core.cpu.refresh_mode();
    Ok(())
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match instruction.mnemonic() {
        Mnemonic::Xsave | Mnemonic::Xsave64 | Mnemonic::Xsaveopt | Mnemonic::Xsaveopt64 => {
            run!(xsave)
        }
        Mnemonic::Xrstor | Mnemonic::Xrstor64 => run!(xrstor),
        Mnemonic::Xgetbv => run!(xgetbv),
        Mnemonic::Xsetbv => run!(xsetbv),
        _ => return None,
    };
    Some(handler)
}
