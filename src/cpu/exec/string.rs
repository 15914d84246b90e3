//! MOVS CMPS SCAS LODS STOS INS OUTS, also repeated (Intel SDM volume 1, section 7.3.9).
//!
//! Each iteration of a repeated instruction is one tick, and between two of them interrupts
//! are taken: an instruction that is not through when the deadline comes, or when an access
//! wants attention, leaves its registers where it stands and asks to be run again. MOVS and
//! STOS upwards go page by page where both sides are plain memory, INS and OUTS sector by
//! sector where the device can; ticks and state are as if each element had come alone.

use iced_x86::{Code, Instruction};

use super::portio;
use super::{Handler, run};
use crate::bus::PORT_ACCESS_TICKS;
use crate::cpu::decode::{Op, Repeat};
use crate::cpu::flags::{DF, TF};
use crate::cpu::mmu::{Access, Run};
use crate::cpu::regs::{RAX, RCX, RDI, RDX, RSI};
use crate::cpu::segment::{ES, FLAT};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, Model};
use crate::memory::PAGE_SIZE;

/// What one element costs when it goes through a port.
const PORT_ELEMENT_TICKS: u64 = PORT_ACCESS_TICKS + 1;

/// The low bits of a register that an address size uses.
fn address_mask(op: &Op) -> u64 {
    match op.address_size() {
        0 => 0xffff,
        1 => 0xffff_ffff,
        _ => u64::MAX,
    }
}

/// The segment that (E/R)DI points into.
fn destination(core: &Core<'_>) -> u8 {
    if core.cpu.is_64_bit() { FLAT } else { ES }
}

/// Writes a counter or index register at the address size.
fn set(core: &mut Core<'_>, op: &Op, register: u8, value: u64) {
    match op.address_size() {
        0 => core.cpu.regs.write(register, value as u16),
        1 => core.cpu.regs.write(register, value as u32),
        _ => core.cpu.regs.set(register, value),
    }
}

fn get(core: &Core<'_>, op: &Op, register: u8) -> u64 {
    core.cpu.regs.get(register) & address_mask(op)
}

/// Moves an index register past `count` elements, in the direction of DF.
pub(super) fn advance<W: Width>(core: &mut Core<'_>, op: &Op, register: u8, count: u64) {
    let bytes = count.wrapping_mul(W::BYTES);
    let at = core.cpu.regs.get(register);
    let moved = if core.cpu.flags.has(DF) {
        at.wrapping_sub(bytes)
    } else {
        at.wrapping_add(bytes)
    };
    set(core, op, register, moved);
}

/// What became of an attempt to do elements.
struct Done {
    /// How many were done, at least one.
    count: u64,
    /// The condition of REPE or REPNE ended the repetition.
    found: bool,
}

impl Done {
    fn elements(count: u64) -> Self {
        Self {
            count,
            found: false,
        }
    }
}

/// Runs `step` until the counter is zero, a condition holds, or something wants attention.
/// `step` does up to the given number of elements, moves the index registers, and lets the
/// ticks of port accesses pass.
fn repeat(
    core: &mut Core<'_>,
    op: &Op,
    mut step: impl FnMut(&mut Core<'_>, u64) -> Exec<Done>,
) -> Exec {
    if op.repeat() == Repeat::None {
        return step(core, 1).map(|_| ());
    }
    core.cpu.flow.begin_repeat();
    let mut left = get(core, op, RCX);
    while left > 0 {
        let room = core.cpu.flow.room(core.cpu.now());
        let most = if core.cpu.flags.has(TF) { 1 } else { room };
        let done = step(core, left.min(most))?;
        left -= done.count;
        set(core, op, RCX, left);
        let over = left == 0 || done.found;
        if over || done.count >= most || core.cpu.flow.is_ending() {
            // The loop that runs the block counts the last tick.
            core.cpu.flow.spend(done.count - 1);
            if !over {
                core.cpu.flow.repeat();
            }
            return Ok(());
        }
        core.cpu.flow.pass(done.count);
    }
    Ok(())
}

/// How many whole elements lie in a run.
fn elements<W: Width>(run: Run) -> u64 {
    run.len() / W::BYTES
}

pub(super) fn movs<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let to_segment = destination(core);
    repeat(core, op, |core, most| {
        let from = get(core, op, RSI);
        let to = get(core, op, RDI);
        let mut count = 0;
        if most > 1 && !core.cpu.flags.has(DF) {
            let mask = address_mask(op);
            let len = most.saturating_mul(W::BYTES);
            let source = core.run_at(Access::Read, op.segment(), from, len, mask)?;
            let target = core.run_at(Access::Write, to_segment, to, len, mask)?;
            count = elements::<W>(source).min(elements::<W>(target));
            core.copy_up::<W>(source, target, count);
        }
        if count == 0 {
            let value: W = core.load_at(op.segment(), from)?;
            core.store_at(to_segment, to, value)?;
            count = 1;
        }
        advance::<W>(core, op, RSI, count);
        advance::<W>(core, op, RDI, count);
        Ok(Done::elements(count))
    })
}

