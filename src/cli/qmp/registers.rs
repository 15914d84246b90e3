//! `info registers`: the CPU's state, laid out as QEMU prints it, for the scripts that look for
//! `EIP=` or `CR3=` in it.

use std::fmt::Write as _;

use crate::cpu::segment::Attributes;
use crate::cpu::{Cpu, Segment, TableRegister, cr0};
use crate::machine::Machine;

/// The names of system descriptors by their type, outside long mode (Intel SDM volume 3, table
/// 3-2).
const SYSTEM: [&str; 16] = [
    "Reserved",
    "TSS16-avl",
    "LDT",
    "TSS16-busy",
    "CallGate16",
    "TaskGate",
    "IntGate16",
    "TrapGate16",
    "Reserved",
    "TSS32-avl",
    "Reserved",
    "TSS32-busy",
    "CallGate32",
    "Reserved",
    "IntGate32",
    "TrapGate32",
];
/// The same in long mode.
const SYSTEM_LONG: [&str; 16] = [
    "<hiword>",
    "Reserved",
    "LDT",
    "Reserved",
    "Reserved",
    "Reserved",
    "Reserved",
    "Reserved",
    "Reserved",
    "TSS64-avl",
    "Reserved",
    "TSS64-busy",
    "CallGate64",
    "Reserved",
    "IntGate64",
    "TrapGate64",
];

/// The names of the general registers by their numbers, and of the rows they stand in.
const GENERAL: [[(&str, u8); 4]; 4] = [
    [("AX", 0), ("BX", 3), ("CX", 1), ("DX", 2)],
    [("SI", 6), ("DI", 7), ("BP", 5), ("SP", 4)],
    [("8 ", 8), ("9 ", 9), ("10", 10), ("11", 11)],
    [("12", 12), ("13", 13), ("14", 14), ("15", 15)],
];

/// The flags that are shown as letters, with their bits.
const FLAGS: [(u32, char); 7] = [
    (10, 'D'),
    (11, 'O'),
    (7, 'S'),
    (6, 'Z'),
    (4, 'A'),
    (2, 'P'),
    (0, 'C'),
];

/// The dump, with lines that end in LF.
pub(super) fn dump(machine: &Machine) -> String {
    let cpu = machine.cpu();
    let mut out = String::from("\nCPU#0\n");
    // Writing to a string does not fail.
    let _ = general(machine, &mut out)
        .and_then(|()| segments(cpu, &mut out))
        .and_then(|()| control(cpu, &mut out))
        .and_then(|()| floating_point(cpu, &mut out));
    out
}

fn general(machine: &Machine, out: &mut String) -> std::fmt::Result {
    let cpu = machine.cpu();
    let (prefix, rows, digits) = match cpu.is_64_bit() {
        true => ('R', 4, 16),
        false => ('E', 2, 8),
    };
    for row in &GENERAL[..rows] {
        let value = |(name, number): &(&str, u8)| {
            let value = cpu.regs.get(*number) & mask(digits);
            format!("{prefix}{name}={value:0digits$x}")
        };
        writeln!(
            out,
            "{}",
            row.iter().map(value).collect::<Vec<_>>().join(" ")
        )?;
    }
    let flags = cpu.flags.bits();
    write!(
        out,
        "{prefix}IP={:0digits$x} {prefix}FL={flags:08x} [{}]",
        cpu.rip & mask(digits),
        letters(u64::from(flags), &FLAGS),
    )?;
    writeln!(
        out,
        " CPL={} II={} A20={} SMM=0 HLT={}",
        cpu.cpl,
        u8::from(cpu.flow.holds_interrupts()),
        u8::from(machine.a20_is_open()),
        u8::from(machine.is_halted())
    )
}

/// The low bits that so many hexadecimal digits show.
fn mask(digits: usize) -> u64 {
    u64::MAX >> (64 - 4 * digits)
}

/// A letter for each bit that is set, else a dash.
fn letters(value: u64, bits: &[(u32, char)]) -> String {
    let letter = |(bit, letter): &(u32, char)| if value >> bit & 1 != 0 { *letter } else { '-' };
    bits.iter().map(letter).collect()
}

fn segments(cpu: &Cpu, out: &mut String) -> std::fmt::Result {
    for (name, segment) in ["ES", "CS", "SS", "DS", "FS", "GS"]
        .iter()
        .zip(&cpu.segments)
    {
        describe(cpu, name, segment, out)?;
    }
    describe(cpu, "LDT", &cpu.ldtr, out)?;
    describe(cpu, "TR", &cpu.tr, out)?;
    for (name, TableRegister { base, limit }) in [("GDT", &cpu.gdtr), ("IDT", &cpu.idtr)] {
        let digits = address_digits(cpu);
        writeln!(out, "{name}=     {base:0digits$x} {limit:08x}")?;
    }
    Ok(())
}

/// Addresses have 16 digits in long mode.
fn address_digits(cpu: &Cpu) -> usize {
    if cpu.is_long() { 16 } else { 8 }
}

fn describe(cpu: &Cpu, name: &str, segment: &Segment, out: &mut String) -> std::fmt::Result {
    let digits = address_digits(cpu);
    let (base, attributes) = (segment.base & mask(digits), segment.attributes);
    write!(
        out,
        "{name:3}={:04x} {base:0digits$x} {:08x} {:08x}",
        segment.selector,
        segment.limit,
        descriptor_high(segment)
    )?;
    if cpu.cr0 & cr0::PE != 0 && attributes.present() {
        write!(out, " DPL={} {}", attributes.dpl(), kind(cpu, attributes))?;
    }
    writeln!(out)
}

