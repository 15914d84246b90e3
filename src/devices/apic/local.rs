//! The local APIC in xAPIC mode: accepts interrupt messages, ranks them, and times.
//!
//! ```text
//!   messages, ICR, LVT --> IRR --(above PPR?)--> INTR;  acknowledge: IRR -> ISR;  EOI: ISR -> out
//!   8259 INTR --> LINT0 (ExtINT: the vector comes from the 8259)
//! ```
//!
//! LINT0 starts as unmasked ExtINT, the virtual wire that the MP specification (section 3.6.2.2)
//! wants a BIOS to set up: kernels that are booted without one count on it.
//!
//! Left out: x2APIC mode, the TSC-deadline timer and EOI-broadcast suppression, which CPUID and
//! the version register do not claim; other CPUs to send to.
//!
//! Source: Intel SDM volume 3, chapter 11.

use serde::{Deserialize, Serialize};

use super::super::{Cx, Mmio, Timed};
use super::timer::Timer;
use super::vectors::VectorSet;
use crate::bus::{Message, Size, Tick};

const ID: u8 = 0;
/// Version 14h, highest LVT entry 5.
const VERSION: u32 = 0x0005_0014;

const BASE_BOOTSTRAP_PROCESSOR: u64 = 1 << 8;
const BASE_ENABLE: u64 = 1 << 11;
const BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const SVR_ENABLE: u32 = 1 << 8;
const LVT_MASKED: u32 = 1 << 16;
const LVT_PERIODIC: u32 = 1 << 17;
const LVT_REMOTE_IRR: u32 = 1 << 14;
const LVT_LEVEL: u32 = 1 << 15;

const ESR_SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
const ESR_RECEIVED_ILLEGAL_VECTOR: u32 = 1 << 6;
const ESR_ILLEGAL_REGISTER: u32 = 1 << 7;

/// The local vector table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lvt {
    Timer = 0,
    Thermal,
    Performance,
    Lint0,
    Lint1,
    Error,
}

impl Lvt {
    /// The entry whose register is at `offset`.
    fn at(offset: u64) -> Option<Self> {
        match offset {
            0x320 => Some(Self::Timer),
            0x330 => Some(Self::Thermal),
            0x340 => Some(Self::Performance),
            0x350 => Some(Self::Lint0),
            0x360 => Some(Self::Lint1),
            0x370 => Some(Self::Error),
            _ => None,
        }
    }

    fn writable_bits(self) -> u32 {
        match self {
            Self::Timer => 0x0003_00ff,
            Self::Thermal | Self::Performance => 0x0001_07ff,
            Self::Lint0 | Self::Lint1 => 0x0001_a7ff,
            Self::Error => 0x0001_00ff,
        }
    }
}

/// What the CPU gets on an interrupt acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// This vector.
    Vector(u8),
    /// The 8259 has the vector.
    External,
}

/// The local APIC of the one CPU.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalApic {
    base: u64,
    irr: VectorSet,
    isr: VectorSet,
    tmr: VectorSet,
    task_priority: u8,
    logical_destination: u32,
    destination_format: u32,
    spurious: u32,
    errors: u32,
    errors_latched: u32,
    command: u64,
    lvt: [u32; 6],
    timer: Timer,
    lint0: bool,
    nmi: bool,
    eoi: Option<u8>,
}

impl Default for LocalApic {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalApic {
    /// Where the registers lie after reset.
    pub const DEFAULT_BASE: u64 = 0xfee0_0000;

    /// The APIC after power-on: enabled, its software switch off, LINT0 a virtual wire.
    pub fn new() -> Self {
        Self {
            base: Self::DEFAULT_BASE | BASE_BOOTSTRAP_PROCESSOR | BASE_ENABLE,
            irr: VectorSet::default(),
            isr: VectorSet::default(),
            tmr: VectorSet::default(),
            task_priority: 0,
            logical_destination: 0,
            destination_format: u32::MAX,
            spurious: 0xff,
            errors: 0,
            errors_latched: 0,
            command: 0,
            lvt: [LVT_MASKED, LVT_MASKED, LVT_MASKED, 0x700, 0x400, LVT_MASKED],
            timer: Timer::new(),
            lint0: false,
            nmi: false,
            eoi: None,
        }
    }