pub(super) fn stos<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let segment = destination(core);
    let value: W = core.cpu.regs.read(RAX);
    repeat(core, op, |core, most| {
        let to = get(core, op, RDI);
        let mut count = 0;
        if most > 1 && !core.cpu.flags.has(DF) {
            let len = most.saturating_mul(W::BYTES);
            let target = core.run_at(Access::Write, segment, to, len, address_mask(op))?;
            count = elements::<W>(target);
            core.fill_up(target, value, count);
        }
        if count == 0 {
            core.store_at(segment, to, value)?;
            count = 1;
        }
        advance::<W>(core, op, RDI, count);
        Ok(Done::elements(count))
    })
}

pub(super) fn lods<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    repeat(core, op, |core, _| {
        let from = get(core, op, RSI);
        let value: W = core.load_at(op.segment(), from)?;
        core.cpu.regs.write(RAX, value);
        advance::<W>(core, op, RSI, 1);
        Ok(Done::elements(1))
    })
}

/// One comparison: sets the flags; whether it ends the repetition.
fn compare<W: Width>(core: &mut Core<'_>, op: &Op, x: W, y: W) -> Done {
    let r = W::truncate(x.zero_extend().wrapping_sub(y.zero_extend()));
    core.cpu.flags.set_sub(x, y, r);
    let found = match op.repeat() {
        Repeat::Equal => x != y,
        Repeat::NotEqual => x == y,
        Repeat::None => false,
    };
    Done { count: 1, found }
}

/// A comparison, repeated or not. A fault brings back the flags from before the instruction, however
/// many comparisons went well (Intel SDM volume 2, REP); not so on the 286.
fn repeat_comparison<F>(core: &mut Core<'_>, op: &Op, step: F) -> Exec
where
    F: FnMut(&mut Core<'_>, u64) -> Exec<Done>,
{
    let flags = core.cpu.flags.clone();
    let done = repeat(core, op, step);
    if done.is_err() && core.cpu.model != Model::I286 {
        core.cpu.flags = flags;
    }
    done
}

pub(super) fn scas<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let segment = destination(core);
    repeat_comparison(core, op, |core, _| {
        let at = get(core, op, RDI);
        let y: W = core.load_at(segment, at)?;
        let x: W = core.cpu.regs.read(RAX);
        let done = compare(core, op, x, y);
        advance::<W>(core, op, RDI, 1);
        Ok(done)
    })
}

pub(super) fn cmps<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let second = destination(core);
    repeat_comparison(core, op, |core, _| {
        let (first_at, second_at) = (get(core, op, RSI), get(core, op, RDI));
        // Intel's processors read what RDI points at first.
        let y: W = core.load_at(second, second_at)?;
        let x: W = core.load_at(op.segment(), first_at)?;
        let done = compare(core, op, x, y);
        advance::<W>(core, op, RSI, 1);
        advance::<W>(core, op, RDI, 1);
        Ok(done)
    })
}

/// How many elements a port can be asked for at once: `most` are wanted, but every one has to
/// start before the deadline.
fn port_elements<W: Width>(core: &Core<'_>, most: u64) -> u64 {
    if core.cpu.breakpoints.on_ports() {
        return 1;
    }
    let room = core.cpu.flow.room(core.cpu.now());
    most.min(room.div_ceil(PORT_ELEMENT_TICKS))
        .min(PAGE_SIZE / W::BYTES)
}

/// After `count` elements went through a port in bulk: their accesses take time.
fn pass_port_time(core: &mut Core<'_>, count: u64) {
    core.cpu.flow.spend(count * PORT_ACCESS_TICKS);
    core.after_bus_access();
}

