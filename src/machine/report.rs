//! A readable report of where a CPU stopped: mode, registers, the instruction, and the chain of
//! exceptions that led there.

use std::fmt::Write as _;

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};

use super::Machine;
use crate::cpu::segment::CS;
use crate::cpu::{CodeSize, Cpu};

/// The longest instruction.
const INSTRUCTION_BYTES: u64 = 15;

/// The exceptions' names, by vector (Intel SDM volume 3, table 6-1).
const EXCEPTIONS: [&str; 20] = [
    "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9", "#TS", "#NP", "#SS", "#GP",
    "#PF", "15", "#MF", "#AC", "#MC", "#XM",
];

impl Machine {
    /// Several lines about the CPU as it stands.
    pub fn report(&self) -> String {
        let cpu = &self.cpu;
        let mut out = String::new();
        let _ = writeln!(out, "{} at tick {}, CPL {}", mode(cpu), self.now(), cpu.cpl);
        general(cpu, &mut out);
        system(cpu, &mut out);
        let _ = writeln!(out, "instruction: {}", self.instruction());
        for incident in cpu.incidents.iter() {
            let name = EXCEPTIONS.get(usize::from(incident.vector));
            let _ = write!(
                out,
                "exception {} error {:x} at {:04x}:{:x}",
                name.unwrap_or(&"?"),
                incident.error,
                incident.cs,
                incident.rip
            );
            let _ = match incident.vector {
                14 => writeln!(out, " address {:x}", incident.cr2),
                _ => writeln!(out),
            };
        }
        out
    }

    /// The instruction at the instruction pointer, disassembled.
    fn instruction(&self) -> String {
        let cpu = &self.cpu;
        let linear = cpu.segment(CS).base.wrapping_add(cpu.rip) & cpu.mode.linear_mask;
        let bytes: Vec<u8> = (0..INSTRUCTION_BYTES)
            .map_while(|n| self.peek(linear.wrapping_add(n)))
            .collect();
        if bytes.is_empty() {
            return "not readable".to_owned();
        }
        let options = DecoderOptions::AMD;
        let instruction = Decoder::with_ip(cpu.mode.code.bits(), &bytes, cpu.rip, options).decode();
        let mut text = String::new();
        IntelFormatter::new().format(&instruction, &mut text);
        for byte in bytes.iter().take(instruction.len().max(1)) {
            let _ = write!(text, " {byte:02x}");
        }
        text
    }

    /// The byte at a linear address, as the CPU's page tables map it now.
    fn peek(&self, linear: u64) -> Option<u8> {
        let physical = self.cpu.peek(&self.memory, linear)?;
        let offset = self.memory.map.lookup(physical)?.read?;
        let mut byte = [0];
        self.memory.arena.read(offset, &mut byte);
        Some(byte[0])
    }
}

fn mode(cpu: &Cpu) -> &'static str {
    match (cpu.mode.code, cpu.is_long()) {
        (CodeSize::Bits64, _) => "64-bit mode",
        (_, true) => "compatibility mode",
        _ if cpu.is_v86() => "virtual-8086 mode",
        _ if cpu.is_real() => "real mode",
        (CodeSize::Bits32, _) => "32-bit protected mode",
        _ => "16-bit protected mode",
    }
}

fn general(cpu: &Cpu, out: &mut String) {
    const NAMES: [&str; 16] = [
        "ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "8", "9", "10", "11", "12", "13", "14",
        "15",
    ];
    let wide = cpu.mode.code == CodeSize::Bits64;
    let (prefix, count, digits) = if wide { ("r", 16, 16) } else { ("e", 8, 8) };
    for (n, name) in NAMES.iter().enumerate().take(count) {
        let value = cpu.regs.get(n as u8);
        let end = if n % 4 == 3 { '\n' } else { ' ' };
        let _ = write!(out, "{prefix}{name:2} {value:0digits$x}{end}");
    }
    let _ = writeln!(
        out,
        "{prefix}ip {:0digits$x} {prefix}flags {:08x}",
        cpu.rip,
        cpu.flags.bits()
    );
}

fn system(cpu: &Cpu, out: &mut String) {
    for (name, segment) in ["es", "cs", "ss", "ds", "fs", "gs"]
        .iter()
        .zip(&cpu.segments)
    {
        let _ = writeln!(
            out,
            "{name} {:04x} base {:x} limit {:x} attributes {:04x}",
            segment.selector, segment.base, segment.limit, segment.attributes.0
        );
    }
    let _ = writeln!(
        out,
        "gdtr {:x}+{:x} idtr {:x}+{:x} tr {:04x} ldtr {:04x}",
        cpu.gdtr.base,
        cpu.gdtr.limit,
        cpu.idtr.base,
        cpu.idtr.limit,
        cpu.tr.selector,
        cpu.ldtr.selector
    );
    let _ = writeln!(
        out,
        "cr0 {:08x} cr2 {:x} cr3 {:x} cr4 {:08x} efer {:x}",
        cpu.cr0, cpu.cr2, cpu.cr3, cpu.cr4, cpu.msr.efer
    );
}