    /// Back to power-on state on an INIT or a reset of the CPU; the base stays.
    pub fn reset(&mut self, cx: &mut Cx<'_>) {
        *self = Self {
            base: self.base,
            lint0: self.lint0,
            ..Self::new()
        };
        cx.sleep();
    }

    /// IA32_APIC_BASE.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Writes IA32_APIC_BASE. Disabling forgets all that is pending (section 11.4.3).
    pub fn set_base(&mut self, cx: &mut Cx<'_>, value: u64) {
        let was_enabled = self.is_enabled();
        self.base = value & (BASE_ADDRESS | BASE_ENABLE) | BASE_BOOTSTRAP_PROCESSOR;
        if was_enabled && !self.is_enabled() {
            self.reset(cx);
        }
    }

    /// The physical address of the registers, while the APIC is enabled.
    pub fn window(&self) -> Option<u64> {
        self.is_enabled().then_some(self.base & BASE_ADDRESS)
    }

    fn is_enabled(&self) -> bool {
        self.base & BASE_ENABLE != 0
    }

    fn is_software_enabled(&self) -> bool {
        self.is_enabled() && self.spurious & SVR_ENABLE != 0
    }

    fn entry(&self, lvt: Lvt) -> u32 {
        self.lvt.get(lvt as usize).copied().unwrap_or(LVT_MASKED)
    }

    /// Whether the APIC asks for an interrupt of its own.
    pub fn has_interrupt(&self) -> bool {
        self.deliverable().is_some()
    }

    fn deliverable(&self) -> Option<u8> {
        let vector = self.irr.highest()?;
        let above = vector >> 4 > self.processor_priority() >> 4;
        (self.is_software_enabled() && above).then_some(vector)
    }

    /// Whether the 8259's INTR reaches the CPU: by LINT0 as ExtINT, or directly while the
    /// APIC is disabled.
    pub fn passes_external(&self) -> bool {
        !self.is_enabled() || self.entry(Lvt::Lint0) & (LVT_MASKED | 0x700) == 0x700
    }

    /// The acknowledge cycle. An external interrupt comes after the APIC's own.
    pub fn acknowledge(&mut self) -> Option<Accepted> {
        if let Some(vector) = self.deliverable() {
            self.irr.remove(vector);
            self.isr.insert(vector);
            return Some(Accepted::Vector(vector));
        }
        if self.passes_external() && self.lint0 {
            return Some(Accepted::External);
        }
        None
    }

    /// The level of the 8259's INTR, which is wired to LINT0.
    pub fn set_lint0(&mut self, asserted: bool) {
        let rises = asserted && !self.lint0;
        self.lint0 = asserted;
        if rises && self.is_enabled() {
            self.fire(Lvt::Lint0);
        }
    }

    /// Whether an NMI waits.
    pub fn has_nmi(&self) -> bool {
        self.nmi
    }

    /// Takes the NMI.
    pub fn take_nmi(&mut self) -> bool {
        std::mem::take(&mut self.nmi)
    }

    /// The vector that an EOI of a level-triggered interrupt broadcasts to the IOAPIC.
    pub fn take_eoi(&mut self) -> Option<u8> {
        self.eoi.take()
    }

    /// A message from the bus; taken if it is addressed to this APIC.
    pub fn receive(&mut self, message: Message) {
        let [_, destination, ..] = (message.address >> 4).to_le_bytes();
        let logical = message.address & 4 != 0;
        if self.is_enabled() && self.is_addressed(destination, logical) {
            let level = message.data & 0x8000 != 0;
            self.deliver(message.data, level);
        }
    }