/// The upper half of the descriptor without its base.
fn descriptor_high(segment: &Segment) -> u32 {
    let attributes = u32::from(segment.attributes.0);
    let limit_nibble = match segment.attributes.granular() {
        true => segment.limit >> 28,
        false => segment.limit >> 16 & 15,
    };
    if attributes == 0 {
        return 0;
    }
    (attributes & 0xff) << 8 | limit_nibble << 16 | (attributes >> 12) << 20
}

fn kind(cpu: &Cpu, attributes: Attributes) -> String {
    let bits = u64::from(attributes.0);
    if attributes.is_code() {
        let size = match (attributes.long(), attributes.big()) {
            (true, _) => "CS64",
            (_, true) => "CS32",
            _ => "CS16",
        };
        return format!(
            "{size} [{}]",
            letters(bits, &[(2, 'C'), (1, 'R'), (0, 'A')])
        );
    }
    if attributes.is_code_or_data() {
        let size = match attributes.big() || cpu.is_long() {
            true => "DS  ",
            false => "DS16",
        };
        return format!(
            "{size} [{}]",
            letters(bits, &[(2, 'E'), (1, 'W'), (0, 'A')])
        );
    }
    let names = if cpu.is_long() { SYSTEM_LONG } else { SYSTEM };
    names[usize::from(attributes.kind())].to_owned()
}

fn control(cpu: &Cpu, out: &mut String) -> std::fmt::Result {
    let digits = address_digits(cpu);
    let (cr2, cr3) = (cpu.cr2 & mask(digits), cpu.cr3 & mask(digits));
    writeln!(
        out,
        "CR0={:08x} CR2={cr2:0digits$x} CR3={cr3:0digits$x} CR4={:08x}",
        cpu.cr0, cpu.cr4
    )?;
    for n in 0..4 {
        write!(out, "DR{n}={:016x} ", cpu.dr[n])?;
    }
    writeln!(out, "\nDR6={:016x} DR7={:016x}", cpu.dr[6], cpu.dr[7])?;
    writeln!(out, "EFER={:016x}", cpu.msr.efer)
}

fn floating_point(cpu: &Cpu, out: &mut String) -> std::fmt::Result {
    let status = cpu.fpu.status();
    writeln!(
        out,
        "FCW={:04x} FSW={status:04x} [ST={}] FTW={:02x} MXCSR={:08x}",
        cpu.fpu.control(),
        status >> 11 & 7,
        cpu.fpu.used(),
        cpu.sse.mxcsr
    )?;
    let top = (status >> 11 & 7) as u8;
    for n in 0..8_u8 {
        let value = cpu.fpu.st(n.wrapping_sub(top) & 7);
        let end = if n % 2 == 0 { ' ' } else { '\n' };
        let (significand, sign_exponent) = (value.significand, value.sign_exponent);
        write!(out, "FPR{n}={significand:016x} {sign_exponent:04x}{end}")?;
    }
    vectors(cpu, out)
}

/// The YMM registers once the guest has enabled AVX, before that the XMM registers.
fn vectors(cpu: &Cpu, out: &mut String) -> std::fmt::Result {
    let quadwords = |half| {
        let half = u128::from_le_bytes(half);
        ((half >> 64) as u64, half as u64)
    };
    let count = if cpu.is_64_bit() { 16 } else { 8 };
    for n in 0..count {
        let [low, above] = cpu.sse.ymm(n).map(quadwords);
        if cpu.sse.has_avx() {
            write!(out, "YMM{n:02}={:016x} {:016x} ", above.0, above.1)?;
            writeln!(out, "{:016x} {:016x}", low.0, low.1)?;
        } else {
            let end = if n % 2 == 0 { ' ' } else { '\n' };
            write!(out, "XMM{n:02}={:016x} {:016x}{end}", low.0, low.1)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::MachineConfig;

    #[test]
    fn a_machine_at_power_on_looks_as_on_qemu() {
        let machine = MachineConfig::new(4 << 20, 0).assemble().unwrap();
        let dump = dump(&machine);
        for line in [
            "EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0",
            "ES =0000 00000000 0000ffff 00009300",
            "CS =f000 ffff0000 0000ffff 00009b00",
            "LDT=0000 00000000 0000ffff 00008200",
            "TR =0000 00000000 0000ffff 00008b00",
            "GDT=     00000000 0000ffff",
            "CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000",
            "DR6=00000000ffff0ff0 DR7=0000000000000400",
            "EFER=0000000000000000",
        ] {
            assert!(dump.lines().any(|l| l == line), "no {line:?} in:\n{dump}");
        }
    }

    #[test]
    fn ymm_registers_are_shown_once_avx_is_enabled() {
        let mut cpu = Cpu::at_reset();
        cpu.sse.set_ymm(1, [2, 3 << 64 | 4].map(u128::to_le_bytes));
        let shown = |cpu: &Cpu| {
            let mut text = String::new();
            vectors(cpu, &mut text).unwrap();
            text
        };
        assert!(shown(&cpu).contains("XMM01=0000000000000000 0000000000000002\n"));
        cpu.sse.xcr0 = 7;
        let line = "YMM01=0000000000000003 0000000000000004 0000000000000000 0000000000000002\n";
        assert!(shown(&cpu).contains(line));
    }
}