pub(super) fn ins<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let segment = destination(core);
    let port: u16 = core.cpu.regs.read(RDX);
    let size = portio::size::<W>();
    core.check_port(port, size)?;
    repeat(core, op, |core, most| {
        let at = get(core, op, RDI);
        let most = port_elements::<W>(core, most);
        let mut count = 0;
        if most > 1 && !core.cpu.flags.has(DF) {
            let len = most * W::BYTES;
            let target = core.run_at(Access::Write, segment, at, len, address_mask(op))?;
            let mut buffer = [0; PAGE_SIZE as usize];
            let wanted = &mut buffer[..(elements::<W>(target) * W::BYTES) as usize];
            if !wanted.is_empty() {
                let now = core.cpu.now();
                let filled = core
                    .bus
                    .read_port_block(core.memory, now, port, size, wanted);
                count = (filled as u64).min(elements::<W>(target));
                core.copy_in(target, &wanted[..(count * W::BYTES) as usize]);
            }
        }
        if count > 0 {
            pass_port_time(core, count);
        } else {
            let linear = core.linear(Access::Write, segment, at, W::BYTES)?;
            core.probe_write(linear, W::BYTES, core.cpu.mode.user, segment)?;
            let value = core.read_port(port, size);
            core.store_at(segment, at, W::truncate(u64::from(value)))?;
            count = 1;
        }
        advance::<W>(core, op, RDI, count);
        Ok(Done::elements(count))
    })
}

pub(super) fn outs<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    let port: u16 = core.cpu.regs.read(RDX);
    let size = portio::size::<W>();
    core.check_port(port, size)?;
    repeat(core, op, |core, most| {
        let at = get(core, op, RSI);
        let most = port_elements::<W>(core, most);
        let mut count = 0;
        if most > 1 && !core.cpu.flags.has(DF) {
            let len = most * W::BYTES;
            let source = core.run_at(Access::Read, op.segment(), at, len, address_mask(op))?;
            let mut buffer = [0; PAGE_SIZE as usize];
            let offered = &mut buffer[..(elements::<W>(source) * W::BYTES) as usize];
            if !offered.is_empty() {
                core.copy_out(source, offered);
                let now = core.cpu.now();
                let taken = core
                    .bus
                    .write_port_block(core.memory, now, port, size, offered);
                count = (taken as u64).min(elements::<W>(source));
            }
        }
        if count > 0 {
            pass_port_time(core, count);
        } else {
            let value: W = core.load_at(op.segment(), at)?;
            core.write_port(port, size, value.zero_extend() as u32);
            count = 1;
        }
        advance::<W>(core, op, RSI, count);
        Ok(Done::elements(count))
    })
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match instruction.code() {
        Code::Movsb_m8_m8 => run!(movs::<u8>),
        Code::Movsw_m16_m16 => run!(movs::<u16>),
        Code::Movsd_m32_m32 => run!(movs::<u32>),
        Code::Movsq_m64_m64 => run!(movs::<u64>),
        Code::Stosb_m8_AL => run!(stos::<u8>),
        Code::Stosw_m16_AX => run!(stos::<u16>),
        Code::Stosd_m32_EAX => run!(stos::<u32>),
        Code::Stosq_m64_RAX => run!(stos::<u64>),
        Code::Lodsb_AL_m8 => run!(lods::<u8>),
        Code::Lodsw_AX_m16 => run!(lods::<u16>),
        Code::Lodsd_EAX_m32 => run!(lods::<u32>),
        Code::Lodsq_RAX_m64 => run!(lods::<u64>),
        Code::Scasb_AL_m8 => run!(scas::<u8>),
        Code::Scasw_AX_m16 => run!(scas::<u16>),
        Code::Scasd_EAX_m32 => run!(scas::<u32>),
        Code::Scasq_RAX_m64 => run!(scas::<u64>),
        Code::Cmpsb_m8_m8 => run!(cmps::<u8>),
        Code::Cmpsw_m16_m16 => run!(cmps::<u16>),
        Code::Cmpsd_m32_m32 => run!(cmps::<u32>),
        Code::Cmpsq_m64_m64 => run!(cmps::<u64>),
        Code::Insb_m8_DX => run!(ins::<u8>),
        Code::Insw_m16_DX => run!(ins::<u16>),
        Code::Insd_m32_DX => run!(ins::<u32>),
        Code::Outsb_DX_m8 => run!(outs::<u8>),
        Code::Outsw_DX_m16 => run!(outs::<u16>),
        Code::Outsd_DX_m32 => run!(outs::<u32>),
        _ => return None,
    };
    Some(handler)
}