    fn is_addressed(&self, destination: u8, logical: bool) -> bool {
        if destination == 0xff {
            return true;
        }
        if !logical {
            return destination == ID;
        }
        let [.., own] = self.logical_destination.to_le_bytes();
        if self.destination_format >> 28 == 0xf {
            own & destination != 0
        } else {
            own >> 4 == destination >> 4 && own & destination & 0x0f != 0
        }
    }

    /// Delivers what the low bits of a message, the ICR or an LVT entry say: vector and mode.
    fn deliver(&mut self, command: u32, level: bool) {
        let vector = command.to_le_bytes()[0];
        match command >> 8 & 7 {
            0 | 1 => self.accept(vector, level),
            4 => self.nmi = true,
            // ExtINT as a message: only the 8259 has the vector, and its wire is LINT0. SMI has
            // no handler here; INIT and start-up leave the only CPU running.
            _ => {}
        }
    }

    fn accept(&mut self, vector: u8, level: bool) {
        if !self.is_software_enabled() {
            return;
        }
        if vector < 16 {
            self.raise_error(ESR_RECEIVED_ILLEGAL_VECTOR);
            return;
        }
        self.irr.insert(vector);
        if level {
            self.tmr.insert(vector);
        } else {
            self.tmr.remove(vector);
        }
    }

    fn fire(&mut self, lvt: Lvt) {
        let entry = self.entry(lvt);
        if entry & LVT_MASKED != 0 {
            return;
        }
        match lvt {
            Lvt::Timer | Lvt::Error => self.accept(entry.to_le_bytes()[0], false),
            _ => self.deliver(entry, entry & LVT_LEVEL != 0 && lvt == Lvt::Lint0),
        }
    }

    fn raise_error(&mut self, bit: u32) {
        self.errors |= bit;
        let [.., error] = self.lvt;
        // An error vector that is itself illegal would raise the error again.
        if error & 0xff >= 16 {
            self.fire(Lvt::Error);
        }
    }

    /// The task priority register.
    pub fn task_priority(&self) -> u8 {
        self.task_priority
    }

    /// Writes the task priority register.
    pub fn set_task_priority(&mut self, value: u8) {
        self.task_priority = value;
    }

    fn processor_priority(&self) -> u8 {
        let served = self.isr.highest().unwrap_or(0);
        if self.task_priority >> 4 >= served >> 4 {
            self.task_priority
        } else {
            served & 0xf0
        }
    }

    fn end_of_interrupt(&mut self) {
        let Some(vector) = self.isr.highest() else {
            return;
        };
        self.isr.remove(vector);
        if self.tmr.contains(vector) {
            self.eoi = Some(vector);
        }
    }

    fn write_spurious(&mut self, value: u32) {
        self.spurious = value & 0x3ff;
        if value & SVR_ENABLE == 0 {
            for entry in &mut self.lvt {
                *entry |= LVT_MASKED;
            }
        }
    }

    fn write_lvt(&mut self, cx: &mut Cx<'_>, lvt: Lvt, value: u32) {
        let mut value = value & lvt.writable_bits();
        if !self.is_software_enabled() {
            value |= LVT_MASKED;
        }
        if let Some(entry) = self.lvt.get_mut(lvt as usize) {
            *entry = value | *entry & LVT_REMOTE_IRR & lvt.writable_bits();
        }
        if lvt == Lvt::Timer {
            self.timer.set_periodic(cx.now, value & LVT_PERIODIC != 0);
            self.schedule(cx);
        }
    }

    fn write_command(&mut self, low: u32) {
        // Delivery status (bit 12) always reads as idle.
        self.command = self.command & !0xffff_ffff | u64::from(low & 0x000c_cfff);
        let [.., destination] = self.command.to_le_bytes();
        let to_self = match low >> 18 & 3 {
            0 => self.is_addressed(destination, low & 0x800 != 0),
            1 | 2 => true,
            _ => false,
        };
        let fixed = matches!(low >> 8 & 7, 0 | 1);
        if fixed && low & 0xff < 16 {
            self.raise_error(ESR_SEND_ILLEGAL_VECTOR);
        } else if to_self {
            self.deliver(low, false);
        }
    }

