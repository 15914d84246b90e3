//! IN and OUT, and the permission to use a port (Intel SDM volume 1, chapter 19).

use iced_x86::{Code, Instruction, Mnemonic};

use super::{Handler, run};
use crate::bus::{PORT_ACCESS_TICKS, Size};
use crate::cpu::decode::Op;
use crate::cpu::descriptor::kind;
use crate::cpu::fault::GP;
use crate::cpu::regs::{RAX, RDX};
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec};

impl Core<'_> {
    /// Whether the program may access `size` bytes at `port`: by IOPL, or by the bitmap in
    /// the TSS; else #GP(0).
    pub(super) fn check_port(&mut self, port: u16, size: Size) -> Exec {
        let cpu = &self.cpu;
        let free = cpu.is_real() || cpu.is_protected() && cpu.cpl <= cpu.flags.iopl();
        if free || self.bitmap_allows(port, size)? {
            return Ok(());
        }
        Err(self.fault_with(GP, 0))
    }

    /// The I/O permission bitmap: one clear bit for each byte of the access. Two bytes are
    /// read whatever the port (section 19.5.2).
    fn bitmap_allows(&mut self, port: u16, size: Size) -> Exec<bool> {
        const IO_MAP: u64 = 0x66;
        let tr = self.cpu.tr;
        let limit = u64::from(tr.limit);
        if !matches!(tr.attributes.kind(), kind::TSS | kind::TSS_BUSY) || limit < IO_MAP + 1 {
            return Ok(false);
        }
        let map: u16 = self.read_system(tr.base.wrapping_add(IO_MAP))?;
        let at = u64::from(map) + u64::from(port / 8);
        if at + 1 > limit {
            return Ok(false);
        }
        let bits: u16 = self.read_system(tr.base.wrapping_add(at))?;
        let wanted = (1u16 << size.bytes()) - 1;
        Ok(bits >> (port % 8) & wanted == 0)
    }

    /// Reads a port that the program may access. Its time passes.
    pub(super) fn read_port(&mut self, port: u16, size: Size) -> u32 {
        let now = self.cpu.now();
        self.note_port(port, size);
        let value = self.bus.read_port(self.memory, now, port, size);
        self.cpu.flow.spend(PORT_ACCESS_TICKS);
        self.after_bus_access();
        value
    }

    /// Writes a port that the program may access. Its time passes.
    pub(super) fn write_port(&mut self, port: u16, size: Size, value: u32) {
        let now = self.cpu.now();
        self.note_port(port, size);
        self.bus.write_port(self.memory, now, port, size, value);
        self.cpu.flow.spend(PORT_ACCESS_TICKS);
        self.after_bus_access();
    }
}

/// The bus size of a port operand.
pub(super) fn size<W: Width>() -> Size {
    match W::BITS {
        8 => Size::Byte,
        16 => Size::Word,
        _ => Size::Dword,
    }
}

fn read<W: Width>(core: &mut Core<'_>, port: u16) -> Exec {
    core.check_port(port, size::<W>())?;
    let value = core.read_port(port, size::<W>());
    core.cpu.regs.write(RAX, W::truncate(u64::from(value)));
    Ok(())
}

fn write<W: Width>(core: &mut Core<'_>, port: u16) -> Exec {
    core.check_port(port, size::<W>())?;
    let value: W = core.cpu.regs.read(RAX);
    core.write_port(port, size::<W>(), value.zero_extend() as u32);
    Ok(())
}

fn in_immediate<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    read::<W>(core, op.immediate as u16 & 0xff)
}

fn in_dx<W: Width>(core: &mut Core<'_>, _op: &Op) -> Exec {
    read::<W>(core, core.cpu.regs.read(RDX))
}

fn out_immediate<W: Width>(core: &mut Core<'_>, op: &Op) -> Exec {
    write::<W>(core, op.immediate as u16 & 0xff)
}

fn out_dx<W: Width>(core: &mut Core<'_>, _op: &Op) -> Exec {
    write::<W>(core, core.cpu.regs.read(RDX))
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    let handler: Handler = match instruction.code() {
        Code::In_AL_imm8 => run!(in_immediate::<u8>),
        Code::In_AX_imm8 => run!(in_immediate::<u16>),
        Code::In_EAX_imm8 => run!(in_immediate::<u32>),
        Code::In_AL_DX => run!(in_dx::<u8>),
        Code::In_AX_DX => run!(in_dx::<u16>),
        Code::In_EAX_DX => run!(in_dx::<u32>),
        Code::Out_imm8_AL => run!(out_immediate::<u8>),
        Code::Out_imm8_AX => run!(out_immediate::<u16>),
        Code::Out_imm8_EAX => run!(out_immediate::<u32>),
        Code::Out_DX_AL => run!(out_dx::<u8>),
        Code::Out_DX_AX => run!(out_dx::<u16>),
        Code::Out_DX_EAX => run!(out_dx::<u32>),
        _ => return None,
    };
    Some(handler)
}

/// Whether an encoding of this file ends its block: a port access takes its time, and can
/// change what comes next.
pub(super) fn ends_block(code: Code) -> bool {
    matches!(code.mnemonic(), Mnemonic::In | Mnemonic::Out)
}