    /// Waits for the timer, if its interrupt can be seen.
    fn schedule(&self, cx: &mut Cx<'_>) {
        let observed = self.entry(Lvt::Timer) & LVT_MASKED == 0;
        match self.timer.next_expiry(cx.now) {
            Some(tick) if observed => cx.wake_at(tick),
            _ => cx.sleep(),
        }
    }

    fn read_register(&mut self, now: Tick, offset: u64) -> u32 {
        if let Some(lvt) = Lvt::at(offset) {
            return self.entry(lvt);
        }
        let word = (offset >> 4 & 7) as u8;
        match offset {
            0x020 => u32::from(ID) << 24,
            0x030 => VERSION,
            0x080 => self.task_priority.into(),
            0x090 | 0x0a0 => self.processor_priority().into(),
            0x0b0 => 0,
            0x0d0 => self.logical_destination,
            0x0e0 => self.destination_format,
            0x0f0 => self.spurious,
            0x100..=0x170 => self.isr.word(word),
            0x180..=0x1f0 => self.tmr.word(word),
            0x200..=0x270 => self.irr.word(word),
            0x280 => self.errors_latched,
            0x300 => low_half(self.command),
            0x310 => low_half(self.command >> 32),
            0x380 => self.timer.initial(),
            0x390 => self.timer.count(now),
            0x3e0 => self.timer.divide_configuration(),
            _ => {
                self.raise_error(ESR_ILLEGAL_REGISTER);
                0
            }
        }
    }

    fn write_register(&mut self, cx: &mut Cx<'_>, offset: u64, value: u32) {
        if let Some(lvt) = Lvt::at(offset) {
            self.write_lvt(cx, lvt, value);
            return;
        }
        match offset {
            0x080 => self.task_priority = value.to_le_bytes()[0],
            0x0b0 => self.end_of_interrupt(),
            0x0d0 => self.logical_destination = value & 0xff00_0000,
            0x0e0 => self.destination_format = value | 0x0fff_ffff,
            0x0f0 => self.write_spurious(value),
            0x280 => self.errors_latched = std::mem::take(&mut self.errors),
            0x300 => self.write_command(value),
            0x310 => {
                let high = u64::from(value & 0xff00_0000) << 32;
                self.command = high | self.command & 0xffff_ffff;
            }
            0x380 => {
                self.timer.start(cx.now, value);
                self.schedule(cx);
            }
            0x3e0 => {
                self.timer.set_divide_configuration(cx.now, value);
                self.schedule(cx);
            }
            // Read-only registers ignore what is written.
            0x020 | 0x030 | 0x090 | 0x0a0 | 0x100..=0x270 | 0x390 => {}
            _ => self.raise_error(ESR_ILLEGAL_REGISTER),
        }
    }
}

impl Mmio for LocalApic {
    fn read(&mut self, cx: &mut Cx<'_>, offset: u64, _size: Size) -> u64 {
        // Registers are 32 bits wide, 16 bytes apart; parts of one read as that part.
        let value = self.read_register(cx.now, offset & 0xff0);
        u64::from(value) >> ((offset & 3) * 8)
    }

    fn write(&mut self, cx: &mut Cx<'_>, offset: u64, _size: Size, value: u64) {
        if offset & 0xf == 0 {
            self.write_register(cx, offset & 0xff0, low_half(value));
        }
    }
}

impl Timed for LocalApic {
    fn expire(&mut self, cx: &mut Cx<'_>) {
        self.fire(Lvt::Timer);
        self.schedule(cx);
    }
}

/// The low 32 bits.
fn low_half(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}
